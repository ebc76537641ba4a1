// The reference where a row holds several documents: against transformers' models with a mask of
// blocks, and against finite differences.

import { describe, expect, test } from 'vitest';
import * as reference from '../../src/reference';
import { PACKED_GOLDENS, packedReferenceConfig, readPackedGolden } from '../packed-goldens';

// As in reference-llama.test.ts; GPT-2 has no angles in float32.
const LIMIT = 5e-6;
// The norm of a head of two small elements has large third derivatives.
const DIFFERENCES = 2e-7;
const CE = { kind: 'ce', temperature: 1, alpha: 0 } as const;

describe.each(PACKED_GOLDENS)('%s', (name) => {
  const golden = readPackedGolden(name);
  const config = packedReferenceConfig(golden.config);
  const { B, T, inputs, targets, starts } = golden;

  test('logits, loss and gradients are transformers’', () => {
    const weights = reference.toParameters(golden.named('weight'), config);
    const { logits } = reference.runModel(weights, config, inputs, B, T, starts);
    expect(reference.relativeError(logits, golden.logits)).toBeLessThan(LIMIT);
    const batch = { B, T, inputs, targets, starts };
    const { loss, gradients } = reference.lossAndGradients(weights, config, [batch], CE);
    expect(Math.abs(loss / golden.loss - 1)).toBeLessThan(LIMIT);
    for (const [parameter, { data }] of Object.entries(golden.named('grad')))
      expect(reference.relativeError(gradients[parameter].data, data), parameter).toBeLessThan(
        LIMIT,
      );
  });

  test('gradients agree with finite differences', () => {
    const small = {
      ...config,
      ...(name === 'gpt2'
        ? { n_embd: 4, n_head: 2, n_layer: 1 }
        : { hidden_size: 4, intermediate_size: 3, num_hidden_layers: 1, head_dim: 2 }),
      ...(name === 'mistral' && { num_attention_heads: 2, windows: [2] }),
      vocab_size: 5,
    } as reference.ModelConfig;
    const shapes =
      'n_embd' in small ? reference.parameterShapes(small) : reference.llamaShapes(small);
    const weights = Object.fromEntries(
      Object.entries(shapes).map(([parameter, shape], salt) => {
        const size = shape.reduce((a, b) => a * b, 1);
        return [parameter, { shape, data: reference.numbers(size, salt, 0.6) }];
      }),
    );
    const batch = {
      B: 1,
      T: 6,
      inputs: [1, 4, 1, 0, 3, 2],
      targets: [4, 1, -100, 3, 2, 0],
      starts: [0, 0, 0, 3, 3, 3],
    };
    const run = () => reference.lossAndGradients(weights, small, [batch], CE);
    const { gradients } = run();
    for (const [parameter, { data }] of Object.entries(weights)) {
      const differences = reference.finiteDifferences(data, () => run().loss);
      expect(reference.maxAbsError(gradients[parameter].data, differences), parameter).toBeLessThan(
        DIFFERENCES,
      );
    }
  });
});
