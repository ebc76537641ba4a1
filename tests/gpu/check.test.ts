// Check my GPU: every kernel passes on this adapter, and no buffer is left; a broken kernel is a
// failing row.

import { beforeAll, describe, expect, it } from 'vitest';
import { type CheckRow, reportText, runChecks } from '../../src/check/run';
import type { Gpu } from '../../src/gpu/device';
import { tuneMatmul } from '../../src/kernels/matmul_tuning';
import { bestVariant, variantsFor } from '../../src/kernels/matmul_variants';
import { Layout } from '../../src/tensor/layout';
import { openTestDevice } from './harness';
import { KERNEL_FILES, shadersOf } from './shaders';
import { openVariant } from './variants';

let opened = 0;

/** Opens a new device on which the shaders of these labels have a changed text. */
async function openBroken(changes: Record<string, (code: string) => string>): Promise<Gpu> {
  const gpu = await openTestDevice(`broken ${++opened}`);
  const create = gpu.device.createShaderModule.bind(gpu.device);
  gpu.device.createShaderModule = (descriptor) => {
    const { label = '', code } = descriptor;
    const changed = changes[label]?.(code);
    if (changed === code)
      throw new Error(`break ${label}: the text has not changed. Correct the test.`);
    return create({ ...descriptor, code: changed ?? code });
  };
  return gpu;
}

it('passes on this adapter in each storage type, and frees its buffers', async () => {
  const gpu = await openTestDevice();
  const compiled = shadersOf(gpu);
  const before = gpu.memory.totals();
  const reported: CheckRow[] = [];
  const rows = await runChecks(gpu, (row) => reported.push(row));
  expect(rows.filter(({ passed }) => !passed)).toEqual([]);
  expect(reported).toEqual(rows);
  expect(new Set(rows.map(({ dtype }) => dtype))).toEqual(
    new Set(gpu.adapter.f16 ? ['f32', 'f16'] : ['f32']),
  );
  for (const { kernel, error, tolerance } of rows)
    expect(error, kernel).toBeLessThanOrEqual(tolerance);
  // check-many-lanes.test.ts covers the kernels that only GPUs use.
  const others = ['matmul_tile', ...(gpu.adapter.subgroupSize === 4 ? [] : ['matmul_quads'])];
  expect(compiled).toEqual(new Set(KERNEL_FILES.filter((name) => !others.includes(name))));
  expect(gpu.memory.totals()).toEqual(before);

  const text = reportText(gpu.adapter, 'a test', rows, 1);
  expect(text).toContain(`adapter: ${gpu.adapter.name}`);
  expect(text).toContain(`shader-f16 ${gpu.adapter.f16 ? 'yes' : 'no'}`);
  expect(text).toContain(`${rows.length} of ${rows.length} passed`);
  expect(text.match(/ passed$/gm)).toHaveLength(rows.length);
});

it('one kernel can be checked alone; an unknown name is answered with the names', async () => {
  const gpu = await openTestDevice();
  const rows = await runChecks(gpu, () => undefined, { kernel: 'rkl' });
  expect(new Set(rows.map(({ kernel }) => kernel))).toEqual(new Set(['rkl']));
  expect(rows.filter(({ passed }) => !passed)).toEqual([]);
  await expect(runChecks(gpu, () => undefined, { kernel: 'mse' })).rejects.toThrow(
    /No check runs a kernel "mse"\. Name one of matmul, .*, rkl, /,
  );
});

