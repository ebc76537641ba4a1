// Frozen weights of a student whose adapters train: what they take in full and in 8 bits, and that
// a twin reads the same ones. On a device that only counts memory.

import { expect, test } from 'vitest';
import { type Config, DEFAULTS } from '../../src/config';
import { planMemory } from '../../src/distill/run-models';
import { teacherFromWeights } from '../../src/distill/teacher/engine';
import { countingGpu } from '../../src/gpu/counting';
import { Pool, persistentTensor, Recorder } from '../../src/gpu/program';
import { parseConfig } from '../../src/model/families';
import { withAdapters } from '../../src/model/lora';
import { planArena } from '../../src/model/parameters';
import { frozenArena } from '../../src/model/rounded';
import { Layout } from '../../src/tensor/layout';
import { planningGpu, withGpuConstants } from './planning-gpu';

withGpuConstants();
const gpu = planningGpu;

/** SmolLM2-135M. */
const smollm = parseConfig({
  model_type: 'llama',
  vocab_size: 49152,
  hidden_size: 576,
  intermediate_size: 1536,
  num_hidden_layers: 30,
  num_attention_heads: 9,
  num_key_value_heads: 3,
  max_position_embeddings: 8192,
  tie_word_embeddings: true,
});
/** Fewer layers, which are planned sooner. */
const few = smollm.withLayers([0, 1, 2]);
const student = withAdapters(few, { rank: 16, alpha: 32, targets: 'all-linear' });
const matrices = planArena(few.parameters.filter(({ role }) => role === 'matrix')).parameters;

const planOf = (changes: Partial<Config>) =>
  planMemory({
    gpu,
    config: { ...DEFAULTS, batch_size: 2, max_length: 256, loss: 'ce', ...changes },
    dtype: 'f16',
    student,
    makeTeacher: (gpu, shape) => teacherFromWeights(gpu, undefined, few, shape),
  });

test('in 8 bits the linear layers take a byte a weight, and a scale for 64', async () => {
  const [full, int8] = [await planOf({}), await planOf({ base_weights: 'int8' })];
  // Of float16's two bytes 15/16 go; of full matrices the largest, gate | up, has room.
  const saved = matrices * (2 - 1 - 4 / 64) - 2 * 576 * 3072;
  expect(int8).toEqual({ ...full, weights: (full.weights ?? 0) - saved, data: int8.data });
});

test('a twin has no frozen weights of its own', async () => {
  const [one, two] = [
    await planOf({ base_weights: 'int8' }),
    await planOf({ base_weights: 'int8', twin: 'student_lr=0.01' }),
  ];
  const more = (two.weights ?? 0) - (one.weights ?? 0);
  // Master weights and their float16 copy.
  expect(more).toBe(6 * planArena(student.adapters?.parameters ?? []).count);
});

test.each([
  ['full', 12],
  // Each of the four products has its matrix made.
  ['int8', 16],
] as const)('a layer’s forward pass is at most so many dispatches: %s, %i', (base, most) => {
  const counting = countingGpu(gpu);
  const lengthOf = (layers: number[]) => {
    const architecture = smollm.withLayers(layers);
    const recorder = new Recorder(counting, new Pool(counting));
    const tokens = persistentTensor(counting, 'data', 'tokens', Layout.contiguous([2, 64]), 'u32');
    const arena = frozenArena(counting, architecture, 'f16', base);
    architecture.withWeights(arena).forward(recorder, tokens);
    return recorder.length;
  };
  const layer = lengthOf([0, 1, 2]) - lengthOf([0, 1]);
  expect(layer).toBeLessThanOrEqual(most);
});
