// The trainer: a student, its optimiser and the recorded step. It knows no data, no schedule and no
// page; see run.ts.

import type { Config } from '../config';
import type { Batch } from '../data/batches';
import { CommandBatch } from '../gpu/command-batch';
import type { Gpu } from '../gpu/device';
import type { Pool, Program } from '../gpu/program';
import { Recorder } from '../gpu/program';
import { type AdamW, NORM_PARTIALS, optimiserStep, SCALER_BYTES } from '../kernels/optimiser';
import type { Architecture, LanguageModel } from '../model/family';
import { Arena, fill, planArena, type Weights } from '../model/parameters';
import { toHalf } from '../tensor/dtype';
import { LayoutError } from '../tensor/layout';
import { BatchBuffer } from './batch-buffer';
import { tokenLabels, validTargets } from './loss-paths';
import { type LossSettings, needsTeacher, teacherWeight, totalLoss } from './losses';
import { type PartToTime, type StepTimes, timeStep } from './profile/profile';
import type { StepRecord } from './records';
import { Ring } from './ring';
import { recordHeadLoss } from './step';
import { requireTemperature } from './teacher/cached';
import type { TeacherSource } from './teacher/teacher';

export interface TrainerSettings {
  student: Architecture;
  /** Storage and matrix products; sums, losses and master weights are f32 in either case. */
  dtype: 'f16' | 'f32';
  /** B and T. */
  batchSize: number;
  contextLength: number;
  loss: LossSettings;
  adam: Omit<AdamW, 'dynamicScale'>;
  /** Of the dynamic loss scaler; used in f16 only. */
  initialLossScale: number;
  /** Compute a block's activations again in the backward pass, in place of keeping them. */
  recompute?: boolean;
  /** Logits that the head makes at a time, in elements; a chunk is as many whole rows as fit. */
  chunkElements?: number;
  /**
   * How logits and labels come to match. Labels are shifted when the batch is made, unless a path
   * that slices the logits is named.
   */
  lossPath?: Config['train_loss_path'];
  /** Faults that the Bug Lab reproduces. */
  faults?: Faults;
}

export interface Faults {
  /** A loss scale that never adapts, as where `scaler.update()` was forgotten; in f32 too. */
  fixedLossScale?: number;
  /** The loss is computed, and no gradient comes from it. */
  detached?: boolean;
}

/** What changes from step to step. */
export interface StepSettings {
  step: number;
  learningRate: number;
  temperature: number;
  alpha: number;
}

/** Everything that training needs to go on from here. */
export interface Snapshot {
  step: number;
  master: ArrayBuffer;
  mean: ArrayBuffer;
  square: ArrayBuffer;
  scaler: ArrayBuffer;
}

const SUMS_BYTES = 8;

export class Trainer {
  /** Master weights, f32. */
  readonly master: Arena;
  /** What the kernels read: the master weights themselves, or their f16 copy. */
  readonly weights: Arena;
  readonly gradients: Arena;
  /** The student, which computes with `weights`. */
  readonly model: LanguageModel;
  readonly #mean: Arena;
  readonly #square: Arena;
  readonly #buffers: Record<'step' | 'scaler' | 'partials' | 'zero' | 'sums', GPUBuffer>;
  readonly #batch: BatchBuffer;
  readonly #ring: Ring;
  #micro?: Program;
  #update!: Program;
  #bytesCopied = 0;
  /** Of the last step, our own; undefined until their length is measured. */
  submissions?: number;

