// Students with experts: which architecture they have, what is refused, and that one whose experts
// are copies computes what the dense model computes.

import * as native from 'onnxruntime-native';
import { describe, expect, test } from 'vitest';
import { type Config, DEFAULTS } from '../../src/config';
import { expertLayers } from '../../src/distill/expert-use';
import { jsonPieces } from '../../src/distill/export/export';
import { newStudent, startingWeights } from '../../src/distill/run-setup';
import { openStudent } from '../../src/distill/student-start';
import { joinPieces } from '../../src/files/pieces';
import { filesSource } from '../../src/files/source';
import { activeParameters } from '../../src/model/experts';
import { parseConfig } from '../../src/model/families';
import type { Architecture } from '../../src/model/family';
import { initialWeights, planArena } from '../../src/model/parameters';
import { saveWeights } from '../../src/model/weights';
import * as reference from '../../src/reference';
import { Random } from '../../src/tensor/random';
import { readLlamaGolden, referenceConfig } from '../llama-goldens';

const SMALL = {
  vocab_size: 24,
  hidden_size: 16,
  intermediate_size: 20,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 4,
  max_position_embeddings: 16,
  tie_word_embeddings: false,
};
const dense = (model_type: string, fields: object = {}) =>
  parseConfig({ model_type, ...SMALL, ...fields });

/** A folder with larger weights than a new model's, so that every layer matters. */
function folderOf(architecture: Architecture) {
  const weights = initialWeights(architecture.parameters, new Random(2));
  for (const [name, values] of weights)
    if (!name.includes('norm'))
      weights.set(
        name,
        values.map((value) => 2 * value),
      );
  const files: [string, BlobPart][] = [
    ['config.json', JSON.stringify(architecture.formatConfig('float32'))],
    ['model.safetensors', saveWeights(architecture, weights)],
  ];
  const source = filesSource(new Map(files.map(([name, part]) => [name, new Blob([part])])));
  return { source, weights };
}

const settings = (changes: Partial<Config>): Config => ({
  ...DEFAULTS,
  student_model: 'teacher',
  student_from_layers: '0,2',
  student_experts: 3,
  ...changes,
});

async function startOf(architecture: Architecture, changes: Partial<Config> = {}) {
  const { source, weights } = folderOf(architecture);
  const start = await openStudent(settings(changes), source, architecture);
  if (!start) throw new Error('No start.');
  return { start, weights };
}

function logitsOf(architecture: Architecture, weights: ReadonlyMap<string, Float32Array>) {
  const named = Object.fromEntries(
    architecture.parameters.map(({ name, shape }) => [
      name,
      { shape, data: weights.get(name) as Float32Array },
    ]),
  );
  const config = referenceConfig(architecture.formatConfig('float32'));
  return reference.llamaForward(named, config, [3, 1, 4, 1, 5, 9, 2, 6], 1, 8).logits;
}

describe('a student whose experts are copies', () => {
  test.each([
    ['llama', 'mixtral'],
    ['mistral', 'mixtral'],
    ['qwen3', 'qwen3_moe'],
  ])('of a %s is a %s and computes what the dense one computes', async (type, withExperts) => {
    const teacher = dense(type, { sliding_window: 3 });
    const { start, weights } = await startOf(teacher);
    const student = start.architecture;
    expect(student.family.modelType).toBe(withExperts);
    expect(parseConfig(student.formatConfig('float32')).config).toEqual(student.config);
    const copied = new Map<string, Float32Array>();
    const all = startingWeights({ seed: 1 }, student, start);
    if (typeof all !== 'function') throw new Error('Expected a stream.');
    await all((name, _, values) => {
      expect(copied.has(name), name).toBe(false);
      copied.set(name, values);
    });
    expect([...copied.keys()].sort()).toEqual(student.parameters.map(({ name }) => name).sort());
    const layers = new Map(
      [...weights]
        .filter(([name]) => !name.startsWith('layers.1.'))
        .map(([name, values]) => [name.replace('layers.2.', 'layers.1.'), values]),
    );
    const expected = logitsOf(teacher.withLayers([0, 2]), layers);
    // Nothing but the order of float64 sums differs.
    expect(reference.relativeError(logitsOf(student, copied), expected)).toBeLessThan(1e-12);
    const [router] = student.parameters.filter(({ role }) => role === 'router');
    const values = copied.get(router.name) as Float32Array;
    expect(new Set(values).size).toBe(values.length);
  });

  test.each<[string, RegExp, Architecture, Partial<Config>?]>([
    [
      'GPT-2',
      /Hugging Face has no such architecture/,
      newStudent(DEFAULTS, { vocabularySize: 24 }),
    ],
    ['SmolLM3', /A SmolLM3 cannot .* no such architecture/, dense('smollm3')],
    ['a model with experts', /it has experts already/, dense('mixtral')],
    ['biases', /its attention has biases, and Mixtral’s/, dense('llama', { attention_bias: true })],
    [
      'some windows',
      /some of its layers have a window/,
      dense('qwen3', {
        use_sliding_window: true,
        sliding_window: 4,
        layer_types: ['full_attention', 'sliding_attention', 'sliding_attention'],
      }),
    ],
    [
      'one expert a token',
      /the weight 1, and its router/,
      dense('llama'),
      { experts_per_token: 1 },
    ],
  ])('is refused for %s', async (_, message, teacher, changes) => {
    const start = startOf(teacher, { student_from_layers: '0,1', ...changes });
    await expect(start).rejects.toThrow(message);
  });
});

