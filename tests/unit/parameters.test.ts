// Parameters without a GPU: how roles order an arena, what initial values follow, and how layers
// are left out of labels.

import { expect, test } from 'vitest';
import {
  type Initial,
  initialWeights,
  type Parameter,
  planArena,
  withoutLayer,
} from '../../src/model/parameters';
import { Random } from '../../src/tensor/random';

const parameter = (
  name: string,
  role: Parameter['role'],
  shape: number[],
  initial: Initial = { deviation: 1 },
): Parameter => ({ name, role, shape, initial });

test('weight decay applies to tables and matrices, which come first, each at 128 elements', () => {
  const plan = planArena([
    parameter('embed', 'embedding', [3, 50]),
    parameter('position', 'position', [2, 4]),
    parameter('head', 'head', [1, 4]),
    parameter('linear', 'matrix', [4, 4]),
    parameter('gain', 'norm', [4]),
    parameter('shift', 'bias', [4]),
  ]);
  expect([...plan.tensors.values()].map(({ first }) => first)).toEqual([
    0, 256, 384, 512, 640, 768,
  ]);
  expect([plan.decayed, plan.count, plan.parameters]).toEqual([640, 896, 186]);
});

test('a parameter with weight decay after one without is refused by name', () => {
  const plan = () =>
    planArena([parameter('gain', 'norm', [4]), parameter('linear', 'matrix', [4, 4])]);
  expect(plan).toThrow('linear has weight decay and follows a parameter without.');
});

test('a buffer ends before its limit, and a tensor spans no two', () => {
  const five = [1, 2, 3, 4, 5].map((i) => parameter(`w${i}`, 'matrix', [16, 16]));
  expect(planArena(five, 2 * 256 * 4).bufferSizes).toEqual([512, 512, 256]);
  expect(planArena(five, 4).bufferSizes).toEqual([256, 256, 256, 256, 256]);
});

test('joined parameters lie without a gap, in one buffer and one binding', () => {
  const joined = (name: string, shape: number[]) => ({
    ...parameter(name, 'matrix', shape),
    joined: true,
  });
  const plan = planArena(
    [
      parameter('before', 'matrix', [60, 4]),
      parameter('q', 'matrix', [6, 4]),
      joined('k', [2, 4]),
      joined('v', [2, 4]),
      parameter('after', 'matrix', [4]),
    ],
    300 * 4,
  );
  expect([...plan.tensors].map(([name, { first }]) => [name, first])).toEqual([
    ['before', 0],
    ['q', 256],
    ['k', 280],
    ['v', 288],
    ['after', 384],
  ]);
  expect([plan.bufferSizes, plan.parameters]).toEqual([[256, 256], 284]);
  expect(plan.bindings.map(({ name, size }) => [name, size])).toEqual([
    ['before', 240],
    ['q', 40],
    ['after', 4],
  ]);
  expect(() => planArena([parameter('q', 'matrix', [3, 3]), joined('k', [1, 3])])).toThrow(
    'k is joined to a parameter of odd size',
  );
});

test('initial values are normal with the deviation of each parameter, or its constant', () => {
  const weights = initialWeights(
    [
      parameter('wide', 'matrix', [100, 100], { deviation: 2 }),
      parameter('gain', 'norm', [4], { value: 1 }),
    ],
    new Random(1),
  );
  const wide = weights.get('wide') as Float32Array;
  const mean = wide.reduce((sum, w) => sum + w) / wide.length;
  const deviation = Math.sqrt(wide.reduce((sum, w) => sum + (w - mean) ** 2, 0) / wide.length);
  expect(Math.abs(mean)).toBeLessThan(0.1);
  expect(deviation).toBeGreaterThan(1.9);
  expect(deviation).toBeLessThan(2.1);
  expect([...(weights.get('gain') as Float32Array)]).toEqual([1, 1, 1, 1]);
});

test('labels of all layers are alike without the layer, and others are unchanged', () => {
  expect(
    ['h.0.mlp.c_fc dw', 'h.11.mlp.c_fc dw', 'model.layers.3.mlp.up', 'head dx', 'ln_f'].map(
      withoutLayer,
    ),
  ).toEqual(['mlp.c_fc dw', 'mlp.c_fc dw', 'mlp.up', 'head dx', 'ln_f']);
});
