// What a teacher is: whatever puts the logits of a batch on the GPU. Our own engine (engine.ts),
// onnxruntime (onnx-teacher.ts) and the cache (cached.ts) implement it.

import type { CommandBatch } from '../../gpu/command-batch';
import type { Gpu } from '../../gpu/device';
import type { DispatchTime, Recorder, Tensor } from '../../gpu/program';
import { copy } from '../../kernels/copy';
import type { Entries } from '../../kernels/topk';
import type { Family, ModelSizes } from '../../model/family';
import { Layout } from '../../tensor/layout';
import type { Generate, NextLogits } from '../sample';
import type { TokenBatch } from './batch-index';

/** What runs the teacher: our own kernels, or onnxruntime. */
export interface EngineChoice {
  name: 'stillhouse' | 'onnxruntime';
  /** Half a sentence that people read, such as "its kernels support GPT-2". */
  reason: string;
  /** Whole sentences for the log, if the engines disagree. */
  warning?: string;
}

/** What a run needs to know of its teacher before the teacher is loaded. */
export interface TeacherSizes extends Pick<ModelSizes, 'vocabularySize' | 'contextWindow'> {
  /** If our kernels know it: a new student is then of the same. */
  family?: Family;
}

/** What losses and evaluations read: a teacher, or its cache (cached.ts). */
export interface TeacherSource {
  /**
   * Enqueues the teacher's work for `batch` (b, T), b ≤ B, ahead of what the caller submits next:
   * in submissions of its own, or at the end of `commands`. Logits of rows beyond b are undefined.
   */
  enqueue(batch: TokenBatch, commands: CommandBatch): Promise<void>;
  /**
   * Logits (count, V), f16 or f32, of the batch enqueued last: its rows from `first` = b · T + t
   * on. Records the dispatches that compute them, so a large vocabulary's logits need not all exist
   * at once. A top-k cache gives the rows' entries instead.
   */
  logits(recorder: Recorder, first: number, count: number): Tensor | Entries;
  /**
   * Logits (B·T, E) f32 of the routers of each layer with experts, for the batch enqueued last.
   * Present if `TeacherShape.routers` asked for them and our kernels run it.
   */
  readonly routers?: readonly Tensor[];
  /** For losses by groups of tokens (data/aligned.ts). A cache has none. */
  readonly aligned?: AlignedTeacher;
  /**
   * Times of its dispatches for the batch enqueued last, without the head. Absent if its dispatches
   * are not ours. Changes no result.
   */
  profile?(): Promise<DispatchTime[]>;
  /** The only temperature that a top-k cache serves; undefined if every temperature works. */
  readonly temperature?: number;
  /**
   * Of a top-k cache: tokens per entry, and the teacher's perplexity on the held-out batches, from
   * all logits.
   */
  readonly topK?: { k: number; teacherPerplexity?: number };
}

export interface AlignedTeacher {
  vocabularySize: number;
  /**
   * Logits (count, V), f32 and contiguous: of the rows that the student's rows from `first` on
   * belong to, by `spans` (B·T, 4) u32.
   */
  logits(recorder: Recorder, spans: Tensor, first: number, count: number): Tensor;
}

/** A model that also continues text. */
export interface Teacher extends TeacherSource {
  /** Undefined for an ONNX graph that does not tell. */
  readonly parameters: number | undefined;
  /** Where it was chosen when the teacher was made (try-both.ts); else its folder tells. */
  readonly engine?: EngineChoice;
  /** Whole sentences for the log: what is wrong with it, or was not checked. */
  readonly warning?: string;
  logits(recorder: Recorder, first: number, count: number): Tensor;
  generate: Generate;
  next: NextLogits;
  dispose(): Promise<void>;
}

/** The teacher with logits of its first V tokens alone: views, not copies. The rest is padding. */
export const narrowed = (teacher: Teacher, V: number): Teacher => ({
  ...teacher,
  logits(recorder, first, count) {
    const logits = teacher.logits(recorder, first, count);
    return logits.layout.shape[1] > V
      ? { ...logits, layout: logits.layout.narrow(1, 0, V) }
      : logits;
  },
  ...(teacher.aligned && { aligned: narrowedRows(teacher.aligned, V) }),
});

const narrowedRows = ({ vocabularySize, logits }: AlignedTeacher, V: number): AlignedTeacher => ({
  vocabularySize: Math.min(V, vocabularySize),
  logits(recorder, spans, first, count) {
    const all = logits(recorder, spans, first, count);
    if (vocabularySize <= V) return all;
    const layout = Layout.contiguous([count, V]);
    const rows = recorder.tensor('teacher logits', layout, 'f32', 'logits');
    copy(recorder, { ...all, layout: all.layout.narrow(1, 0, V) }, rows);
    return rows;
  },
});

/** The batches that a teacher is built for, (B, T), and its precision. */
export interface TeacherShape {
  B: number;
  T: number;
  dtype: 'f16' | 'f32';
  /** Attention stays inside each document of a row: batches say where they begin. */
  masked?: boolean;
  /** Whether the logits of its routers are kept. */
  routers?: boolean;
}

export type MakeTeacher = (gpu: Gpu, shape: TeacherShape) => Promise<Teacher>;