describe('a new student with experts', () => {
  const of = (type: string | undefined, perToken: number) =>
    newStudent(
      { ...DEFAULTS, student_experts: 4, experts_per_token: perToken },
      { vocabularySize: 24, family: type === undefined ? undefined : dense(type).family },
    );

  test.each([
    [undefined, 2, 'qwen3_moe'],
    ['llama', 2, 'mixtral'],
    ['mixtral', 2, 'mixtral'],
    ['olmoe', 1, 'olmoe'],
    ['smollm3', 2, 'qwen3_moe'],
    // Mixtral divides by the sum of weights, and one weight would always be 1.
    ['llama', 1, 'qwen3_moe'],
    ['mixtral', 1, 'qwen3_moe'],
  ])('of a teacher that is %s with %i experts a token is a %s', (type, perToken, expected) => {
    const { family, config } = of(type, perToken);
    expect(family.modelType).toBe(expected);
    expect(config).toMatchObject({ norm_topk_prob: perToken > 1 });
  });

  test('has a shared expert beside those that a bias takes part in choosing', () => {
    const config = { ...DEFAULTS, student_experts: 4, router_bias_rate: 0.001 };
    const student = newStudent(config, { vocabularySize: 24 });
    expect(student.config).toMatchObject({ model_type: 'dots1', n_shared_experts: 1 });
    expect(parseConfig(student.formatConfig('float32')).config).toEqual(student.config);
    const [json] = jsonPieces(student.formatConfig('float32'));
    expect(new TextDecoder().decode(json as Uint8Array)).toContain('_scaling_factor": 1.0,');
    // Two experts of a token and the shared one are as wide as one of a dense student, nearly.
    const dense = { ...DEFAULTS, student_experts: 1, experts_per_token: 1 };
    const [active, all] = [student, newStudent(dense, { vocabularySize: 24 })].map((one) =>
      activeParameters(one),
    );
    expect(Math.abs(active / all - 1)).toBeLessThan(0.05);
  });

  test('has as many active parameters as with one expert, but for the routers', () => {
    const one = of(undefined, 1);
    const { student_width: C, student_layers } = DEFAULTS;
    const dense = newStudent(
      { ...DEFAULTS, student_experts: 1, experts_per_token: 1 },
      { vocabularySize: 24 },
    );
    const all = (architecture: Architecture) => planArena(architecture.parameters).parameters;
    expect(activeParameters(dense)).toBe(all(dense));
    expect(activeParameters(one)).toBe(all(dense) + 3 * student_layers * C);
    expect(activeParameters(of(undefined, 2))).toBe(activeParameters(one));
    expect(all(one)).toBeGreaterThan(2 * all(dense));
    // What is measured is a choice, and one expert is none.
    expect(expertLayers(dense)).toEqual([]);
    expect(expertLayers(one)).toHaveLength(student_layers);
  });
});

test('a router with sigmoids, a bias and a shared expert is in the exported graph', async () => {
  const golden = readLlamaGolden('dots1');
  const architecture = parseConfig(golden.config);
  const stored = golden.named('before');
  const weights = new Map(
    architecture.parameters.map(({ name }) => [name, stored[name].data as Float32Array]),
  );
  const graph = joinPieces(architecture.onnxPieces('f32', false), weights);
  const session = await native.InferenceSession.create(graph);
  const ids = BigInt64Array.from(golden.batch(0).inputs.map(BigInt));
  const input_ids = new native.Tensor('int64', ids, [golden.B, golden.T]);
  const { logits } = await session.run({ input_ids });
  // transformers computed them in float64.
  expect(reference.relativeError(logits.data as Float32Array, golden.logits)).toBeLessThan(1e-5);
});

test('layers of a dots1 are copied with those without experts first', () => {
  const dots1 = parseConfig(readLlamaGolden('dots1').config);
  expect(dots1.withLayers([0, 1, 1]).config).toMatchObject({ mlp_only_layers: [0] });
  expect(dots1.withLayers([1]).formatConfig('float32')).toMatchObject({ first_k_dense_replace: 0 });
  expect(() => dots1.withLayers([1, 0])).toThrow(/student_from_layers is 1,0, and in a dots1 the/);
});
