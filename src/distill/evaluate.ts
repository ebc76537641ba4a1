// Evaluation on held-out text at temperature 1: both models' perplexity, the KL between them, and
// how often their likeliest next tokens agree.
//
// The logits of (B, T) tokens are sliced to [:, :-1] and the labels to [:, 1:], as in the script
// whose bug the Bug Lab shows. How the slice meets the loss is a setting (loss-paths.ts). If it
// throws, the batch counts as failed.

import { type AnswerMarks, answersIn } from '../data/answers';
import { type Batch, IGNORED_TARGET } from '../data/batches';
import { CommandBatch } from '../gpu/command-batch';
import type { Gpu } from '../gpu/device';
import { KernelError } from '../gpu/kernel';
import type { Purpose } from '../gpu/memory';
import {
  bufferOf,
  type PendingProgram,
  type Pool,
  persistentTensor,
  Recorder,
  type Tensor,
} from '../gpu/program';
import { columnSum } from '../kernels/column_sum';
import { copy } from '../kernels/copy';
import { compare, DIAGNOSES, diagnose, distilTopK } from '../kernels/losses';
import { SCALER, STEP } from '../kernels/sources';
import { type Entries, entrySize } from '../kernels/topk';
import type { LanguageModel } from '../model/family';
import { BYTES, type DType } from '../tensor/dtype';
import { Layout, LayoutError } from '../tensor/layout';
import { DocumentBuffer } from './batch-buffer';
import { chunksOf, rowsPerChunk } from './chunks';
import { ExpertMeter, type FirstExperts } from './expert-use';
import { type LossPath, sliceLogits, tokenLabels, validTargets } from './loss-paths';
import type { EvaluationRecord } from './records';
import type { TeacherSource } from './teacher/teacher';

/** What `compare` gives for each token, in its order; the evaluation sums them over tokens. */
const FIGURES = [
  'studentNll',
  'teacherNll',
  'kl',
  'agreement',
  'studentRight',
  'teacherRight',
] as const;
/** The sums of `compare`, then those of `diagnose`. */
const COLUMNS = [...FIGURES, ...DIAGNOSES];
/** The figures that a model's predictions are in, by its own nll. */
const OF_BOTH: (keyof Sums)[] = ['kl', 'agreement', 'overlap', 'overlapMass'];
const OF_MODELS = {
  studentNll: [...OF_BOTH, 'studentRight', 'studentEntropy', 'confidence'],
  teacherNll: [...OF_BOTH, 'teacherRight', 'teacherEntropy', 'softEntropy'],
} satisfies Partial<Record<keyof Sums, (keyof Sums)[]>>;
const NO_STEP = {
  learning_rate: 0,
  alpha: 0,
  inverse_tokens: 0,
  router_balance: 0,
  router_z: 0,
  router_kd: 0,
};

const CONFIDENCE = DIAGNOSES.indexOf('confidence');

type Sums = Record<(typeof COLUMNS)[number], number>;
/**
 * What was measured of a batch, token by token: element b·(T − 1) + t is of the label at position
 * t + 1 of sequence b, and 0 where that is ignored. From a cache of the top k the confidence is 0.
 */
export type TokenFigures = Record<(typeof FIGURES)[number] | 'confidence', Float32Array> & {
  /** Of each layer with experts: the expert of each of the B·T tokens. */
  experts: FirstExperts[];
};
type Answers = NonNullable<EvaluationRecord['answers']>;

/** Rows that are compared at a time: positions `from` to `to` of some sequences. */
interface RowChunk {
  /** All T rows of each sequence; the loss path slices off the last. */
  whole: boolean;
  first: number;
  sequences: number;
  from: number;
  to: number;
}

export class Evaluator {
  readonly #tokens: Tensor;
  readonly #labels: Tensor;
  readonly #sums: Tensor;
  readonly #diagnoses: Tensor;
  /** (B·(T − 1), 6) and (B·(T − 1), 1): a batch's figures, token by token. */
  readonly #figures: Tensor;
  readonly #confidence: Tensor;
  /** What a training loss reads of its step: temperature 1. Only a gradient needs the rest. */
  readonly #step: GPUBuffer;
  readonly #scaler: GPUBuffer;
  /** Has the training temperature, at which the teacher's entropy is taken as well. */
  readonly #soft: GPUBuffer;
  readonly #documents?: DocumentBuffer;
  readonly #experts: ExpertMeter;
  private readonly answers?: AnswerMarks;
  #recorder?: Recorder;
  #program?: PendingProgram;
  #bytesCopied = 0;

