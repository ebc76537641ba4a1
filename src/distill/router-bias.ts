// The bias by which a student's routers choose among experts, where it balances them: the choices
// of a step are counted by expert, and after it each bias moves towards those with too few.

import type { Gpu } from '../gpu/device';
import { bufferOf, persistentTensor, type Recorder, type Tensor } from '../gpu/program';
import { expertLoads, moveRouterBias } from '../kernels/router_bias';
import type { Architecture, RoutedLayer } from '../model/family';
import type { Arena } from '../model/parameters';
import { Layout } from '../tensor/layout';

export class RouterBias {
  /** loads (E) u32: the rows that each expert got in this step. */
  readonly #layers: { name: string; layer: number; loads: Tensor }[];

  constructor(
    private readonly gpu: Gpu,
    student: Pick<Architecture, 'parameters'>,
    private readonly rate: number,
  ) {
    this.#layers = student.parameters.flatMap(({ name, role, layer, shape }) => {
      if (role !== 'router_bias' || layer === undefined) return [];
      const label = `expert loads ${layer}`;
      const loads = persistentTensor(gpu, 'optimiser', label, Layout.contiguous(shape), 'u32');
      return [{ name, layer, loads }];
    });
  }

  /** Before a step. */
  clear(encoder: GPUCommandEncoder): void {
    for (const { loads } of this.#layers) encoder.clearBuffer(bufferOf(loads));
  }

  /** Records the count of what a batch's forward pass chose. */
  count(recorder: Recorder, routed: readonly RoutedLayer[] = []): void {
    for (const { layer, loads } of this.#layers) {
      const made = routed.find((one) => one.layer === layer);
      if (made) expertLoads(recorder, made, loads, `layers.${layer}.expert loads`);
    }
  }

  /** Records what follows a step. @param copy the weights that the model computes with */
  move(recorder: Recorder, scaler: GPUBuffer, master: Arena, copy?: Arena): void {
    for (const { name, loads } of this.#layers) {
      const places = { bias: master.tensor(name), weights: copy?.tensor(name) };
      moveRouterBias(recorder, loads, places, scaler, { rate: this.rate, label: name });
    }
  }

  destroy(): void {
    for (const { loads } of this.#layers) this.gpu.memory.destroy(bufferOf(loads));
  }
}
