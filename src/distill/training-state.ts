// Everything on the GPU that a training step reads and writes and that outlives it: weights,
// gradients, moments, the loss scaler, the batch.

import { alignedLossOf } from '../divergences';
import type { Gpu } from '../gpu/device';
import { bufferOf, persistentTensor, type Tensor } from '../gpu/program';
import { initialScaler, NORM_PARTIALS } from '../kernels/optimiser';
import { SCALER, STEP } from '../kernels/sources';
import type { LanguageModel } from '../model/family';
import { mergedParameter, trainedOf } from '../model/lora';
import { LowRank } from '../model/low-rank';
import { Arena, bothArenas, fill, planArena, type Weights } from '../model/parameters';
import { frozenArena } from '../model/rounded';
import { toHalf } from '../tensor/dtype';
import { Layout } from '../tensor/layout';
import { AlignmentBuffer } from './alignment-buffer';
import { BatchBuffer } from './batch-buffer';
import { RouterBias } from './router-bias';
import { ROUTER_SUMS } from './router-losses';
import { lossScalingOf, type TrainerSettings } from './settings';

/** What a run needs to continue from a step. */
export interface Snapshot {
  step: number;
  master: ArrayBuffer;
  mean: ArrayBuffer;
  square: ArrayBuffer;
  scaler: ArrayBuffer;
}

const ARRAYS = ['master', 'mean', 'square', 'scaler'] as const;

/** The state of two students: each array holds the first's, then the twin's. */
export function joinSnapshots(first: Snapshot, twin: Snapshot): Snapshot {
  const joined = { ...first };
  for (const name of ARRAYS) {
    const both = new Uint8Array(first[name].byteLength + twin[name].byteLength);
    both.set(new Uint8Array(first[name]));
    both.set(new Uint8Array(twin[name]), first[name].byteLength);
    joined[name] = both.buffer;
  }
  return joined;
}

/**
 * The inverse of `joinSnapshots`.
 * @param trained elements of the first student's arenas
 */
export function splitSnapshot(
  joined: Snapshot,
  trained: number,
): [first: Snapshot, twin: Snapshot] {
  const [first, twin] = [{ ...joined }, { ...joined }];
  for (const name of ARRAYS) {
    const end = name === 'scaler' ? SCALER.bytes : 4 * trained;
    first[name] = joined[name].slice(0, end);
    twin[name] = joined[name].slice(end);
  }
  return [first, twin];
}

export class TrainingState {
  /** What does not train, if anything: the whole model, if only its adapters do. */
  readonly frozen?: Arena;
  readonly #ownsFrozen: boolean = false;
  /** Master weights of what trains, f32. */
  readonly master: Arena;
  /** What the kernels read: the master weights themselves, or their f16 copy. */
  readonly weights: Arena;
  readonly gradients: Arena;
  /** First and second moments of AdamW. */
  readonly mean: Arena;
  readonly square: Arena;
  /** The student, which computes with `weights`. */
  readonly model: LanguageModel;
  readonly batch: BatchBuffer;
  /** For a loss that compares groups of tokens. */
  readonly alignment?: AlignmentBuffer;
  /** A uniform: struct Step. */
  readonly step: GPUBuffer;
  /** struct Scaler. */
  readonly scaler: GPUBuffer;
  readonly partials: GPUBuffer;
  /** (5) f32: sums of CE and KD over the step's tokens, and of its batches' router losses. */
  readonly sums: Tensor;
  /** (1) f32: 0. */
  readonly zero: Tensor;
  /** Where the routers' biases balance them. */
  readonly routerBias?: RouterBias;

