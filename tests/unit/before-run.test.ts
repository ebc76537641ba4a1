// The check before a run: who is checked, what is remembered, and what a wrong kernel says. The
// checks themselves run on real adapters (tests/gpu/check.test.ts).

import { beforeEach, expect, it, vi } from 'vitest';
import { requireRightKernels, WrongKernels } from '../../src/check/before-run';
import type { CheckRow } from '../../src/check/run';
import type { Gpu } from '../../src/gpu/device';
import { tuneMatmul } from '../../src/kernels/matmul_tuning';

vi.mock('../../src/kernels/matmul_tuning', () => ({ tuneMatmul: vi.fn(async () => []) }));

const ADAPTER = {
  name: 'Some GPU',
  vendor: 'some',
  software: false,
  f16: true,
  subgroupSize: 32,
  timestamps: true,
  maxBindingBytes: 2 ** 30,
};
const gpuOf = (changes: Partial<typeof ADAPTER> = {}) =>
  ({ adapter: { ...ADAPTER, ...changes } }) as unknown as Gpu;
const row = (kernel: string, passed = true): CheckRow => ({
  kernel,
  sizes: '(2, 2)',
  layout: 'contiguous',
  dtype: 'f16',
  output: 'y',
  error: passed ? 0 : 0.1,
  tolerance: 1e-3,
  reason: 'A reason.',
  passed,
});

let rows: CheckRow[];
let checked: unknown[];
let said: string[];
const kept = new Set<string>();
const memory = {
  get: async (key: string) => (kept.has(key) ? new Uint8Array() : undefined),
  put: async (key: string) => void kept.add(key),
};
const require = (gpu = gpuOf(), options: { dtype?: 'f16' | 'f32'; where?: string } = {}) =>
  requireRightKernels(
    gpu,
    { dtype: 'f16', where: 'a browser', memory, say: (line) => said.push(line), ...options },
    async (_, __, selection) => {
      checked.push(selection?.dtype);
      return rows;
    },
  );

beforeEach(() => {
  rows = [row('gelu'), row('copy')];
  checked = [];
  said = [];
  kept.clear();
});

it('checks an adapter once for a storage type and a browser, if it passed', async () => {
  await require();
  await require();
  expect(checked).toEqual(['f16']);
  expect(said).toEqual([
    'Checking the kernels on this GPU, which is new here.',
    expect.stringMatching(/^2 checks of the kernels took \d+\.\d s, 0 failed\.$/),
  ]);
  await require(gpuOf(), { dtype: 'f32' });
  await require(gpuOf(), { where: 'the next browser' });
  await require(gpuOf({ name: 'Another GPU' }));
  expect(checked).toEqual(['f16', 'f32', 'f16', 'f16']);
});

it('does not check a software adapter', async () => {
  await require(gpuOf({ software: true }));
  expect(checked).toEqual([]);
});

it('refuses wrong kernels by name, with the table, and checks again the next time', async () => {
  rows = [row('gelu', false), row('copy')];
  const refused = await require().catch((error) => error);
  expect(refused).toBeInstanceOf(WrongKernels);
  expect(refused.message).toBe('Some GPU computes wrong results in float16 with 1 kernel: gelu.');
  expect(refused.hint).toMatch(/does not start\. Set the precision to float32, or update/);
  expect(refused.table).toMatch(/checked: f16\n1 of 2 passed[\s\S]*gelu .* FAILED\ncopy .* passed/);
  expect(kept.size).toBe(0);
  await expect(require(gpuOf(), { dtype: 'f32' })).rejects.toMatchObject({
    message: 'Some GPU computes wrong results in float32 with 1 kernel: gelu.',
    hint: expect.not.stringContaining('Set the precision'),
  });
  expect(checked).toEqual(['f16', 'f32']);
});

it('accepts a wrong variant of the matrix product, which the run does not use', async () => {
  rows = [row('matmul, tiles', false), row('matmul + bias, tiles', false), row('copy')];
  vi.mocked(tuneMatmul).mockResolvedValueOnce([{ name: 'tiles', flops: 0, fault: 'wrong' }]);
  await require();
  expect(kept.size).toBe(1);
});
