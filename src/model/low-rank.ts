// Low-rank adapters (LoRA), forward and backward, for all families. A linear layer's matrix W is
// frozen, and two small matrices beside it train, of rank r:
//
//   y = x · W + bias + scale · (x · Aᵀ) · Bᵀ      A (r, in), B (out, r), scale = alpha / r
//
// B starts at 0, so the first step is the frozen model's.

import type { Recorder, Tensor } from '../gpu/program';
import { matmul } from '../kernels/matmul';
import { transposed } from '../kernels/tensors';
import { Layout } from '../tensor/layout';
import type { Arena, Parameter } from './parameters';

/** What trains beside an architecture's frozen parameters. */
export interface Adapters {
  readonly rank: number;
  readonly alpha: number;
  /** The names that choose the layers, as PEFT's `target_modules`. */
  readonly targets: readonly string[];
  /** In arena order. The matrices A of layers that are one product lie side by side. */
  readonly parameters: readonly Parameter[];
}

/** The names of a linear layer's adapters, from its weight's. */
export const adapterNames = (weight: string): { A: string; B: string } => {
  const module = weight.replace(/\.weight$/, '');
  return { A: `${module}.lora_A.weight`, B: `${module}.lora_B.weight` };
};

/** A linear layer's matrix among those that are one product, and how many columns of y it makes. */
export interface Part {
  /** The weight's name. */
  name: string;
  columns: number;
}

const columnsOf = (t: Tensor, first: number, count: number): Tensor => ({
  ...t,
  layout: t.layout.narrow(1, first, count),
});

/** A model's adapters, as the families' passes use them. */
export class LowRank {
  constructor(
    private readonly adapters: Adapters,
    private readonly weights: Arena,
  ) {}

  /** The adapters of linear layers that are one product; undefined if none of them has any. */
  of(parts: readonly Part[]): AdaptedProduct | undefined {
    let first = 0;
    const placed = parts.map(({ name, columns }) => {
      first += columns;
      return { ...adapterNames(name), first: first - columns, columns };
    });
    const adapted = placed.filter(({ A }) => this.weights.has(A));
    return adapted.length > 0
      ? new AdaptedProduct(this.adapters, this.weights, adapted)
      : undefined;
  }
}

/** The adapters of one product, n of them. */
class AdaptedProduct {
  readonly #rank: number;
  readonly #scale: number;
  readonly #namesA: string[];

  constructor(
    { rank, alpha }: Adapters,
    private readonly weights: Arena,
    /** Where each layer's columns of y begin, and how many there are. */
    private readonly parts: readonly { A: string; B: string; first: number; columns: number }[],
  ) {
    this.#rank = rank;
    this.#scale = alpha / rank;
    this.#namesA = parts.map(({ A }) => A);
  }

  /** u (rows, n·r) = scale · x · Aᵀ */
  #down(recorder: Recorder, x: Tensor, label: string): Tensor {
    const A = this.weights.joined(this.#namesA);
    const layout = Layout.contiguous([x.layout.shape[0], A.layout.shape[0]]);
    const u = recorder.tensor(`${label} lora_A`, layout, x.dtype);
    matmul(recorder, x, transposed(A), u, { scale: this.#scale, label: `${label} lora_A` });
    return u;
  }

  /** The columns of u, or of its gradient, that are layer i's. */
  #own = (u: Tensor, i: number) => columnsOf(u, i * this.#rank, this.#rank);

  /**
   * y (rows, out) += scale · (x · Aᵀ) · Bᵀ, in the columns of each layer that has adapters.
   * @param geluOutput as in `matmul`; where the product is a single layer's
   */
  forward(
    recorder: Recorder,
    { x, y }: { x: Tensor; y: Tensor },
    { label, geluOutput }: { label: string; geluOutput?: Tensor },
  ): void {
    const u = this.#down(recorder, x, label);
    for (const [i, { B, first, columns }] of this.parts.entries()) {
      const [Bt, target] = [transposed(this.weights.tensor(B)), columnsOf(y, first, columns)];
      const options = { accumulate: true, geluOutput, label: `${label} lora_B` };
      matmul(recorder, this.#own(u, i), Bt, target, options);
    }
  }

  /**
   * Differentiates `forward`: adds to the gradients of A and B, and to dx (rows, in).
   * @param geluInput as in `matmul`
   */
  backward(
    recorder: Recorder,
    gradients: Arena,
    { x, dy, dx }: { x: Tensor; dy: Tensor; dx: Tensor },
    { label, geluInput }: { label: string; geluInput?: Tensor },
  ): void {
    // To compute u again costs less than to keep it.
    const u = this.#down(recorder, x, label);
    const dxA = recorder.tensor(`d ${label} lora_A`, u.layout, u.dtype);
    for (const [i, { B, first, columns }] of this.parts.entries()) {
      const up = columnsOf(dy, first, columns);
      // y += scale · (x · Aᵀ) · Bᵀ, by x · Aᵀ
      const options = { scale: this.#scale, label: `${label} lora_B dx` };
      matmul(recorder, up, this.weights.tensor(B), this.#own(dxA, i), options);
      // y += u · Bᵀ, by B
      const [dyT, dB] = [transposed(up), gradients.tensor(B)];
      const sum = { accumulate: true, label: `${label} lora_B dw` };
      matmul(recorder, dyT, this.#own(u, i), dB, sum);
    }
    const dA = gradients.joined(this.#namesA);
    const sum = { accumulate: true, label: `${label} lora_A dw` };
    matmul(recorder, transposed(dxA), x, dA, sum);
    const A = this.weights.joined(this.#namesA);
    const options = { accumulate: true, geluInput, label: `${label} lora_A dx` };
    matmul(recorder, dxA, A, dx, options);
  }
}
