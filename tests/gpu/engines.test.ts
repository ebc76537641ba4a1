// Two engines for one teacher: which one is taken, and what is said where they disagree. Stand-ins
// of our own engine take onnxruntime's place, which needs half a minute to start.

import { expect, test } from 'vitest';
import { teacherFromWeights } from '../../src/distill/teacher/engine';
import type { MakeTeacher } from '../../src/distill/teacher/teacher';
import { differenceOf, tryBoth } from '../../src/distill/teacher/try-both';
import { ModelFileError } from '../../src/files/download';
import { gpt2 } from '../../src/model/gpt2/gpt2';
import { TINY, weightsOf } from './students';
import { testVariants } from './variants';

const V = TINY.vocab_size;
const [B, T] = [2, 7];

const engine =
  (salt: number, made?: string[]): MakeTeacher =>
  async (gpu, shape) => {
    const teacher = await teacherFromWeights(gpu, weightsOf(TINY, salt), gpt2(TINY), shape);
    made?.push(shape.dtype);
    return {
      ...teacher,
      dispose: async () => {
        made?.push('disposed');
        await teacher.dispose();
      },
    };
  };

const slow =
  (make: MakeTeacher): MakeTeacher =>
  async (...args) => {
    const teacher = await make(...args);
    return {
      ...teacher,
      async enqueue(...batch) {
        await new Promise((resolve) => setTimeout(resolve, 400));
        await teacher.enqueue(...batch);
      },
    };
  };

testVariants(
  'of engines that agree the faster one is taken',
  async (gpu, dtype) => {
    const tried = (stillhouse: MakeTeacher, onnxruntime: MakeTeacher) =>
      tryBoth({ stillhouse, onnxruntime, vocabularySize: V, onnxDtype: dtype })(gpu, {
        B,
        T,
        dtype,
      });
    const memory = gpu.memory.totals().teacher ?? 0;
    const made: string[] = [];
    const first = await tried(engine(1), slow(engine(1, made)));
    expect(first.engine?.name).toBe('stillhouse');
    expect(first.engine?.reason).toMatch(/^[\d.]+ times as fast as onnxruntime$/);
    expect(first.engine?.warning).toBe(undefined);
    expect(made).toEqual([dtype, 'disposed']);
    await first.dispose();
    const second = await tried(slow(engine(1)), engine(1));
    expect(second.engine?.name).toBe('onnxruntime');
    expect(second.engine?.reason).toMatch(/^[\d.]+ times as fast as Stillhouse’s kernels$/);
    await second.dispose();
    expect(gpu.memory.totals().teacher ?? 0).toBe(memory);
  },
  ['one lane'],
  ['f32'],
);

testVariants(
  'where engines disagree float32 is taken, and said',
  async (gpu, dtype) => {
    const made: string[] = [];
    const onnxruntime = engine(1);
    // Wrong in float16 only, as a sum that overflows is.
    const stillhouse: MakeTeacher = (on, shape) =>
      engine(shape.dtype === 'f16' ? 2 : 1, made)(on, shape);
    const right = { vocabularySize: V, onnxDtype: dtype, onnxruntime };
    const taken = await tryBoth({ ...right, stillhouse })(gpu, { B, T, dtype });
    if (dtype === 'f16') {
      expect(made).toEqual(['f16', 'f32', 'disposed']);
      expect(taken.engine).toMatchObject({
        name: 'stillhouse',
        reason: expect.stringMatching(/^in float16 the two engines’ logits differ by [\d.]+%$/),
        warning: expect.stringMatching(
          /^In float16 .*, more than rounding.* runs in float32, where they differ by 0\.\d%\.$/,
        ),
      });
    } else expect(taken.engine?.warning).toBe(undefined);
    await taken.dispose();
    const other = await tryBoth({ ...right, stillhouse: engine(3) })(gpu, { B, T, dtype });
    expect(other.engine?.warning).toMatch(/may hold different weights/);
    await other.dispose();
  },
  ['one lane'],
);

testVariants(
  'an ONNX file that onnxruntime refuses leaves the teacher to our kernels',
  async (gpu) => {
    const refuse = async () => {
      throw new ModelFileError('model', 'model.onnx: unknown operator');
    };
    const engines = { stillhouse: engine(1), onnxruntime: refuse, vocabularySize: V };
    const teacher = await tryBoth({ ...engines, onnxDtype: 'f32' })(gpu, { B, T, dtype: 'f32' });
    expect(teacher.engine).toEqual({
      name: 'stillhouse',
      reason: 'onnxruntime cannot run the folder’s ONNX file',
    });
    await teacher.dispose();
  },
  ['one lane'],
  ['f32'],
);

test('a difference ignores what no probability depends on, and a NaN is one', () => {
  const a = Float32Array.of(1, 2, 3, 4, 5, 6);
  expect(differenceOf(a, Float32Array.of(11, 12, 13, 0, 1, 2), 3)).toBe(0);
  expect(differenceOf(Float32Array.of(0, 0.5), Float32Array.of(0, 1), 2)).toBe(0.5);
  expect(differenceOf(Float32Array.of(NaN, 0), Float32Array.of(0, 1), 2)).toBe(NaN);
});