  constructor(
    private readonly gpu: Gpu,
    readonly settings: TrainerSettings,
  ) {
    const { student, dtype, batchSize, contextLength, masked = false } = settings;
    const { memory, limits, device } = gpu;
    const { adapters, parameters } = student;
    const trained = new Set(trainedOf(student));
    const rest = parameters.filter((parameter) => !trained.has(parameter));
    if (rest.length > 0) {
      const { frozen, baseWeights = 'full' } = settings;
      const shared = adapters && frozen;
      const others = { ...student, parameters: rest };
      this.frozen = shared ?? frozenArena(gpu, others, dtype, baseWeights);
      this.#ownsFrozen = !shared;
    }
    const plan = planArena([...trained], limits.buffer);
    this.master = new Arena(gpu, plan, 'f32', 'weights', 'master weights');
    this.weights =
      dtype === 'f16' ? new Arena(gpu, plan, 'f16', 'weights', 'f16 weights') : this.master;
    this.gradients = new Arena(gpu, plan, 'f32', 'gradients', 'gradients');
    this.mean = new Arena(gpu, plan, 'f32', 'optimiser', 'first moments');
    this.square = new Arena(gpu, plan, 'f32', 'optimiser', 'second moments');
    this.model =
      adapters && this.frozen
        ? student.withWeights(this.frozen, new LowRank(adapters, this.weights))
        : student.withWeights(this.frozen ? bothArenas(this.weights, this.frozen) : this.weights);
    this.batch = new BatchBuffer(gpu, batchSize, contextLength, masked);
    if (alignedLossOf(settings.loss))
      this.alignment = new AlignmentBuffer(gpu, batchSize, contextLength);
    const { UNIFORM, COPY_DST } = GPUBufferUsage;
    this.step = memory.create('data', 'step', STEP.bytes, UNIFORM | COPY_DST);
    this.scaler = memory.create('optimiser', 'scaler', SCALER.bytes);
    this.partials = memory.create('optimiser', 'norm partials', NORM_PARTIALS * 8);
    const sums = Layout.contiguous([ROUTER_SUMS.first + ROUTER_SUMS.count]);
    this.sums = persistentTensor(gpu, 'metrics', 'sums', sums, 'f32');
    this.zero = persistentTensor(gpu, 'data', 'zero', Layout.contiguous([1]), 'f32');
    if (settings.routerBiasRate)
      this.routerBias = new RouterBias(gpu, student, settings.routerBiasRate);
    device.queue.writeBuffer(
      this.scaler,
      0,
      initialScaler(lossScalingOf(settings) === 'off' ? 1 : settings.initialLossScale),
    );
  }

  /** The arenas that a run continues from, each once. */
  get arenas(): Arena[] {
    return [...new Set([this.master, this.weights, this.mean, this.square])];
  }

  /** Writes the initial weights, with those of adapters; without any, they stay 0. */
  fill(weights: Weights | undefined): Promise<void> {
    const frozen = this.frozen && this.#ownsFrozen ? [this.frozen] : [];
    return fill(this.gpu, [...new Set([this.master, this.weights]), ...frozen], weights);
  }

  /** A parameter's values, f32: a frozen one's with what its adapters add. Waits for the GPU. */
  parameter(name: string): Promise<Float32Array> {
    const { frozen, master } = this;
    if (!frozen || master.has(name)) return master.readParameter(name);
    return mergedParameter(this.settings.student, name, (each) =>
      (master.has(each) ? master : frozen).readParameter(each),
    );
  }

  /** Copies the state to the CPU, as it is at the call if no array exceeds READ_AT_ONCE bytes. */
  async snapshot(step: number): Promise<Snapshot> {
    const [scaler, master, mean, square] = await Promise.all([
      this.gpu.read(this.scaler),
      ...[this.master, this.mean, this.square].map((arena) => arena.save()),
    ]);
    return { step, master, mean, square, scaler };
  }

  /** Restores a snapshot of the same student. @throws if it has other sizes */
  restore({ master, mean, square, scaler }: Snapshot): void {
    this.master.restore(master);
    this.mean.restore(mean);
    this.square.restore(square);
    this.gpu.device.queue.writeBuffer(this.scaler, 0, scaler);
    if (this.weights !== this.master)
      this.weights.restore(toHalf(new Float32Array(master)).buffer as ArrayBuffer);
  }

  destroy(): void {
    for (const arena of [...this.arenas, this.gradients]) arena.destroy();
    if (this.#ownsFrozen) this.frozen?.destroy();
    this.batch.destroy();
    this.alignment?.destroy();
    this.routerBias?.destroy();
    const buffers = [
      this.step,
      this.scaler,
      this.partials,
      bufferOf(this.sums),
      bufferOf(this.zero),
    ];
    for (const buffer of buffers) this.gpu.memory.destroy(buffer);
  }
}
