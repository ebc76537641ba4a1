// Evaluation on held-out text: both models' perplexity, the true KL between them, and how often
// they agree.
//
// It meets the story's bug on its own ground: the logits of (B, T) tokens are sliced to [:, :-1]
// and the labels to [:, 1:]. How the slice meets the loss is a setting (loss-paths.ts). Where it
// throws, the batch counts as failed.

import { type Batch, IGNORED_TARGET } from '../data/batches';
import { CommandBatch } from '../gpu/command-batch';
import type { Gpu } from '../gpu/device';
import {
  bufferOf,
  type Pool,
  type Program,
  persistentTensor,
  Recorder,
  type Tensor,
} from '../gpu/program';
import { columnSum } from '../kernels/column_sum';
import { compare, distilTopK } from '../kernels/losses';
import { SCALER, STEP } from '../kernels/sources';
import { type Entries, entryWords } from '../kernels/topk';
import type { LanguageModel } from '../model/family';
import { Layout, LayoutError } from '../tensor/layout';
import { chunksOf, rowsPerChunk } from './chunks';
import { type LossPath, sliceLogits, tokenLabels, validTargets } from './loss-paths';
import type { EvaluationRecord } from './records';
import type { TeacherSource } from './teacher/teacher';

/** Sums over tokens: student NLL, teacher NLL, KL, agreements. */
const SUMS = 4;
const SUMS_BYTES = SUMS * 4;

export class Evaluator {
  readonly #tokens: Tensor;
  readonly #labels: Tensor;
  readonly #sums: Tensor;
  /** What a training loss reads of its step: temperature 1. Only a gradient needs the rest. */
  readonly #step: GPUBuffer;
  readonly #scaler: GPUBuffer;
  #program?: Program;
  #bytesCopied = 0;