describe('of broken kernels', () => {
  let gpu: Gpu;
  let wrong: CheckRow[];
  beforeAll(async () => {
    gpu = await openBroken({
      layernorm: (code) => code.replace('scalar(norm *', 'scalar(1.01 * norm *'),
      matmul: (code) => code.replace('part.c_offset + m * params.c_row', 'm * params.c_row'),
      copy: (code) => code.replace('fn main', 'fn other() { let x: f32 = 1u; }\n@compute fn main'),
    });
    const rows = await runChecks(gpu, () => undefined);
    wrong = rows.filter(({ passed }) => !passed);
  });
  const rowOf = (kernel: string) => wrong.find((row) => row.kernel.startsWith(kernel)) as CheckRow;
  const report = (row: CheckRow) => reportText(gpu.adapter, 'a test', [row], 1);

  it('those fail, and no others', () => {
    expect(new Set(wrong.map(({ kernel }) => kernel.split(/[ ,]/)[0]))).toEqual(
      // The check of the routers' losses copies, too.
      new Set(['layernorm', 'matmul', 'copy', 'router_terms']),
    );
  });

  it('one that computes a wrong number is beyond the tolerance', () => {
    const row = rowOf('layernorm');
    expect(row.error).toBeGreaterThan(row.tolerance);
    expect(report(row)).toContain('layernorm (f32): beyond the tolerance.');
  });

  it('one that writes outside its layout fails where there is an offset', () => {
    const products = wrong.filter(({ kernel }) => kernel.startsWith('matmul'));
    expect(new Set(products.map(({ kernel, layout }) => `${kernel}, ${layout}`))).toEqual(
      new Set([
        'matmul, plain, 16 lanes, rows apart, at offsets',
        // Each expert's gradient has an offset, too.
        'matmul by expert, dw += dyᵀ · x, plain, 16 lanes, contiguous',
      ]),
    );
  });

  it('one that does not compile has the compiler’s message', () => {
    const row = rowOf('copy');
    expect(row.error).toBeUndefined();
    expect(row.message).toMatch(/Kernel copy does not compile\.\ncopy\.wgsl:\d+: .*f32/);
    expect(report(row)).toContain('copy.wgsl:');
  });
});

describe('tuning of the matrix products', () => {
  /** A GPU's size would take a software adapter minutes. */
  const QUICK = { sizes: [64, 64, 32], products: 2 } as const;
  it.each(['one lane', 'many lanes'] as const)(
    'finds every variant right and times it, once a device (%s)',
    async (lanes) => {
      const gpu = await openVariant(lanes);
      const before = gpu.memory.totals();
      const dtype = gpu.adapter.f16 && lanes === 'many lanes' ? 'f16' : 'f32';
      const reports = await tuneMatmul(gpu, dtype, QUICK);
      expect(reports.map(({ name }) => name)).toEqual(variantsFor(gpu).map(({ name }) => name));
      for (const { name, flops, fault } of reports) {
        expect(fault, name).toBeUndefined();
        // From a slow adapter's to more than any GPU's.
        expect(flops, name).toBeGreaterThan(1e6);
        expect(flops, name).toBeLessThan(1e15);
      }
      expect(gpu.memory.totals()).toEqual(before);
      expect(await tuneMatmul(gpu, dtype)).toBe(reports);
    },
  );

  it.each([
    ['computes a wrong number', 'fma(x, y_', 'fma(1.001 * x, y_', /^Its sums are off by 0\.\d+; /],
    ['does not compile', 'fma(x, y_', 'fma(nothing, y_', /does not compile/],
  ])('a variant that %s is reported and never taken', async (_, text, broken, fault) => {
    const gpu = await openBroken({ matmul_subgroup: (code) => code.replaceAll(text, broken) });
    const reports = await tuneMatmul(gpu, 'f32', QUICK);
    const wrong = reports.filter(({ name }) => name.startsWith('subgroups'));
    for (const variant of reports)
      if (!wrong.includes(variant)) expect(variant.flops, variant.name).toBeGreaterThan(0);
    expect(wrong).toHaveLength(2);
    for (const variant of wrong)
      expect(variant).toMatchObject({ flops: 0, fault: expect.stringMatching(fault) });
    for (const size of [16, 64, 512]) {
      const layout = Layout.contiguous([size, size]);
      expect(wrong.map(({ name }) => name)).not.toContain(
        bestVariant(gpu, layout, layout, 'f32').name,
      );
    }
  });
});
