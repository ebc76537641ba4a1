// The trainer: replays the recorded step (step.ts) on a student and its optimiser. It knows no
// data, no schedule and no page; see run.ts.

import { alignedBatch } from '../data/aligned';
import type { Batch } from '../data/batches';
import { CommandBatch } from '../gpu/command-batch';
import type { Gpu } from '../gpu/device';
import { bufferOf, type NonFinite, type PendingProgram, type Pool, Recorder } from '../gpu/program';
import { updateSums } from '../kernels/optimiser';
import { SCALER, STEP } from '../kernels/sources';
import type { LanguageModel } from '../model/family';
import type { Arena, Weights } from '../model/parameters';
import { LayoutError } from '../tensor/layout';
import { tokenLabels, validTargets } from './loss-paths';
import { needsTeacher, teacherWeight, totalLoss } from './losses';
import { type PhaseToTime, type StepTimes, timeStep } from './profile/profile';
import type { StepRecord } from './records';
import { Ring } from './ring';
import { NO_ROUTER_WEIGHTS, ROUTER_SUMS } from './router-losses';
import { hasRouters } from './router-training';
import type { StepSettings, TrainerSettings } from './settings';
import { recordGradients, recordOptimiser } from './step';
import type { TokenBatch } from './teacher/batch-index';
import { requireTemperature } from './teacher/cached';
import type { TeacherSource } from './teacher/teacher';
import { type Snapshot, TrainingState } from './training-state';

const SUMS_BYTES = 4 * (ROUTER_SUMS.first + ROUTER_SUMS.count);

export class Trainer {
  readonly #state: TrainingState;
  readonly #ring: Ring;
  /** Undefined while a layout refuses the loss path. */
  #gradients?: PendingProgram;
  #optimiser?: PendingProgram;
  /** Dispatches of a batch and of the optimiser. */
  #recorded = { gradients: 0, optimiser: 0 };
  /** Measures the last step's update, in `count` partial sums. */
  #update?: { program: PendingProgram; count: number };
  #bytesCopied = 0;
  /** Our submissions in the last step; undefined until the dispatch times are known. */
  submissions?: number;

  private constructor(
    private readonly gpu: Gpu,
    private readonly pool: Pool,
    readonly settings: TrainerSettings,
    private readonly teacher: TeacherSource | undefined,
    private onRecord: (record: StepRecord) => void,
  ) {
    this.#state = new TrainingState(gpu, settings);
    this.#ring = new Ring(gpu, SUMS_BYTES + SCALER.bytes);
  }

