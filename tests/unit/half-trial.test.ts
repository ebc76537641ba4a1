// A float16 ONNX teacher beside the CPU's float32: kept, warned about, replaced or refused. The
// trial itself runs on a GPU (tests/gpu/teacher-onnx.test.ts has the CPU's logits).

import { beforeEach, expect, it, vi } from 'vitest';
import { type HalfTrial, tryHalf } from '../../src/distill/teacher/half-trial';
import type { Teacher } from '../../src/distill/teacher/teacher';
import { runTrial } from '../../src/distill/teacher/try-both';
import { ModelFileError } from '../../src/files/download';
import type { Gpu } from '../../src/gpu/device';

vi.mock('../../src/distill/teacher/try-both', async (original) => ({
  ...(await original<object>()),
  runTrial: vi.fn(),
}));

const V = 3;
const LOGITS = Float32Array.of(1, 2, 3, 3, 1, 2, 0, 0, 1);
const SHAPE = { B: 1, T: 3, dtype: 'f16' } as const;
let disposed: string[];
const teacherOf = (name: string) =>
  ({ dispose: async () => void disposed.push(name) }) as unknown as Teacher;

beforeEach(() => {
  disposed = [];
  vi.mocked(runTrial).mockResolvedValue({
    inputs: Uint32Array.of(0, 1, 2),
    logits: LOGITS,
    milliseconds: 1,
  });
});

const half = teacherOf('half');
const tried = (changes: Partial<HalfTrial> = {}) =>
  tryHalf({} as Gpu, half, SHAPE, V, {
    name: 'a file',
    bytes: 1e6,
    onCpu: async () => LOGITS,
    ...changes,
  });
/** The CPU's logits, further apart. */
const other = async () => LOGITS.map((logit) => 1.2 * logit);

it('keeps a teacher that agrees but for rounding', async () => {
  const asked: Uint32Array[] = [];
  const onCpu = async (tokens: Uint32Array) => {
    asked.push(tokens);
    // A shift of all logits changes no probability.
    return LOGITS.map((logit) => 1.01 * logit + 5);
  };
  expect(await tried({ onCpu })).toBe(half);
  expect(asked).toEqual([Uint32Array.of(0, 1, 2)]);
  expect(disposed).toEqual([]);
});

it('puts the float32 file in its place where they disagree', async () => {
  const single = teacherOf('single');
  const { warning, ...teacher } = await tried({ onCpu: other, single: async () => single });
  expect(teacher).toEqual(single);
  expect(warning).toBe(
    'a file: in float16 its logits on this GPU differ by 16.7% from those on the CPU, more than ' +
      'rounding explains. The folder’s float32 file teaches instead.',
  );
  expect(disposed).toEqual(['half']);
});

it('refuses it where there is no float32 file, and where its logits are NaN', async () => {
  await expect(tried({ onCpu: other })).rejects.toThrow(/16\.7%.* Choose a float32 file/);
  vi.mocked(runTrial).mockResolvedValue({
    inputs: Uint32Array.of(0, 1, 2),
    logits: LOGITS.map(() => Number.NaN),
    milliseconds: 1,
  });
  await expect(tried()).rejects.toThrow(/differ by NaN/);
  expect(disposed).toEqual(['half', 'half']);
});

it('says so where they cannot be compared', async () => {
  expect((await tried({ bytes: 2 ** 30 })).warning).toBe(
    'a file computes in float16, and was not compared with float32: it is too large to run on ' +
      'the CPU as well.',
  );
  const onCpu = async () => {
    throw new ModelFileError('model', 'An operator is missing.');
  };
  expect((await tried({ onCpu })).warning).toMatch(/onnxruntime cannot run it on the CPU\.$/);
  expect(disposed).toEqual([]);
});
