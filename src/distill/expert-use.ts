// What an evaluation measures of a student’s experts: how a layer’s tokens are shared among them,
// how sure its router is, and which expert each token goes to. The sums are made on the GPU.

import { IGNORED_TARGET } from '../data/targets';
import type { Gpu } from '../gpu/device';
import { bufferOf, persistentTensor, type Recorder, type Tensor } from '../gpu/program';
import { columnSum } from '../kernels/column_sum';
import { expertUse } from '../kernels/experts';
import type { Architecture, RoutedLayer } from '../model/family';
import { Layout } from '../tensor/layout';
import type { ExpertUse } from './records';

/**
 * The layers that choose among experts, and among how many: one row of a router's matrix is one
 * expert's. A single expert is no choice, and has no entropy over ln 1.
 */
export const expertLayers = ({ parameters }: Pick<Architecture, 'parameters'>) =>
  parameters.flatMap(({ role, layer, shape: [experts] }) =>
    role === 'router' && layer !== undefined && experts > 1 ? [{ layer, experts }] : [],
  );

/** The expert that each token of a batch (B, T) goes to first, in one layer. */
export interface FirstExperts {
  layer: number;
  experts: number;
  chosen: Uint32Array;
}

interface Layer {
  layer: number;
  experts: number;
  /** (E + 1) f32: a batch's choices by expert, and the sum of its tokens' entropies. */
  sums: Tensor;
  /** (B·T) u32 */
  first: Tensor;
}

export class ExpertMeter {
  readonly #layers: Layer[];
  #totals: Float64Array[];
  #tokens = 0;

  /** @param shape B and T of a batch */
  constructor(gpu: Gpu, student: Architecture, [B, T]: [number, number]) {
    const make = (label: string, shape: number[], dtype: 'f32' | 'u32') =>
      persistentTensor(gpu, 'metrics', label, Layout.contiguous(shape), dtype);
    this.#layers = expertLayers(student).map(({ layer, experts }) => ({
      layer,
      experts,
      sums: make(`expert sums ${layer}`, [experts + 1], 'f32'),
      first: make(`first experts ${layer}`, [B * T], 'u32'),
    }));
    this.#totals = this.#noTotals();
  }

  /** What is read back of a batch, in the order in which `add` takes it; 4 bytes an element. */
  get kept(): Tensor[] {
    return this.#layers.flatMap(({ sums, first }) => [sums, first]);
  }

  /** Records what is measured of a forward pass. labels (B, T) i32 */
  record(recorder: Recorder, routed: readonly RoutedLayer[] = [], labels: Tensor): void {
    for (const { layer, experts, sums, first } of this.#layers) {
      const made = routed.find((one) => one.layer === layer);
      if (!made) throw new Error(`The forward pass says nothing of the experts of layer ${layer}.`);
      const [rows] = made.p.layout.shape;
      const label = `layer ${layer}, use of experts`;
      const uses = recorder.tensor(label, Layout.contiguous([rows, experts + 1]), 'f32');
      const options = { ignoreIndex: IGNORED_TARGET, label };
      expertUse(recorder, made, labels, { uses, first }, options);
      columnSum(recorder, uses, sums, label);
    }
  }

  /** Before each batch. */
  clear(encoder: GPUCommandEncoder): void {
    for (const { sums } of this.#layers) encoder.clearBuffer(bufferOf(sums));
  }

  /** Before each evaluation. */
  begin(): void {
    this.#totals = this.#noTotals();
    this.#tokens = 0;
  }

  /**
   * Adds a batch.
   * @param values what was read of `kept`
   * @param tokens its labels that count
   */
  add(values: Float32Array, tokens: number): FirstExperts[] {
    this.#tokens += tokens;
    let at = 0;
    return this.#layers.map(({ layer, experts, sums, first }, i) => {
      const total = this.#totals[i];
      for (let j = 0; j < total.length; j++) total[j] += values[at + j];
      at += sums.layout.numel;
      const { numel } = first.layout;
      const chosen = new Uint32Array(values.buffer, values.byteOffset + 4 * at, numel).slice();
      at += numel;
      return { layer, experts, chosen };
    });
  }

  /** Of all batches since `begin`; undefined without experts, or without a token. */
  uses(): ExpertUse[] | undefined {
    if (this.#layers.length === 0 || this.#tokens === 0) return undefined;
    return this.#layers.map(({ layer, experts }, i) => {
      const choices = this.#totals[i].subarray(0, experts);
      const all = choices.reduce((a, b) => a + b, 0);
      return {
        layer,
        chosen: Math.round(all / this.#tokens),
        load: Array.from(choices, (count) => count / all),
        entropy: this.#totals[i][experts] / this.#tokens,
      };
    });
  }

  #noTotals = () => this.#layers.map(({ experts }) => new Float64Array(experts + 1));
}
