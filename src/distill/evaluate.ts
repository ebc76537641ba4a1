// Evaluation on held-out text: both models' perplexity, the true KL between them, and how often they agree.
//
// It meets the story's bug on its own ground: the logits of (B, T) tokens are sliced to [:, :-1] and the labels to [:, 1:].
// How the slice meets the loss is a setting (loss-paths.ts). Where it throws, the batch counts as failed.

import { type Batch, IGNORED_TARGET } from '../data/batches';
import type { Gpu } from '../gpu/device';
import { bufferOf, type Pool, type Program, persistentTensor, Recorder, type Tensor } from '../gpu/program';
import { columnSum } from '../kernels/columnSum';
import { compare } from '../kernels/losses';
import { matrix } from '../kernels/tensors';
import type { Gpt2Config } from '../model/config';
import { forward, head } from '../model/gpt2';
import type { Arena } from '../model/parameters';
import { Layout } from '../tensor/layout';
import type { LossPath } from './lab-records';
import { sliceLabels, sliceLogits, tokenLabels, validTargets } from './loss-paths';
import type { EvaluationRecord } from './records';
import type { Teacher } from './teacher';

/** Sums over tokens: student NLL, teacher NLL, KL, agreements. */
const SUMS = 4;

export class Evaluator {
  readonly #tokens: Tensor;
  readonly #labels: Tensor;
  readonly #sums: Tensor;
  #program?: Program;
  #bytesCopied = 0;

  /** Without a teacher the student is compared with itself: its perplexity is all that the record then says. */
  constructor(
    private readonly gpu: Gpu,
    private readonly pool: Pool,
    private readonly student: { config: Gpt2Config; weights: Arena },
    private readonly teacher: Teacher | undefined,
    /** B and T of a batch. */
    private readonly shape: [number, number],
    private readonly path: LossPath,
  ) {
    const make = (label: string, dims: number[], dtype: 'u32' | 'i32' | 'f32') =>
      persistentTensor(gpu, dtype === 'f32' ? 'metrics' : 'data', label, Layout.contiguous(dims), dtype);
    this.#tokens = make('evaluation tokens', shape, 'u32');
    this.#labels = make('evaluation labels', shape, 'i32');
    this.#sums = make('evaluation sums', [SUMS], 'f32');
  }

  /** Evaluates on `batches`. A batch that fails is counted, with the first error whole; the others still count. */
  async run(batches: Batch[], step: number): Promise<EvaluationRecord> {
    const started = performance.now();
    const sums = new Float64Array(SUMS);
    let [tokens, failed, bytesCopied] = [0, 0, 0];
    let firstError: string | undefined;
    for (const batch of batches) {
      try {
        const { values, valid } = await this.#batch(batch);
        for (const [i, value] of values.entries()) sums[i] += value;
        tokens += valid;
        bytesCopied += this.#bytesCopied;
      } catch (error) {
        failed++;
        firstError ??= error instanceof Error ? error.message : String(error);
      }
    }
    const mean = (i: number) => (tokens > 0 ? sums[i] / tokens : undefined);
    const perplexity = (i: number) => (tokens > 0 ? Math.exp(sums[i] / tokens) : undefined);
    const tried = batches.length;
    return {
      ...{ step, tried, succeeded: tried - failed, failed, firstError, tokens, path: this.path, bytesCopied },
      studentPerplexity: perplexity(0),
      ...(this.teacher ? { teacherPerplexity: perplexity(1), kl: mean(2), agreement: mean(3) } : {}),
      milliseconds: performance.now() - started,
    };
  }

  destroy(): void {
    this.#program?.destroy();
    for (const tensor of [this.#tokens, this.#labels, this.#sums]) this.gpu.memory.destroy(bufferOf(tensor));
  }

  async #batch(batch: Batch): Promise<{ values: Float32Array; valid: number }> {
    const { device } = this.gpu;
    this.#program ??= await this.#record();
    const { inputs } = batch;
    const labels = tokenLabels(batch, this.shape[1]);
    device.queue.writeBuffer(bufferOf(this.#tokens), 0, new Uint32Array(inputs));
    device.queue.writeBuffer(bufferOf(this.#labels), 0, labels);
    const encoder = device.createCommandEncoder({ label: 'evaluation' });
    encoder.clearBuffer(bufferOf(this.#sums));
    await this.teacher?.enqueue(inputs, encoder);
    this.#program.encode(encoder);
    device.queue.submit([encoder.finish()]);
    return { values: new Float32Array(await this.gpu.read(bufferOf(this.#sums))), valid: validTargets(labels) };
  }

  async #record(): Promise<Program> {
    const [B, T] = this.shape;
    const { config, weights } = this.student;
    const recorder = new Recorder(this.gpu, this.pool);
    const { hidden } = forward(recorder, config, weights, this.#tokens);
    const V = config.vocab_size;
    const logits = recorder.tensor('evaluation logits', Layout.contiguous([B, T, V]), 'f32', 'logits');
    head(recorder, weights, hidden, matrix(logits, B * T, V));
    const student = sliceLogits(recorder, logits, this.path);
    const teacher = this.teacher ? sliceLogits(recorder, this.teacher.logits, this.path) : student;
    this.#bytesCopied = student.bytesCopied + (this.teacher ? teacher.bytesCopied : 0);
    const perToken = recorder.tensor('evaluation per token', Layout.contiguous([B * (T - 1), SUMS]), 'f32');
    const targets = sliceLabels(this.#labels);
    const sides = { student: student.tensor, teacher: teacher.tensor };
    compare(recorder, { ...sides, targets, perToken, ignoreIndex: IGNORED_TARGET });
    columnSum(recorder, perToken, this.#sums, 'evaluation sums');
    return recorder.build('evaluation');
  }
}
