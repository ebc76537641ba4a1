// Matrices that are stored in 8 bits, made to what a product reads.

import type { Placement, Recorder, Tensor } from '../gpu/program';
import { INT8_BLOCK } from '../tensor/int8';
import { kernel } from './sources';
import { elementGrid, scalarOf } from './tensors';

/** A matrix in 8 bits: bytes, and a scale for each INT8_BLOCK of them (tensor/int8.ts). */
export interface Int8Matrix {
  /** Four bytes to a word. */
  levels: Placement;
  /** f32 */
  scales: Placement;
  /** Where in the two it begins, in words and in scales. */
  firstWord: number;
  firstScale: number;
}

/** w = scale · level, w contiguous of any shape. */
export function fromInt8(
  recorder: Recorder,
  { levels, scales, firstWord, firstScale }: Int8Matrix,
  w: Tensor,
): void {
  const count = w.layout.numel;
  const k = kernel(recorder.gpu, 'int8', { aliases: { scalar: scalarOf(w) } });
  recorder.dispatch(
    k,
    { levels, scales, w },
    { count, first_word: firstWord, first_scale: firstScale },
    elementGrid(recorder.gpu, Math.ceil(count / 4)),
    {
      label: `${w.place.label} from int8`,
      flops: count,
      bytes: count * (1 + 4 / INT8_BLOCK) + w.place.bytes,
    },
  );
}
