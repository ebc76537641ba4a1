// Check my GPU: the kernels against the reference on the adapter at hand, one row for each check,
// and the table as text.

import type { AdapterFacts, Gpu } from '../gpu/device';
import type { Tensor } from '../gpu/program';
import { maxAbsError } from '../reference';
import type { Check } from './check';
import { checksOf, type Selection } from './registry';
import { download, execute, upload } from './tensors';

export interface CheckRow {
  kernel: string;
  sizes: string;
  layout: string;
  dtype: 'f32' | 'f16';
  /** The result that used most of its tolerance, or exceeded it most. */
  output: string;
  /** Largest difference, relative to the largest expected magnitude; absent if nothing ran. */
  error?: number;
  tolerance: number;
  /** Why the tolerance is what it is. */
  reason: string;
  passed: boolean;
  /** Why nothing could be compared, e.g. the compiler's message. */
  message?: string;
}

/**
 * Runs the checks of all kernels, or of those selected. What a kernel does wrong becomes a row,
 * never a rejection. `onRow` gets each row, in the table's order, as soon as it is known. Frees
 * what it made.
 * @throws as `checksOf`
 */
export async function runChecks(
  gpu: Gpu,
  onRow: (row: CheckRow) => void,
  selection?: Selection,
): Promise<CheckRow[]> {
  const checks = checksOf(gpu, selection);
  const rows: CheckRow[] = [];
  const report = (row: CheckRow) => {
    rows.push(row);
    onRow(row);
  };
  const uncaught: Error[] = [];
  const before = gpu.onError;
  gpu.onError = (error) => uncaught.push(error);
  try {
    // All start at once, so that their pipelines compile in parallel; rows keep the table's order.
    for (const row of checks.map((check) => perform(gpu, check))) report(await row);
    await gpu.idle();
  } finally {
    gpu.onError = before;
  }
  for (const { message } of uncaught) report({ ...UNCAUGHT, message });
  return rows;
}

/** The row of a WebGPU error that no check caught. */
const UNCAUGHT: CheckRow = {
  kernel: 'WebGPU',
  sizes: '',
  layout: '',
  dtype: 'f32',
  output: '',
  tolerance: 0,
  reason: 'No error is expected.',
  passed: false,
};

async function perform(gpu: Gpu, check: Check): Promise<CheckRow> {
  const { kernel, sizes, layout, dtype, inputs, outputs } = check;
  const about = { kernel, sizes, layout, dtype };
  const tensors: Record<string, Tensor> = {};
  try {
    for (const [name, { values, layout, dtype }] of Object.entries(inputs))
      tensors[name] = upload(gpu, `${kernel} ${name}`, values, layout, dtype);
    await execute(gpu, (recorder) => {
      // A shader that does not compile is also a validation error, but the rejected pipeline says
      // more about it.
      gpu.device.pushErrorScope('validation');
      try {
        check.record(recorder, tensors);
      } finally {
        gpu.device.popErrorScope().catch(() => undefined);
      }
    });
    const results = await Promise.all(
      outputs.map(async ({ tensor, at, expected, tolerance, terms }) => {
        const all = await download(gpu, tensors[tensor]);
        const error = relativeError(at ? at.map((i) => all[i]) : all, expected, terms ?? expected);
        const { value, reason } = tolerance;
        return { output: tensor, error, tolerance: value, reason, passed: error <= value };
      }),
    );
    return {
      ...about,
      ...results.reduce((worst, result) => (severity(result) > severity(worst) ? result : worst)),
    };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const [{ tensor, tolerance }] = outputs;
    return {
      ...about,
      output: tensor,
      tolerance: tolerance.value,
      reason: tolerance.reason,
      passed: false,
      message,
    };
  } finally {
    for (const { place } of Object.values(tensors))
      if (place.buffer) gpu.memory.destroy(place.buffer);
  }
}

function relativeError(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  terms: ArrayLike<number>,
): number {
  const largest = Array.from(terms).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const error = maxAbsError(actual, expected);
  return error === 0 || largest === 0 ? error : error / largest;
}

/** The share of its tolerance that an error uses; infinite for NaN, and for a tolerance of 0. */
function severity({ error, tolerance }: { error: number; tolerance: number }): number {
  if (error === 0) return 0;
  return Number.isNaN(error) || tolerance === 0 ? Number.POSITIVE_INFINITY : error / tolerance;
}

/** The table as text, for a bug report. `where` names the browser or Node. */
export function reportText(
  adapter: AdapterFacts,
  where: string,
  rows: readonly CheckRow[],
  seconds: number,
): string {
  const failed = rows.filter(({ passed }) => !passed);
  // Before a run, only its own storage type.
  const checked = ['f32', 'f16'].filter((storage) => rows.some(({ dtype }) => dtype === storage));
  const yesNo = (has: boolean) => (has ? 'yes' : 'no');
  const subgroups = adapter.subgroupSize ? `of ${adapter.subgroupSize} and more` : 'no';
  const head = ['kernel', 'sizes', 'layout', 'dtype', 'result', 'error', 'tolerance', 'verdict'];
  const cells = rows.map((row) => [
    ...[row.kernel, row.sizes, row.layout, row.dtype, row.output],
    ...[row.error === undefined ? 'n/a' : scientific(row.error), scientific(row.tolerance)],
    row.passed ? 'passed' : 'FAILED',
  ]);
  const widths = head.map((title, i) =>
    Math.max(title.length, ...cells.map((row) => row[i].length)),
  );
  const line = (row: string[]) =>
    row
      .map((cell, i) => cell.padEnd(widths[i]))
      .join('  ')
      .trimEnd();
  return [
    'Stillhouse: check of the GPU',
    `adapter: ${adapter.name} (vendor: ${adapter.vendor || 'not given'}; ` +
      `software: ${yesNo(adapter.software)})`,
    `features: shader-f16 ${yesNo(adapter.f16)}, subgroups ${subgroups}, ` +
      `timestamp-query ${yesNo(adapter.timestamps)}`,
    `largest binding: ${(adapter.maxBindingBytes / 2 ** 20).toFixed(0)} MiB`,
    `runs in: ${where}`,
    `checked: ${checked.join(' and ')}${adapter.f16 ? '' : '; the adapter has no shader-f16'}`,
    `${rows.length - failed.length} of ${rows.length} passed in ${seconds.toFixed(1)} s`,
    '',
    ...[head, ...cells].map(line),
    ...failed.flatMap(({ kernel, dtype, reason, message }) => [
      '',
      `${kernel} (${dtype}): ${message ?? `beyond the tolerance. ${reason}`}`,
    ]),
    '',
  ].join('\n');
}

const scientific = (value: number) => (value === 0 ? '0' : value.toExponential(1));