  /**
   * Without a teacher the student is compared with itself: its perplexity is all that the record
   * then says.
   */
  constructor(
    private readonly gpu: Gpu,
    private readonly pool: Pool,
    private readonly student: LanguageModel,
    private readonly teacher: TeacherSource | undefined,
    /** B and T of a batch. */
    private readonly shape: [number, number],
    private readonly path: LossPath,
  ) {
    const make = (label: string, dims: number[], dtype: 'u32' | 'i32' | 'f32') =>
      persistentTensor(
        gpu,
        dtype === 'f32' ? 'metrics' : 'data',
        label,
        Layout.contiguous(dims),
        dtype,
      );
    this.#tokens = make('evaluation tokens', shape, 'u32');
    this.#labels = make('evaluation labels', shape, 'i32');
    this.#sums = make('evaluation sums', [SUMS], 'f32');
    const { UNIFORM, COPY_DST } = GPUBufferUsage;
    const { memory, device } = gpu;
    this.#step = memory.create('data', 'evaluation step', STEP.bytes, UNIFORM | COPY_DST);
    this.#scaler = memory.create('data', 'evaluation scaler', SCALER.bytes);
    const values = { learning_rate: 0, temperature: 1, alpha: 0, inverse_tokens: 0 };
    device.queue.writeBuffer(this.#step, 0, STEP.write(values));
  }

  /**
   * Records the evaluation ahead of the first batch. What the loss path refuses is left to each
   * batch to tell.
   */
  async prepare(): Promise<void> {
    try {
      this.#program ??= await this.#record();
    } catch (error) {
      if (!(error instanceof LayoutError)) throw error;
    }
  }

  /**
   * Evaluates on `batches`, all of which are on the queue before one is waited for. A batch that
   * fails is counted, with the first error whole; the others still count.
   */
  async run(batches: Batch[], step: number): Promise<EvaluationRecord> {
    const started = performance.now();
    const { memory } = this.gpu;
    const results = memory.create('metrics', 'evaluation results', batches.length * SUMS_BYTES);
    let [tokens, succeeded, failed, bytesCopied] = [0, 0, 0, 0];
    let firstError: string | undefined;
    for (const batch of batches) {
      try {
        tokens += await this.#batch(batch, results, succeeded);
        succeeded++;
        bytesCopied += this.#bytesCopied;
      } catch (error) {
        failed++;
        firstError ??= error instanceof Error ? error.message : String(error);
      }
    }
    const sums = new Float64Array(SUMS);
    try {
      const read =
        succeeded > 0 ? await this.gpu.read(results, 0, succeeded * SUMS_BYTES) : new ArrayBuffer();
      for (const [i, value] of new Float32Array(read).entries()) sums[i % SUMS] += value;
    } finally {
      memory.destroy(results);
    }
    const mean = (i: number) => (tokens > 0 ? sums[i] / tokens : undefined);
    const perplexity = (i: number) => (tokens > 0 ? Math.exp(sums[i] / tokens) : undefined);
    // Entries give no perplexity; the cache's summary has it from all logits.
    const topK = this.teacher?.topK;
    const cachedPerplexity = tokens > 0 ? topK?.teacherPerplexity : undefined;
    const teacherPerplexity = topK ? cachedPerplexity : perplexity(1);
    return {
      step,
      tried: batches.length,
      succeeded,
      failed,
      firstError,
      tokens,
      path: this.path,
      bytesCopied,
      studentPerplexity: perplexity(0),
      ...(this.teacher ? { teacherPerplexity, kl: mean(2), agreement: mean(3) } : {}),
      ...(topK ? { klWords: topK.k } : {}),
      milliseconds: performance.now() - started,
    };
  }

  destroy(): void {
    this.#program?.destroy();
    for (const tensor of [this.#tokens, this.#labels, this.#sums])
      this.gpu.memory.destroy(bufferOf(tensor));
    for (const buffer of [this.#step, this.#scaler]) this.gpu.memory.destroy(buffer);
  }

  /**
   * Puts a batch on the queue, and its sums behind those of `index` others. Returns the labels that
   * count.
   */
  async #batch(batch: Batch, results: GPUBuffer, index: number): Promise<number> {
    const { device } = this.gpu;
    this.#program ??= await this.#record();
    const labels = tokenLabels(batch, this.shape[1]);
    device.queue.writeBuffer(bufferOf(this.#tokens), 0, new Uint32Array(batch.inputs));
    device.queue.writeBuffer(bufferOf(this.#labels), 0, labels);
    const commands = new CommandBatch(this.gpu, 'evaluation');
    commands.encoder.clearBuffer(bufferOf(this.#sums));
    await this.teacher?.enqueue(batch, commands);
    commands.run(this.#program);
    commands.encoder.copyBufferToBuffer(
      bufferOf(this.#sums),
      0,
      results,
      index * SUMS_BYTES,
      SUMS_BYTES,
    );
    await commands.submit();
    return validTargets(labels);
  }

  async #record(): Promise<Program> {
    const [, T] = this.shape;
    const recorder = new Recorder(this.gpu, this.pool);
    const { hidden } = this.student.forward(recorder, this.#tokens);
    const V = this.student.architecture.vocabularySize;
    this.#bytesCopied = 0;
    for (const { whole, first, sequences, from, to } of this.#pieces(V)) {
      // Of a whole sequence the last row is made too, and sliced off.
      const rows: [number, number] = [first * T + from, whole ? sequences * T : to - from];
      const shape = [sequences, rows[1] / sequences, V];
      const facing = (logits: Tensor): Tensor => {
        const shaped = { ...logits, layout: logits.layout.view(shape) };
        if (!whole) return shaped;
        const { tensor, bytesCopied } = sliceLogits(recorder, shaped, this.path);
        this.#bytesCopied += bytesCopied;
        return tensor;
      };
      const logits = recorder.tensor(
        'evaluation logits',
        Layout.contiguous([rows[1], V]),
        'f32',
        'logits',
      );
      const layout = hidden.layout.narrow(0, ...rows);
      this.student.head(recorder, { ...hidden, layout }, logits);
      const student = facing(logits);
      const theirs = this.teacher?.logits(recorder, ...rows);
      const labels = this.#labels.layout.narrow(0, first, sequences).narrow(1, from + 1, to - from);
      const targets = { ...this.#labels, layout: labels };
      const perToken = recorder.tensor(
        'evaluation per token',
        Layout.contiguous([labels.numel, SUMS]),
        'f32',
      );
      const inputs = { student, targets, perToken, ignoreIndex: IGNORED_TARGET };
      if (theirs && 'entries' in theirs) this.#compareEntries(recorder, theirs, whole, inputs);
      else compare(recorder, { ...inputs, teacher: theirs ? facing(theirs) : student });
      columnSum(recorder, perToken, this.#sums, 'evaluation sums');
    }
    return recorder.build('evaluation');
  }

  /**
   * Entries are rows of words: those that face no label are left out by their layout, on every
   * path.
   */
  #compareEntries(
    recorder: Recorder,
    { entries, V, k }: Entries,
    whole: boolean,
    inputs: { student: Tensor; targets: Tensor; perToken: Tensor; ignoreIndex: number },
  ): void {
    const [sequences, labels] = inputs.targets.layout.shape;
    const shaped = entries.layout.view([
      sequences,
      whole ? labels + 1 : labels,
      entryWords({ V, k }),
    ]);
    const layout = shaped.narrow(1, 0, labels);
    const options = { step: this.#step, scaler: this.#scaler, gradient: false, figures: true };
    distilTopK(recorder, { ...inputs, ...options, entries: { ...entries, layout }, V, k });
  }

  /**
   * The rows to compare, `from` to `to` of some sequences at a time. Read where they lie, no more
   * logits are made than a chunk holds; the story's two paths have the whole batch's, as the story
   * had.
   */
  #pieces(
    V: number,
  ): { whole: boolean; first: number; sequences: number; from: number; to: number }[] {
    const [B, T] = this.shape;
    const all = { whole: true, from: 0, to: T - 1 };
    if (this.path !== 'strided') return [{ first: 0, sequences: B, ...all }];
    const most = rowsPerChunk(this.gpu, V);
    if (most >= T) {
      return chunksOf(B, Math.floor(most / T)).map(({ first, count }) => ({
        first,
        sequences: count,
        ...all,
      }));
    }
    return chunksOf(B, 1).flatMap(({ first }) =>
      chunksOf(T - 1, most).map(({ first: from, count }) => ({
        whole: false,
        first,
        sequences: 1,
        from,
        to: from + count,
      })),
    );
  }
}