  /**
   * Makes the training state. `prepare` comes next, unless the first step shall do it.
   * @param weights initial weights; without any they are 0
   * @param onRecord gets each step's record, in order, a few steps later
   */
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
      await trainer.#state.fill(weights);
    } catch (error) {
      trainer.destroy();
      throw error;
    }
    return trainer;
  }

  /**
   * Records the step and plans its memory at once. Resolves when its kernels are compiled, for
   * which the first step waits anyway.
   */
  prepare(): Promise<void> {
    this.#record();
    const programs = [this.#gradients, this.#optimiser, this.#update?.program].map((p) => p?.ready);
    const compiled = Promise.all(programs).then(() => undefined);
    // The first step reports a failure, too.
    compiled.catch(() => undefined);
    return compiled;
  }

  #record(): void {
    if (this.#optimiser) return;
    try {
      this.#gradients = this.#recordGradients();
    } catch (error) {
      // If a layout refuses the loss path, each step throws that error, so that the caller can go
      // on to the next, as a training script does.
      if (!(error instanceof LayoutError)) throw error;
    }
    const optimiser = new Recorder(this.gpu, this.pool);
    recordOptimiser(optimiser, this.#state);
    this.#recorded.optimiser = optimiser.length;
    this.#optimiser = optimiser.begin('optimiser');
    this.#update = this.#recordUpdate();
  }

  /** Master weights of what trains, f32. */
  get master(): Arena {
    return this.#state.master;
  }

  /** What does not train, if only adapters do: a second student of this start reads it, too. */
  get frozen(): Arena | undefined {
    return this.#state.frozen;
  }

  /** A parameter's or an adapter's values, f32; see `TrainingState.parameter`. */
  parameter(name: string): Promise<Float32Array> {
    return this.#state.parameter(name);
  }

  /** What the kernels read: the master weights themselves, or their f16 copy. */
  get weights(): Arena {
    return this.#state.weights;
  }

  /** Sums of the last step, times the loss scale. */
  get gradients(): Arena {
    return this.#state.gradients;
  }

  /** The student, which computes with `weights`. */
  get model(): LanguageModel {
    return this.#state.model;
  }

  /**
   * Our dispatches in a step of `accumulation` batches, without the teacher's, and without those
   * that a layout refused. 0 until the step is prepared.
   */
  dispatches(accumulation: number): number {
    return this.#recorded.gradients * accumulation + this.#recorded.optimiser;
  }

  /** Bytes that one batch's loss copies: slices of logits, and the gradient back. */
  get bytesCopied(): number {
    return this.#bytesCopied;
  }

  /**
   * One optimiser step over `batches`, whose gradients add up. Resolves when its commands are on
   * the queue; `onRecord` gets its record a few steps later.
   * @throws LayoutError on the path `view`, where PyTorch's view does; CacheError for a temperature
   * that the teacher's cache does not serve. Nothing has changed then.
   */
  async step(batches: Batch[], settings: StepSettings): Promise<void> {
    const { batch: buffer, gradients, sums, scaler, routerBias } = this.#state;
    requireTemperature(this.teacher, settings.temperature);
    const { gradients: batchGradients, optimiser } = await this.#programs();
    const labelled = batches.map((batch) => this.#labelled(batch));
    const tokens = labelled.reduce((sum, { targets }) => sum + validTargets(targets), 0);
    const taught = this.#taught(labelled);
    this.#writeSettings(settings, tokens, batches.length);
    const commands = new CommandBatch(this.gpu, `step ${settings.step}`);
    for (const [i, batch] of labelled.entries()) {
      // Commands that are not submitted yet read the previous batch.
      await commands.submit();
      buffer.write(batch);
      taught.write(i);
      if (i === 0) {
        gradients.clear(commands.encoder);
        commands.encoder.clearBuffer(bufferOf(sums));
        routerBias?.clear(commands.encoder);
      }
      await this.teacher?.enqueue(taught.batches[i], commands);
      commands.run(batchGradients);
    }
    commands.run(optimiser);
    // Taken only here, where nothing can throw any more: the ring would lose a buffer that is taken
    // and not sent.
    const staging = await this.#ring.take();
    commands.encoder.copyBufferToBuffer(bufferOf(sums), 0, staging, 0, SUMS_BYTES);
    commands.encoder.copyBufferToBuffer(scaler, 0, staging, SUMS_BYTES, SCALER.bytes);
    const submitted = commands.submit();
    // A step without a group that can be compared learns from the data alone.
    const compared = taught.groups === undefined ? tokens : Math.max(1, taught.groups);
    this.#ring.send(staging, (bytes) =>
      this.onRecord(
        this.#readRecord(bytes, { tokens, compared, batches: batches.length }, settings),
      ),
    );
    if (!commands.measured) this.submissions = commands.submissions;
    await submitted;
  }

  /** Waits until every step's record has been delivered. */
  drain(): Promise<void> {
    return this.#ring.drain();
  }

  /** Copies the training state to the CPU, as it is at the call if it is not large. */
  snapshot(step: number): Promise<Snapshot> {
    return this.#state.snapshot(step);
  }

  /** Restores a snapshot of the same student. @throws if it has other sizes */
  restore(snapshot: Snapshot): void {
    this.#state.restore(snapshot);
  }

  /**
   * ‖Δw‖ / ‖w‖ of the last step over the master weights: 0 if it was not applied, or nothing moved.
   * Waits for the GPU.
   */
  async updateRatio(): Promise<number> {
    this.#record();
    const { program: pending, count } = this.#update!;
    const program = await pending.ready;
    const encoder = this.gpu.device.createCommandEncoder({ label: 'update ratio' });
    program.encode(encoder);
    this.gpu.device.queue.submit([encoder.finish()]);
    const sums = new Float32Array(await this.gpu.read(this.#state.partials, 0, 8 * count));
    let [moved, size] = [0, 0];
    for (let i = 0; i < sums.length; i += 2) {
      moved += sums[i];
      size += sums[i + 1];
    }
    return size > 0 ? Math.sqrt(moved / size) : 0;
  }

  #recordUpdate() {
    const { master, mean, square, gradients, settings } = this.#state;
    const recorder = new Recorder(this.gpu, this.pool);
    const arenas = { master: master.places, mean: mean.places, square: square.places };
    const count = updateSums(recorder, arenas, this.#state, gradients.plan, settings.adam);
    return { program: recorder.begin('update ratio'), count };
  }

  /**
   * Times a step of `batches`, as a whole and dispatch by dispatch. It runs steps without records,
   * then restores the training state bit for bit.
   * @throws GpuError without timestamp-query; as `step` does; the reason of an aborted `signal`
   */
  async profile(
    batches: Batch[],
    settings: Omit<StepSettings, 'learningRate'>,
    signal?: AbortSignal,
  ): Promise<StepTimes> {
    return this.#unrecorded(batches, settings, async (step) => {
      // Warm-up, not timed: uploads the batch and the settings that the phases below reuse.
      await step();
      const { gradients, optimiser } = await this.#programs();
      return await timeStep(
        step,
        [
          ...(this.teacher
            ? [teacherPhase(this.gpu, this.teacher, this.#taught(batches).batches)]
            : []),
          {
            phase: 'student',
            runsPerStep: batches.length,
            wallClock: false,
            run: () => gradients.profile(),
          },
          {
            phase: 'optimiser',
            runsPerStep: 1,
            wallClock: false,
            run: () => optimiser.profile(),
          },
        ],
        signal,
      );
    });
  }

  /**
   * Runs a step of `batches` without a record, then restores the training state bit for bit. Some
   * drivers compile a kernel only when it first runs; the next step does not wait for that.
   */
  rehearse(batches: Batch[], settings: Omit<StepSettings, 'learningRate'>): Promise<void> {
    return this.#unrecorded(batches, settings, (step) => step());
  }

  /** Does `work` with steps that leave no record. Then the training state is as it was. */
  async #unrecorded<Result>(
    batches: Batch[],
    settings: Omit<StepSettings, 'learningRate'>,
    work: (step: () => Promise<void>) => Promise<Result>,
  ): Promise<Result> {
    await this.drain();
    const { arenas, scaler } = this.#state;
    const saved: ArrayBuffer[] = [];
    for (const arena of arenas) saved.push(await arena.save());
    const savedScaler = await this.gpu.read(scaler);
    const { onRecord } = this;
    this.onRecord = () => {};
    try {
      return await work(async () => {
        await this.step(batches, { ...settings, learningRate: 0 });
        await this.gpu.idle();
      });
    } finally {
      await this.drain();
      this.onRecord = onRecord;
      for (const [i, arena] of arenas.entries()) arena.restore(saved[i]);
      this.gpu.device.queue.writeBuffer(scaler, 0, savedScaler);
    }
  }

  /**
   * Walks through a step's forward and backward pass over `batches` to the first tensor that is not
   * finite. Slow: it waits for each dispatch. Then the training state is as it was, bit for bit.
   * @param lossScale that the step ran with
   */
  async firstNonFinite(
    batches: Batch[],
    settings: Omit<StepSettings, 'learningRate'>,
    lossScale: number,
  ): Promise<NonFinite | undefined> {
    await this.drain();
    const { batch: buffer, gradients, scaler } = this.#state;
    const { queue } = this.gpu.device;
    const { gradients: program } = await this.#programs();
    const saved = await this.gpu.read(scaler);
    queue.writeBuffer(scaler, 0, SCALER.write({ ...SCALER.read(saved), scale: lossScale }));
    try {
      const labelled = batches.map((batch) => this.#labelled(batch));
      const tokens = labelled.reduce((sum, { targets }) => sum + validTargets(targets), 0);
      this.#writeSettings({ ...settings, learningRate: 0 }, tokens, batches.length);
      const taught = this.#taught(labelled);
      for (const [i, batch] of labelled.entries()) {
        const commands = new CommandBatch(this.gpu, 'search for the first NaN');
        buffer.write(batch);
        taught.write(i);
        gradients.clear(commands.encoder);
        await this.teacher?.enqueue(taught.batches[i], commands);
        await commands.submit();
        const found = await program.firstNonFinite();
        if (found) return found;
      }
      return undefined;
    } finally {
      queue.writeBuffer(scaler, 0, saved);
    }
  }

  destroy(): void {
    for (const program of [this.#gradients, this.#optimiser, this.#update?.program])
      program?.destroy();
    this.#state.destroy();
    this.#ring.destroy();
  }

  #recordGradients(): PendingProgram {
    const recorder = new Recorder(this.gpu, this.pool);
    this.#bytesCopied = recordGradients(recorder, this.#state, this.teacher);
    this.#recorded.gradients = recorder.length;
    return recorder.begin('gradients');
  }

  /** The step's programs, once they are compiled. @throws LayoutError as `step` does */
  async #programs() {
    this.#record();
    this.#gradients ??= this.#recordGradients();
    const [gradients, optimiser] = await Promise.all([
      this.#gradients.ready,
      (this.#optimiser as PendingProgram).ready,
      this.#update?.program.ready,
    ]);
    return { gradients, optimiser };
  }

  /** The batch with the labels that the loss path takes. */
  #labelled(batch: Batch): Batch {
    const { lossPath = 'labels', contextLength } = this.settings;
    return lossPath === 'labels' ? batch : { ...batch, targets: tokenLabels(batch, contextLength) };
  }

  /** The step's batches as the teacher reads them, and how many groups a loss compares in them. */
  #taught(batches: Batch[]): {
    batches: TokenBatch[];
    groups?: number;
    write(index: number): void;
  } {
    const { alignment } = this.#state;
    if (!alignment) return { batches, write: () => {} };
    const aligned = batches.map((batch) => alignedBatch(batch));
    const groups = aligned.reduce((sum, batch) => sum + batch.groups, 0);
    return { batches: aligned, groups, write: (i) => alignment.write(aligned[i], groups) };
  }

  /** Writes the step's uniform. `tokens`: targets that count, over all batches of the step. */
  #writeSettings(
    { learningRate, temperature, alpha, routers = NO_ROUTER_WEIGHTS }: StepSettings,
    tokens: number,
    batches: number,
  ): void {
    const uniform = STEP.write({
      learning_rate: learningRate,
      temperature,
      alpha: teacherWeight(this.settings.loss.loss, alpha),
      inverse_tokens: tokens > 0 ? 1 / tokens : 0,
      router_balance: routers.balance / batches,
      router_z: routers.z / batches,
      router_kd: routers.kd / batches,
    });
    this.gpu.device.queue.writeBuffer(this.#state.step, 0, uniform);
  }

  #readRecord(
    bytes: ArrayBuffer,
    { tokens, compared, batches }: Record<'tokens' | 'compared' | 'batches', number>,
    { step, learningRate, temperature, alpha, routers = NO_ROUTER_WEIGHTS }: StepSettings,
  ): StepRecord {
    const [sumOfCe, sumOfKd, ...routerSums] = new Float32Array(bytes, 0, SUMS_BYTES / 4);
    const [balance, z, routerKd] = routerSums.map((sum) => sum / batches);
    const routed = hasRouters(this.settings.student);
    const scaler = SCALER.read(bytes, SUMS_BYTES);
    // Without a valid target, 0 / 0 is NaN: there is no loss.
    const ce = sumOfCe / tokens;
    const applied = scaler.apply === 1;
    // The sum of squares skips values that are not finite, so an overflown gradient has no norm.
    const gradNorm = applied || tokens === 0 ? scaler.norm : Number.NaN;
    const { loss } = this.settings.loss;
    const kd = needsTeacher(loss) ? sumOfKd / compared : Number.NaN;
    return {
      step,
      ce,
      kd,
      loss:
        totalLoss(loss, ce, kd, { alpha, temperature }) +
        (routed ? routers.balance * balance + routers.z * z + routers.kd * routerKd : 0),
      gradNorm,
      learningRate,
      lossScale: scaler.used_scale,
      applied,
      appliedTotal: scaler.applied,
      skippedTotal: scaler.skipped,
      tokens,
      ...(routed && { routerBalance: balance, routerZ: z }),
      ...(routed && this.teacher?.routers && { routerKd }),
    };
  }
}

/** The teacher's share of a step: its dispatches if they are ours, else one run by wall clock. */
function teacherPhase(gpu: Gpu, teacher: TeacherSource, batches: TokenBatch[]): PhaseToTime {
  const phase = { phase: 'teacher', runsPerStep: batches.length } as const;
  const { profile } = teacher;
  if (profile) return { ...phase, wallClock: false, run: profile };
  const run = async () => {
    const started = performance.now();
    const commands = new CommandBatch(gpu, 'teacher, timed');
    await teacher.enqueue(batches[0], commands);
    await commands.submit();
    await gpu.idle();
    const nanoseconds = (performance.now() - started) * 1e6;
    return [{ kernel: 'teacher', label: 'teacher', flops: 0, bytes: 0, nanoseconds }];
  };
  return { ...phase, wallClock: true, run };
}
