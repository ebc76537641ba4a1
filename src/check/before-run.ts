// Before a run trains on an adapter that nobody has checked: every kernel against the reference,
// once for an adapter, a browser and a version of the kernels. An adapter that computes wrongly
// trains nothing.
//
// Software adapters are left out. They are the same program on every machine, the project's tests
// run all of these checks on them, and there a check takes longer than loading the run.

import type { Gpu } from '../gpu/device';
import { tuneMatmul } from '../kernels/matmul_tuning';
import { kernelTexts } from '../kernels/sources';
import { type CheckRow, reportText, runChecks } from './run';
import type { Storage } from './tensors';

/** What remembers the adapters that passed. It may forget any, and never throws. */
interface Memory {
  get(key: string): Promise<unknown>;
  put(key: string, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
}

/** The adapter computes wrong results. */
export class WrongKernels extends Error {
  constructor(
    message: string,
    readonly hint: string,
    /** All rows as text, for a bug report. */
    readonly table: string,
  ) {
    super(message);
  }
}

interface Options {
  /** The run's storage type. */
  dtype: Storage;
  /** Names the browser or Node, whose compilers are part of what is checked. */
  where: string;
  memory: Memory;
  /** Told that a check begins, and how long it took; nothing on an adapter that passed before. */
  say?: (line: string) => void;
}

/**
 * Returns at once on an adapter that passed before.
 * @throws WrongKernels unless every kernel of this storage type gives the reference's results
 */
export async function requireRightKernels(
  gpu: Gpu,
  { dtype, where, memory, say }: Options,
  check: typeof runChecks = runChecks,
): Promise<void> {
  const { adapter } = gpu;
  if (adapter.software) return;
  const key = await digest(['checked', adapter, dtype, where, kernelTexts()]);
  if ((await memory.get(key)) !== undefined) return;
  // A wrong variant of the matrix product is not used; the run has said so.
  const variants = await tuneMatmul(gpu, dtype);
  const unused = variants.filter(({ fault }) => fault).map(({ name }) => `, ${name}`);
  say?.('Checking the kernels on this GPU, which is new here.');
  const started = performance.now();
  const rows = await check(gpu, () => undefined, { dtype });
  const seconds = (performance.now() - started) / 1000;
  const failed = rows.filter(
    ({ passed, kernel }) => !passed && !unused.some((end) => kernel.endsWith(end)),
  );
  say?.(
    `${rows.length} checks of the kernels took ${seconds.toFixed(1)} s, ${failed.length} failed.`,
  );
  if (failed.length === 0) return memory.put(key, Uint8Array.of(1));
  throw refusal(gpu, dtype, failed, reportText(adapter, where, rows, seconds));
}

function refusal(gpu: Gpu, dtype: Storage, failed: readonly CheckRow[], table: string) {
  const names = [...new Set(failed.map(({ kernel }) => kernel))];
  const listed = names.slice(0, 3).join('; ') + (names.length > 3 ? '; …' : '');
  const instead = dtype === 'f16' ? 'Set the precision to float32, or update' : 'Update';
  return new WrongKernels(
    `${gpu.adapter.name} computes wrong results in ${dtype === 'f16' ? 'float16' : 'float32'} ` +
      `with ${names.length === 1 ? '1 kernel' : `${names.length} kernels`}: ${listed}.`,
    `A run would train on wrong numbers, so it does not start. ${instead} the graphics driver or ` +
      'the browser.',
    table,
  );
}

async function digest(about: unknown): Promise<string> {
  const text = new TextEncoder().encode(JSON.stringify(about));
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', text));
  return `checked-${Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}
