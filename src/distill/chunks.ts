// Chunks of rows. Logits of a whole batch are large, so the head and the loss see some rows at a
// time; memory is then chunk × vocabulary, whatever the batch.

import type { Gpu } from '../gpu/device';

/**
 * 16 MiB of f32 logits: small beside a model that has a large vocabulary, and one chunk for a small
 * one.
 */
const CHUNK_ELEMENTS = 2 ** 22;

/** Rows that a matrix product computes at a time: a chunk of whole tiles leaves none idle. */
export const TILE_ROWS = 16;

export interface Chunk {
  first: number;
  count: number;
}

/** Rows of V f32 logits that fit into `elements` and into one binding; at least one. */
export function rowsPerChunk(gpu: Gpu, V: number, elements = CHUNK_ELEMENTS): number {
  const limit = Math.min(elements, Math.floor(gpu.limits.binding / 4));
  return Math.max(1, Math.floor(limit / V));
}

/**
 * Cuts `rows` into chunks of at most `most`. Where there are several, all but the last have a
 * multiple of `multiple` rows, if `most` allows one.
 */
export function chunksOf(rows: number, most: number, multiple = 1): Chunk[] {
  const even = most > multiple ? most - (most % multiple) : most;
  const size = rows <= most ? rows : even;
  return Array.from({ length: Math.ceil(rows / size) }, (_, i) => ({
    first: i * size,
    count: Math.min(size, rows - i * size),
  }));
}