  /**
   * Without a teacher the student is compared with itself, and the record has its perplexity alone.
   * @param shape B and T of a batch
   * @param options.answers marks the answers of the text: the record counts those given in full
   * @param options.masked attention stays inside each document of a row
   */
  constructor(
    private readonly gpu: Gpu,
    private readonly pool: Pool,
    private readonly student: LanguageModel,
    private readonly teacher: TeacherSource | undefined,
    private readonly shape: [number, number],
    private readonly path: LossPath,
    { answers, masked }: { answers?: AnswerMarks; masked?: boolean } = {},
  ) {
    this.answers = answers;
    if (masked) this.#documents = new DocumentBuffer(gpu, 'data', ...shape);
    this.#experts = new ExpertMeter(gpu, student.architecture, shape);
    const make = (purpose: Purpose, label: string, dims: number[], dtype: DType) =>
      persistentTensor(gpu, purpose, label, Layout.contiguous(dims), dtype);
    this.#tokens = make('data', 'evaluation tokens', shape, 'u32');
    this.#labels = make('data', 'evaluation labels', shape, 'i32');
    this.#sums = make('metrics', 'evaluation sums', [FIGURES.length], 'f32');
    this.#diagnoses = make('metrics', 'diagnosis sums', [DIAGNOSES.length], 'f32');
    const tokens = shape[0] * (shape[1] - 1);
    this.#figures = make('metrics', 'evaluation figures', [tokens, FIGURES.length], 'f32');
    this.#confidence = make('metrics', 'evaluation confidence', [tokens, 1], 'f32');
    const { UNIFORM, COPY_DST } = GPUBufferUsage;
    const { memory, device } = gpu;
    this.#step = memory.create('data', 'evaluation step', STEP.bytes, UNIFORM | COPY_DST);
    this.#scaler = memory.create('data', 'evaluation scaler', SCALER.bytes);
    this.#soft = memory.create('data', 'evaluation temperature', STEP.bytes, UNIFORM | COPY_DST);
    device.queue.writeBuffer(this.#step, 0, STEP.write({ ...NO_STEP, temperature: 1 }));
  }

  /**
   * Records the evaluation, and so begins to compile its kernels. If the loss path throws, each
   * batch throws that error again.
   */
  record(): void {
    try {
      this.#recorder ??= this.#record();
    } catch (error) {
      if (!(error instanceof LayoutError)) throw error;
    }
  }

  /** Plans the memory of what was recorded; the first batch does so otherwise. */
  prepare(): void {
    this.#program ??= this.#recorder?.begin('evaluation');
  }

  /**
   * Evaluates on `batches`; waits for the GPU once, after enqueueing them all. A batch that fails
   * is counted, and the record has the first error's whole message.
   * @throws KernelError if a kernel does not compile, which is no batch's fault
   * @param temperature of the training loss
   * @param onBatch called with the number of batches that are computed, after each
   * @param onFigures called with each batch that succeeded, in order, before this resolves
   */
  async run(
    batches: Batch[],
    step: number,
    {
      temperature = 1,
      onBatch,
      onFigures,
    }: {
      temperature?: number;
      onBatch?: (computed: number) => void;
      onFigures?: (batch: Batch, figures: TokenFigures) => void;
    } = {},
  ): Promise<EvaluationRecord> {
    const started = performance.now();
    const { memory, device } = this.gpu;
    device.queue.writeBuffer(this.#soft, 0, STEP.write({ ...NO_STEP, temperature }));
    const kept = this.#kept;
    const stride = kept.reduce((sum, { place }) => sum + place.bytes, 0);
    const results = memory.create('metrics', 'evaluation results', batches.length * stride);
    const evaluated: Batch[] = [];
    let [tokens, succeeded, failed, bytesCopied] = [0, 0, 0, 0];
    let firstError: string | undefined;
    let running = true;
    for (const [i, batch] of batches.entries()) {
      try {
        tokens += await this.#enqueue(batch, results, succeeded * stride);
        evaluated.push(batch);
        succeeded++;
        bytesCopied += this.#bytesCopied;
      } catch (error) {
        if (error instanceof KernelError) {
          memory.destroy(results);
          throw error;
        }
        failed++;
        firstError ??= error instanceof Error ? error.message : String(error);
      }
      // Told when the GPU is there; nothing waits for it.
      if (onBatch) {
        const told = this.gpu.idle().then(() => running && onBatch(i + 1));
        // A lost device is reported by the reading below.
        told.catch(() => undefined);
      }
    }
    const sums = Object.fromEntries(COLUMNS.map((name) => [name, 0])) as Sums;
    const answers = { tried: 0, studentRight: 0, teacherRight: 0 };
    this.#experts.begin();
    try {
      const read = succeeded > 0 ? await this.gpu.read(results, 0, succeeded * stride) : undefined;
      for (const [index, batch] of evaluated.entries()) {
        const values = new Float32Array(read!, index * stride, stride / BYTES.f32);
        COLUMNS.forEach((name, i) => {
          sums[name] += values[i];
        });
        const [rows] = this.#confidence.layout.shape;
        const perToken = COLUMNS.length + rows * (FIGURES.length + 1);
        const labels = validTargets(tokenLabels(batch, this.shape[1]));
        const figures: TokenFigures = {
          ...tokenFigures(values.subarray(COLUMNS.length, perToken), rows),
          experts: this.#experts.add(values.subarray(perToken), labels),
        };
        if (this.answers) this.#countAnswers(batch, figures, answers);
        onFigures?.(batch, figures);
      }
    } finally {
      running = false;
      memory.destroy(results);
    }
    spoil(sums);
    const mean = (sum: number) => (tokens > 0 ? sum / tokens : undefined);
    const perplexity = (sum: number) => (tokens > 0 ? Math.exp(sum / tokens) : undefined);
    // Entries give no perplexity; the cache's summary has it from all logits.
    const topK = this.teacher?.topK;
    const cachedPerplexity = tokens > 0 ? topK?.teacherPerplexity : undefined;
    const teacherPerplexity = topK ? cachedPerplexity : perplexity(sums.teacherNll);
    return {
      step,
      tried: batches.length,
      succeeded,
      failed,
      firstError,
      tokens,
      path: this.path,
      bytesCopied,
      studentPerplexity: perplexity(sums.studentNll),
      ...(this.teacher && {
        teacherPerplexity,
        kl: mean(sums.kl),
        agreement: mean(sums.agreement),
      }),
      ...(topK && { klWords: topK.k }),
      // A cache's entries do not hold what these need.
      ...(this.teacher &&
        !topK && {
          ...Object.fromEntries(DIAGNOSES.map((name) => [name, mean(sums[name])])),
          accuracy: mean(sums.studentRight),
        }),
      ...(this.answers && { answers }),
      experts: this.#experts.uses(),
      milliseconds: performance.now() - started,
    };
  }

  destroy(): void {
    this.#program?.destroy();
    this.#documents?.destroy();
    for (const tensor of [this.#tokens, this.#labels, ...this.#kept])
      this.gpu.memory.destroy(bufferOf(tensor));
    for (const buffer of [this.#step, this.#scaler, this.#soft]) this.gpu.memory.destroy(buffer);
  }

  /** What is read back of a batch, in this order. */
  get #kept(): Tensor[] {
    const { kept } = this.#experts;
    return [this.#sums, this.#diagnoses, this.#figures, this.#confidence, ...kept];
  }

  /**
   * Enqueues a batch and copies what is kept of it to `results` from byte `offset` on. Returns the
   * number of labels that count.
   */
  async #enqueue(batch: Batch, results: GPUBuffer, offset: number): Promise<number> {
    const { device } = this.gpu;
    this.#recorder ??= this.#record();
    this.#program ??= this.#recorder.begin('evaluation');
    const program = await this.#program.ready;
    const labels = tokenLabels(batch, this.shape[1]);
    device.queue.writeBuffer(bufferOf(this.#tokens), 0, new Uint32Array(batch.inputs));
    device.queue.writeBuffer(bufferOf(this.#labels), 0, labels);
    this.#documents?.write(batch);
    const commands = new CommandBatch(this.gpu, 'evaluation');
    for (const sums of [this.#sums, this.#diagnoses]) commands.encoder.clearBuffer(bufferOf(sums));
    this.#experts.clear(commands.encoder);
    await this.teacher?.enqueue(batch, commands);
    commands.run(program);
    let at = offset;
    for (const kept of this.#kept) {
      const { bytes } = kept.place;
      commands.encoder.copyBufferToBuffer(bufferOf(kept), 0, results, at, bytes);
      at += bytes;
    }
    await commands.submit();
    return validTargets(labels);
  }

  /**
   * Adds a batch's answers. One is right if each of its tokens was the most likely one after the
   * right tokens before it, which is what a model without randomness would write.
   */
  #countAnswers(batch: Batch, figures: TokenFigures, answers: Answers): void {
    const [B, T] = this.shape;
    for (let row = 0; row < B; row++) {
      const tokens = batch.inputs.subarray(row * T, (row + 1) * T);
      // A missing row is all zeros, which are no answers: its targets are ignored.
      for (const [first, last] of answersIn(tokens, this.answers!)) {
        // The label at position t is row t − 1 of the figures.
        const start = row * (T - 1);
        const right = (column: Float32Array) =>
          column.subarray(start + first - 1, start + last).includes(0) ? 0 : 1;
        answers.tried++;
        answers.studentRight += right(figures.studentRight);
        answers.teacherRight += right(figures.teacherRight);
      }
    }
  }

  #record(): Recorder {
    const [, T] = this.shape;
    const recorder = new Recorder(this.gpu, this.pool);
    const documents = this.#documents?.tensors;
    const { hidden, routed } = this.student.forward(recorder, this.#tokens, { documents });
    this.#experts.record(recorder, routed, this.#labels);
    const V = this.student.architecture.vocabularySize;
    this.#bytesCopied = 0;
    let done = 0;
    for (const { whole, first, sequences, from, to } of this.#chunks(V)) {
      const rows: [number, number] = [first * T + from, whole ? sequences * T : to - from];
      const shape = [sequences, rows[1] / sequences, V];
      const sliced = (logits: Tensor): Tensor => {
        const shaped = { ...logits, layout: logits.layout.view(shape) };
        if (!whole) return shaped;
        const { tensor, bytesCopied } = sliceLogits(recorder, shaped, this.path);
        this.#bytesCopied += bytesCopied;
        return tensor;
      };
      const matrix = Layout.contiguous([rows[1], V]);
      const logits = recorder.tensor('evaluation logits', matrix, 'f32', 'logits');
      const layout = hidden.layout.narrow(0, ...rows);
      this.student.head(recorder, { ...hidden, layout }, logits);
      const student = sliced(logits);
      const teacher = this.teacher?.logits(recorder, ...rows);
      const labels = this.#labels.layout.narrow(0, first, sequences).narrow(1, from + 1, to - from);
      const targets = { ...this.#labels, layout: labels };
      const figures = Layout.contiguous([labels.numel, FIGURES.length]);
      const perToken = recorder.tensor('evaluation per token', figures, 'f32');
      const inputs = { student, targets, perToken, ignoreIndex: IGNORED_TARGET };
      if (teacher && 'entries' in teacher) this.#compareEntries(recorder, teacher, whole, inputs);
      else {
        const compared = { ...inputs, teacher: teacher ? sliced(teacher) : student };
        compare(recorder, compared);
        if (teacher) this.#diagnose(recorder, compared, done);
      }
      columnSum(recorder, perToken, this.#sums, 'evaluation sums');
      copy(recorder, perToken, rowsOf(this.#figures, done, labels.numel));
      done += labels.numel;
    }
    return recorder;
  }

  /** @param first of the batch's tokens, from 0 */
  #diagnose(recorder: Recorder, inputs: Parameters<typeof compare>[1], first: number): void {
    const figures = Layout.contiguous([inputs.targets.layout.numel, DIAGNOSES.length]);
    const perToken = recorder.tensor('diagnosis per token', figures, 'f32');
    diagnose(recorder, { ...inputs, perToken, step: this.#soft });
    columnSum(recorder, perToken, this.#diagnoses, 'diagnosis sums');
    const confidence = { ...perToken, layout: figures.narrow(1, CONFIDENCE, 1) };
    copy(recorder, confidence, rowsOf(this.#confidence, first, figures.shape[0]));
  }

  /** Whatever the loss path, a layout leaves out the entries of rows without a label. */
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
      entrySize({ V, k }),
    ]);
    const layout = shaped.narrow(1, 0, labels);
    const options = { step: this.#step, scaler: this.#scaler, gradient: false, evaluation: true };
    distilTopK(recorder, { ...inputs, ...options, entries: { ...entries, layout }, V, k });
  }

  /**
   * The path `strided` never makes more logits than a chunk holds; the other two slice those of the
   * whole batch, as the script does.
   */
  #chunks(V: number): RowChunk[] {
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

const rowsOf = (tensor: Tensor, first: number, count: number): Tensor => ({
  ...tensor,
  layout: tensor.layout.narrow(0, first, count),
});

/**
 * A model that predicts a NaN somewhere has no figures. Some of them come from what a comparison
 * finds, which a NaN never passes, and would look like measurements.
 */
function spoil(sums: Sums): void {
  for (const [of, names] of Object.entries(OF_MODELS) as [keyof Sums, (keyof Sums)[]][])
    if (Number.isNaN(sums[of])) for (const name of names) sums[name] = Number.NaN;
}

/** The columns of FIGURES, of so many tokens, and the confidence behind them. */
function tokenFigures(values: Float32Array, tokens: number): Omit<TokenFigures, 'experts'> {
  const column = (i: number) =>
    Float32Array.from({ length: tokens }, (_, token) => values[token * FIGURES.length + i]);
  return Object.fromEntries([
    ...FIGURES.map((name, i) => [name, column(i)]),
    ['confidence', values.slice(tokens * FIGURES.length)],
  ]) as Omit<TokenFigures, 'experts'>;
}
