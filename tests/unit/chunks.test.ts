// Chunks of rows: they cover all rows once, within the limit of elements and of a binding.

import { expect, test } from 'vitest';
import { chunksOf, rowsPerChunk } from '../../src/distill/chunks';
import type { Gpu } from '../../src/gpu/device';

const gpuWith = (binding: number) => ({ limits: { binding } }) as Gpu;

test('a chunk has as many rows as fit, and at least one', () => {
  const gpu = gpuWith(2 ** 27);
  expect(rowsPerChunk(gpu, 1024)).toBe(4096);
  expect(rowsPerChunk(gpu, 50257)).toBe(83);
  expect(rowsPerChunk(gpu, 2 ** 23)).toBe(1);
  expect(rowsPerChunk(gpu, 1024, 10_000)).toBe(9);
  // A binding of 1 MiB shows 2^18 f32.
  expect(rowsPerChunk(gpuWith(2 ** 20), 1024)).toBe(256);
});

test('one chunk has all rows if they fit, whatever the multiple', () => {
  expect(chunksOf(83, 83, 16)).toEqual([{ first: 0, count: 83 }]);
  expect(chunksOf(0, 5)).toEqual([]);
});

test.each([
  [100, 7, 1, 7],
  [512, 83, 16, 80],
  [512, 16, 16, 16],
  [512, 9, 16, 9],
  [512, 1, 16, 1],
])('%i rows in chunks of at most %i, multiples of %i: %i each', (rows, most, multiple, size) => {
  const chunks = chunksOf(rows, most, multiple);
  let next = 0;
  for (const { first, count } of chunks) {
    expect(first).toBe(next);
    expect(count).toBe(Math.min(size, rows - first));
    next += count;
  }
  expect(next).toBe(rows);
});