  private constructor(
    private readonly gpu: Gpu,
    private readonly pool: Pool,
    readonly settings: TrainerSettings,
    private readonly teacher: TeacherSource | undefined,
    private onRecord: (record: StepRecord) => void,
  ) {
    const plan = planArena(settings.student.parameters, gpu.limits.buffer);
    this.master = new Arena(gpu, plan, 'f32', 'weights', 'master weights');
    this.weights =
      settings.dtype === 'f16'
        ? new Arena(gpu, plan, 'f16', 'weights', 'f16 weights')
        : this.master;
    this.model = settings.student.withWeights(this.weights);
    this.gradients = new Arena(gpu, plan, 'f32', 'gradients', 'gradients');
    this.#mean = new Arena(gpu, plan, 'f32', 'optimiser', 'first moments');
    this.#square = new Arena(gpu, plan, 'f32', 'optimiser', 'second moments');
    const { memory } = gpu;
    this.#buffers = {
      step: memory.create('data', 'step', 16, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST),
      scaler: memory.create('optimiser', 'scaler', SCALER_BYTES),
      partials: memory.create('optimiser', 'norm partials', NORM_PARTIALS * 8),
      zero: memory.create('data', 'zero', 4),
      sums: memory.create('metrics', 'sums', SUMS_BYTES),
    };
    this.#batch = new BatchBuffer(gpu, settings.batchSize, settings.contextLength);
    this.#ring = new Ring(gpu, SUMS_BYTES + SCALER_BYTES);
  }

  /** Records the step and compiles its kernels. */
  static async create(
    gpu: Gpu,
    pool: Pool,
    settings: TrainerSettings,
    weights: Weights | undefined,
    teacher: TeacherSource | undefined,
    onRecord: (record: StepRecord) => void,
  ): Promise<Trainer> {
    const trainer = new Trainer(gpu, pool, settings, teacher, onRecord);
    try {
      await fill(gpu, [...new Set([trainer.master, trainer.weights])], weights);
      gpu.device.queue.writeBuffer(trainer.#buffers.scaler, 0, initialScaler(settings));
      // What a layout refuses is for each step to say, so that whoever drives them may go on, as a
      // script does.
      const micro = trainer.#recordMicro().catch((error) => {
        if (error instanceof LayoutError) return undefined;
        throw error;
      });
      [trainer.#micro, trainer.#update] = await Promise.all([micro, trainer.#recordUpdate()]);
    } catch (error) {
      trainer.destroy();
      throw error;
    }
    return trainer;
  }

  /**
   * Our dispatches in one step of `accumulation` batches, the teacher's apart. Without those that a
   * layout refused.
   */
  dispatches(accumulation: number): number {
    return (this.#micro?.length ?? 0) * accumulation + this.#update.length;
  }

  /** Bytes that one batch's loss copies: slices of logits into place, and the gradient back. */
  get bytesCopied(): number {
    return this.#bytesCopied;
  }

  /**
   * One optimiser step over `batches`, whose gradients add up. Settles when the work is on the
   * queue; its record reaches `onRecord` a few steps later, in order.
   * @throws LayoutError on the path `view`, where PyTorch's view does, CacheError for a temperature
   * that the teacher's cache does not serve; nothing has changed then
   */
  async step(batches: Batch[], settings: StepSettings): Promise<void> {
    const { device } = this.gpu;
    this.#micro ??= await this.#recordMicro();
    const labelled = batches.map((batch) => this.#labelled(batch));
    const tokens = labelled.reduce((sum, { targets }) => sum + validTargets(targets), 0);
    const { learningRate, temperature, alpha } = settings;
    requireTemperature(this.teacher, temperature);
    const weight = teacherWeight(this.settings.loss.loss, alpha);
    const uniform = new Float32Array([
      learningRate,
      temperature,
      weight,
      tokens > 0 ? 1 / tokens : 0,
    ]);
    device.queue.writeBuffer(this.#buffers.step, 0, uniform);
    const commands = new CommandBatch(this.gpu, `step ${settings.step}`);
    for (const [i, batch] of labelled.entries()) {
      // The batch before is read until here.
      await commands.submit();
      this.#batch.write(batch);
      if (i === 0) {
        this.gradients.clear(commands.encoder);
        commands.encoder.clearBuffer(this.#buffers.sums);
      }
      await this.teacher?.enqueue(batch, commands);
      commands.run(this.#micro);
    }
    commands.run(this.#update);
    // Taken only here, where nothing is refused any more: a buffer that is not sent would be lost
    // to the ring.
    const staging = await this.#ring.take();
    commands.encoder.copyBufferToBuffer(this.#buffers.sums, 0, staging, 0, SUMS_BYTES);
    commands.encoder.copyBufferToBuffer(this.#buffers.scaler, 0, staging, SUMS_BYTES, SCALER_BYTES);
    const submitted = commands.submit();
    this.#ring.send(staging, (bytes) => this.onRecord(this.#record(bytes, tokens, settings)));
    if (!commands.measured) this.submissions = commands.submissions;
    await submitted;
  }

  /** Waits until every step's record has been delivered. */
  drain(): Promise<void> {
    return this.#ring.drain();
  }

  /** Copies all state to the CPU. Waits for the GPU. */
  async snapshot(step: number): Promise<Snapshot> {
    const [scaler, master, mean, square] = await Promise.all([
      this.gpu.read(this.#buffers.scaler),
      ...[this.master, this.#mean, this.#square].map((arena) => arena.save()),
    ]);
    return { step, master, mean, square, scaler };
  }

  /** Puts a snapshot of the same student back. @throws if its sizes are another student's. */
  restore({ master, mean, square, scaler }: Snapshot): void {
    this.master.restore(master);
    this.#mean.restore(mean);
    this.#square.restore(square);
    this.gpu.device.queue.writeBuffer(this.#buffers.scaler, 0, scaler);
    if (this.weights !== this.master)
      this.weights.restore(toHalf(new Float32Array(master)).buffer as ArrayBuffer);
  }

  /**
   * Times a step of `batches`, as a whole and dispatch by dispatch. It takes steps to do so, whose
   * records reach nobody, and puts back all that a run goes on from, bit for bit.
   * @throws GpuError without timestamp-query; as `step` does; what aborts `signal`
   */
  async profile(
    batches: Batch[],
    settings: Omit<StepSettings, 'learningRate'>,
    signal?: AbortSignal,
  ): Promise<StepTimes> {
    await this.drain();
    const arenas = [...new Set([this.master, this.weights, this.#mean, this.#square])];
    const kept: ArrayBuffer[] = [];
    for (const arena of arenas) kept.push(await arena.save());
    const scaler = await this.gpu.read(this.#buffers.scaler);
    const { onRecord } = this;
    this.onRecord = () => {};
    try {
      const step = async () => {
        await this.step(batches, { ...settings, learningRate: 0 });
        await this.gpu.idle();
      };
      // Not counted. It leaves its batch and its settings for the parts, and has recorded what was
      // not.
      await step();
      const micro = this.#micro as Program;
      return await timeStep(
        step,
        [
          ...(this.teacher ? [teacherPart(this.gpu, this.teacher, batches)] : []),
          { part: 'student', times: batches.length, clocked: false, run: () => micro.profile() },
          { part: 'optimiser', times: 1, clocked: false, run: () => this.#update.profile() },
        ],
        signal,
      );
    } finally {
      await this.drain();
      this.onRecord = onRecord;
      for (const [i, arena] of arenas.entries()) arena.restore(kept[i]);
      this.gpu.device.queue.writeBuffer(this.#buffers.scaler, 0, scaler);
    }
  }

  destroy(): void {
    for (const program of [this.#micro, this.#update]) program?.destroy();
    for (const arena of new Set([
      this.master,
      this.weights,
      this.gradients,
      this.#mean,
      this.#square,
    ]))
      arena.destroy();
    for (const buffer of Object.values(this.#buffers)) this.gpu.memory.destroy(buffer);
    this.#batch.destroy();
    this.#ring.destroy();
  }

  /** The batch with the labels that the loss path takes. */
  #labelled(batch: Batch): Batch {
    const { lossPath = 'labels', contextLength } = this.settings;
    return lossPath === 'labels' ? batch : { ...batch, targets: tokenLabels(batch, contextLength) };
  }

  /** Forward, head and loss, backward: gradients and sums are added to. */
  async #recordMicro(): Promise<Program> {
    const { recompute, faults } = this.settings;
    const { tokens, targets, order } = this.#batch;
    const recorder = new Recorder(this.gpu, this.pool);
    const activations = this.model.forward(recorder, tokens, recompute);
    const { hidden } = activations;
    const dhidden = recorder.tensor('d hidden', hidden.layout, hidden.dtype);
    const { settings, model, gradients, teacher } = this;
    const parts = { settings, model, gradients, teacher, buffers: this.#buffers };
    this.#bytesCopied = recordHeadLoss(recorder, parts, { hidden, targets, dhidden });
    if (!faults?.detached) model.backward(recorder, gradients, activations, dhidden, order);
    return recorder.build('gradients');
  }

  #recordUpdate(): Promise<Program> {
    const recorder = new Recorder(this.gpu, this.pool);
    const { plan } = this.gradients;
    const arenas = {
      gradients: this.gradients.places,
      master: this.master.places,
      mean: this.#mean.places,
      square: this.#square.places,
      halves: this.weights === this.master ? undefined : this.weights.places,
    };
    const { adam: chosen, dtype, faults } = this.settings;
    const adam = {
      ...chosen,
      dynamicScale: dtype === 'f16' && faults?.fixedLossScale === undefined,
    };
    optimiserStep(recorder, arenas, this.#buffers, plan, adam);
    return recorder.build('optimiser');
  }

  #record(
    bytes: ArrayBuffer,
    tokens: number,
    { step, learningRate, temperature, alpha }: StepSettings,
  ): StepRecord {
    const floats = new Float32Array(bytes);
    const words = new Uint32Array(bytes);
    const at = SUMS_BYTES / 4;
    // 0 / 0 is NaN: without a valid target there is no loss.
    const ce = floats[0] / tokens;
    const applied = words[at + 4] === 1;
    // The sum of squares leaves out what is not finite, so a gradient that overflowed has no norm.
    const gradNorm = applied || tokens === 0 ? floats[at + 8] : Number.NaN;
    const { loss } = this.settings.loss;
    const kd = needsTeacher(loss) ? floats[1] / tokens : Number.NaN;
    return {
      step,
      ce,
      kd,
      loss: totalLoss(loss, ce, kd, { alpha, temperature }),
      gradNorm,
      learningRate,
      lossScale: floats[at + 9],
      applied,
      appliedTotal: words[at + 2],
      skippedTotal: words[at + 3],
      tokens,
    };
  }
}

/**
 * What the teacher adds to a step: its dispatches where they are ours, else its run by the clock.
 */
function teacherPart(gpu: Gpu, teacher: TeacherSource, batches: Batch[]): PartToTime {
  const part = { part: 'teacher', times: batches.length } as const;
  const { profile } = teacher;
  if (profile) return { ...part, clocked: false, run: profile };
  const run = async () => {
    const started = performance.now();
    const commands = new CommandBatch(gpu, 'teacher by the clock');
    await teacher.enqueue(batches[0], commands);
    await commands.submit();
    await gpu.idle();
    const nanoseconds = (performance.now() - started) * 1e6;
    return [{ kernel: 'teacher', label: 'teacher', flops: 0, bytes: 0, nanoseconds }];
  };
  return { ...part, clocked: true, run };
}

/** See struct Scaler in lossScaler.wgsl. */
function initialScaler({
  dtype,
  initialLossScale,
  faults,
}: TrainerSettings): Float32Array<ArrayBuffer> {
  const state = new Float32Array(SCALER_BYTES / 4);
  state[0] = faults?.fixedLossScale ?? (dtype === 'f16' ? initialLossScale : 1);
  state[6] = 1;
  state[7] = 1;
  return state;
}
