// Cache entries: a row of teacher logits reduced to its k most likely tokens and the tail, which is
// all other tokens as one outcome. The GPU packs an entry as it is stored on disk.
//
// An entry, in u32: the tail, ln Σ exp((y − largest) / T) over the other tokens, as f32; k values
// y − largest as f16, two to a u32; k ids in ascending order, as u16 two to a u32, or as u32 if the
// vocabulary is larger than u16 allows. With k = V, only the values.
//
// Values are logits minus the row's largest and not log-probabilities, for two reasons: f16 is most
// exact near 0, where the likely tokens are (a probability of e^-x is off by x · 2^-11 of itself),
// and a whole row of them serves every temperature.

import type { Recorder, Tensor } from '../gpu/program';
import { Layout } from '../tensor/layout';
import { kernel } from './sources';
import { elementGrid, ROW_THREADS, rowLanes, scalarOf } from './tensors';

/** An entry has k of the vocabulary's V tokens, 1 ≤ k ≤ V. */
export interface TopK {
  V: number;
  k: number;
}

/** Whether entries store ids as u16. */
export const hasU16Ids = ({ V }: TopK): boolean => V <= 2 ** 16;

/** The size of an entry, in u32. */
export function entrySize(shape: TopK): number {
  const pairs = Math.ceil(shape.k / 2);
  if (shape.k === shape.V) return pairs;
  return 1 + pairs + (hasU16Ids(shape) ? pairs : shape.k);
}

/** Entries for rows of teacher logits. A loss takes them in place of the logits. */
export interface Entries extends TopK {
  /** (rows, entrySize) or (b, t, entrySize), u32; the last dimension is contiguous. */
  entries: Tensor;
}

/**
 * Teacher logits (rows, V), in any layout → entries (rows, entrySize), contiguous. The tail is
 * taken at `temperature`.
 */
export function topK(
  recorder: Recorder,
  teacher: Tensor,
  { entries, V, k }: Entries,
  { temperature }: { temperature: number },
): void {
  const [rows] = teacher.layout.shape;
  const [teacher_row, teacher_v] = teacher.layout.strides;
  const LANES = rowLanes(recorder.gpu);
  const chosen = recorder.tensor(
    'top-k ids',
    Layout.contiguous([rows, k < V ? k : 1]),
    'u32',
    'logits',
  );
  recorder.dispatch(
    kernel(recorder.gpu, 'topk', {
      aliases: { teacher_type: scalarOf(teacher) },
      constants: { LANES },
    }),
    { teacher, chosen, entries },
    {
      rows,
      V,
      k,
      entry_size: entrySize({ V, k }),
      u16_ids: Number(hasU16Ids({ V, k })),
      temperature,
      teacher_offset: teacher.layout.offset,
      teacher_row,
      teacher_v,
      entry_offset: entries.layout.offset,
    },
    [Math.ceil((rows * LANES) / ROW_THREADS)],
  );
}

/**
 * Entries (rows, entrySize) with k = V → logits (rows, V) f32, contiguous, each row minus its
 * largest.
 * @throws if k < V
 */
export function expand(recorder: Recorder, { entries, V, k }: Entries, logits: Tensor): void {
  if (k !== V) {
    throw new Error(
      `expand: the entries have ${k} of ${V} tokens. Only entries of all tokens can be expanded.`,
    );
  }
  const count = logits.layout.numel;
  recorder.dispatch(
    kernel(recorder.gpu, 'expand'),
    { entries, logits },
    { count, V, entry_size: entrySize({ V, k }), entry_offset: entries.layout.offset },
    elementGrid(recorder.gpu, count),
  );
}
