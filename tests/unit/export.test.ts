// A student too large for its files is refused before anything is written. gpu/export.test.ts
// covers what is written.

import { expect, test } from 'vitest';
import { studentFiles, zipStudent } from '../../src/distill/export/export';
import { gpt2 } from '../../src/model/gpt2/gpt2';

const sizes = { vocab_size: 50257, n_positions: 1024, layer_norm_epsilon: 1e-5 };
const XL = gpt2({
  ...sizes,
  n_layer: 48,
  n_embd: 1600,
  n_head: 25,
  activation_function: 'gelu_new',
});

test('graphs over 2 GB are left out with their size; a .zip over 4 GiB is refused', async () => {
  let left: readonly string[] = [];
  const asked: string[] = [];
  const files = await studentFiles(
    {
      architecture: XL,
      tokenizer: { files: new Map() },
      // Read once for the check; the first one written would have another size.
      parameter: async (name) => {
        asked.push(name);
        return new Float32Array(1);
      },
    },
    {
      dtype: 'float32',
      card: (leftOut) => {
        left = leftOut;
        return '';
      },
    },
  );
  await expect(zipStudent('gpt2-xl', files, { date: new Date() })).rejects.toThrow(
    'The student gpt2-xl has 5.80 GiB, but a .zip holds 4. Export in float16.',
  );
  expect(left).toEqual([
    'onnx/model.onnx: it would have 6.23 GB; an ONNX file has at most 2.15.',
    'onnx/model_fp16.onnx: it would have 3.12 GB; an ONNX file has at most 2.15.',
  ]);
  expect(new Set(asked).size).toBe(asked.length);
});

test('a run that ends stops its export', async () => {
  const ended = new AbortController();
  ended.abort(new Error('The run was dropped.'));
  const student = {
    architecture: XL,
    tokenizer: { files: new Map() },
    parameter: async () => new Float32Array(1),
  };
  const options = { dtype: 'float32' as const, card: () => '', signal: ended.signal };
  await expect(studentFiles(student, options)).rejects.toThrow('The run was dropped.');
});
