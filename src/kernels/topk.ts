// Cache entries: a row of teacher logits as its k likeliest words and the rest as one outcome,
// packed on the GPU as it lies on disk.
//
// An entry, in u32 words: the rest, ln Σ exp((y − largest)/T) over the words left out, f32; k
// values y − largest, f16, two to a word; k ids in ascending order, u16 and two to a word where the
// vocabulary allows it, else u32. With k = V, the values alone.
//
// Values are logits less the row's largest rather than log-probabilities: f16 is exactest near 0,
// and that is where the likely words are (a word of probability e^-x is off by x · 2^-11 of
// itself), and a whole row of them serves every temperature.

import type { Recorder, Tensor } from '../gpu/program';
import { Layout } from '../tensor/layout';
import { kernel } from './sources';
import { elementGrid, ROW_THREADS, rowLanes, scalarOf } from './tensors';

/** How many words of a vocabulary an entry keeps, 1 ≤ k ≤ V. */
export interface TopK {
  V: number;
  k: number;
}

/** Whether an id fits into 16 bits. */
export const narrowIds = ({ V }: TopK): boolean => V <= 2 ** 16;

/** u32 words of an entry. */
export function entryWords(shape: TopK): number {
  const pairs = Math.ceil(shape.k / 2);
  if (shape.k === shape.V) return pairs;
  return 1 + pairs + (narrowIds(shape) ? pairs : shape.k);
}

/** Entries of some rows of teacher logits, which a loss takes in their place. */
export interface Entries extends TopK {
  /** (rows, entryWords) or (b, t, entryWords), u32; the last dimension contiguous. */
  entries: Tensor;
}

/**
 * Teacher logits (rows, V), through their layout → as many entries (rows, words), contiguous. The
 * rest is taken at `temperature`.
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
  const program = kernel(recorder.gpu, 'topk', {
    aliases: { teacher_type: scalarOf(teacher) },
    constants: { LANES },
  });
  const chosen = recorder.tensor(
    'chosen words',
    Layout.contiguous([rows, k < V ? k : 1]),
    'u32',
    'logits',
  );
  const narrow = Number(narrowIds({ V, k }));
  recorder.dispatch(
    program,
    { teacher, chosen, entries },
    {
      rows,
      V,
      k,
      words: entryWords({ V, k }),
      narrow,
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
 * Entries (rows, words) that keep the whole vocabulary → logits (rows, V) f32, contiguous, each row
 * less its largest.
 */
export function expand(recorder: Recorder, { entries, V, k }: Entries, logits: Tensor): void {
  if (k !== V)
    throw new Error(
      `expand: the entries keep ${k} of ${V} words. Only whole rows can be expanded.`,
    );
  const count = logits.layout.numel;
  recorder.dispatch(
    kernel(recorder.gpu, 'expand'),
    { entries, logits },
    { count, V, words: entryWords({ V, k }), entry_offset: entries.layout.offset },
    elementGrid(recorder.gpu, count),
  );
}
