// A layer's experts in place of its perceptron, forward and backward, as dispatches on a Recorder.
// A router chooses k of E experts for each row; the rows are sorted by expert, so that the products
// of all experts are one dispatch.
//
// rows = B·T, C width, F width of an expert.

import type { Recorder, Tensor } from '../../gpu/program';
import {
  type ExpertOrder,
  expertCombine,
  expertCombineBackward,
  expertGather,
  expertOrder,
  type Route,
  route,
  routeBackward,
} from '../../kernels/experts';
import { type ByExpert, matmul } from '../../kernels/matmul';
import { swiglu, swigluBackward } from '../../kernels/swiglu';
import { transposed } from '../../kernels/tensors';
import { Layout } from '../../tensor/layout';
import type { RoutedLayer, RouterGradient } from '../family';
import type { Arena, ParameterTensors } from '../parameters';
import { choiceBias, type Experts, expertParts, joinedNames, ROUTER } from './config';

/** What the backward pass reads of the forward pass. */
export interface RoutedRows {
  /** (rows, E) f32: the router's. */
  logits: Tensor;
  route: Route;
  order: ExpertOrder;
  /** (rows · k, C): the rows in the order of their experts; so are those below. */
  x: Tensor;
  /** (rows · k, 2·F): gate | up */
  wide: Tensor;
  /** (rows · k, F) */
  active: Tensor;
  /** (rows · k, C): what the experts make of them. */
  made: Tensor;
}

/** The matrices of an expert that are one product. */
const PARTS = { gate_up: ['gate', 'up'], down: ['down'] } as const;
type Which = keyof typeof PARTS;

/** The experts of one layer. */
export class ExpertsLayer {
  readonly #at: string;

  constructor(
    private readonly weights: ParameterTensors,
    private readonly config: Experts,
    private readonly layer: number,
  ) {
    this.#at = `layers.${layer}.mlp`;
  }

  /** Records all but the sum over a row's experts, which `combine` makes. x (rows, C) */
  forward(recorder: Recorder, x: Tensor): RoutedRows {
    const { num_experts: E, num_experts_per_tok: k, moe_intermediate_size: F } = this.config;
    const at = this.#at;
    const [rows, C] = x.layout.shape;
    const tensor = (name: string, shape: number[], dtype: Tensor['dtype'] = x.dtype) =>
      recorder.tensor(`${at}.${name}`, Layout.contiguous(shape), dtype);

    const logits = tensor('router logits', [rows, E], 'f32');
    matmul(recorder, x, transposed(this.#router(this.weights)), logits, { label: `${at}.gate` });
    const chosen: Route = {
      p: tensor('router p', [rows, E], 'f32'),
      chosen: tensor('chosen experts', [rows, k], 'u32'),
      weights: tensor('expert weights', [rows, k], 'f32'),
      normalised: this.config.norm_topk_prob,
      sigmoid: this.config.scoring_func === 'sigmoid',
      scale: this.config.routed_scaling_factor,
      bias: this.weights.find(choiceBias(this.layer)),
    };
    route(recorder, logits, chosen, `${at}.route`);
    const order: ExpertOrder = {
      starts: tensor('expert starts', [E + 1], 'u32'),
      order: tensor('expert order', [rows * k], 'u32'),
      places: tensor('expert places', [rows, k], 'u32'),
    };
    expertOrder(recorder, chosen.chosen, order, `${at}.order`);

    const sorted = tensor('experts.input', [rows * k, C]);
    expertGather(recorder, x, order, sorted, sorted.place.label);
    const wide = tensor('experts.gate_up', [rows * k, 2 * F]);
    this.#product(recorder, sorted, 'gate_up', wide, order);
    const active = tensor('experts.swiglu', [rows * k, F]);
    swiglu(recorder, wide, active, active.place.label);
    const made = tensor('experts.down', [rows * k, C]);
    this.#product(recorder, active, 'down', made, order);
    return { logits, route: chosen, order, x: sorted, wide, active, made };
  }

  /** What the router made of the rows. */
  routed({ logits, route: { p, chosen }, order: { starts } }: RoutedRows): RoutedLayer {
    return { layer: this.layer, logits, p, chosen, starts };
  }

  /** y (rows, C) = addend (rows, C) + the weighted sum of what a row's experts make of it. */
  combine(
    recorder: Recorder,
    { made, order, route: { weights } }: RoutedRows,
    y: Tensor,
    addend: Tensor,
  ): void {
    expertCombine(recorder, made, order, y, { weights, addend, label: `${this.#at}.combine` });
  }

  /**
   * Differentiates `forward` and `combine`, but for the addend: adds to all that `gradients` has.
   * @param io x (rows, C), what `forward` read; dy (rows, C); dx (rows, C), written
   * @param routerGradient adds to the gradient of the router's logits
   */
  backward(
    recorder: Recorder,
    gradients: Arena,
    rows: RoutedRows,
    { x, dy, dx }: { x: Tensor; dy: Tensor; dx: Tensor },
    routerGradient?: RouterGradient,
  ): void {
    const { route: chosen, order, x: sorted, wide, active, made } = rows;
    const at = this.#at;
    const like = (t: Tensor, name: string) => recorder.tensor(`d ${at}.${name}`, t.layout, t.dtype);
    // y = addend + Σ weight · made
    const dmade = like(made, 'experts.down');
    const dweights = like(chosen.weights, 'expert weights');
    const combined = { x: made, weights: chosen.weights };
    const label = `${at}.combine d`;
    expertCombineBackward(recorder, combined, order, { dy, dx: dmade, dweights }, label);
    // made = down(swiglu(gate | up))
    const dactive = like(active, 'experts.swiglu');
    this.#productBackward(recorder, gradients, 'down', order, {
      x: active,
      dy: dmade,
      dx: dactive,
    });
    const dwide = like(wide, 'experts.gate_up');
    swigluBackward(recorder, wide, { dy: dactive, dx: dwide }, `${at}.experts.swiglu d`);
    const dsorted = like(sorted, 'experts.input');
    this.#productBackward(recorder, gradients, 'gate_up', order, {
      x: sorted,
      dy: dwide,
      dx: dsorted,
    });
    expertCombine(recorder, dsorted, order, dx, { label: `${at}.experts.input d` });
    // weights = route(x · gateᵀ)
    const dlogits = like(chosen.p, 'router logits');
    routeBackward(recorder, chosen, { dweights, dlogits }, `${at}.route d`);
    routerGradient?.(recorder, this.routed(rows), dlogits);
    const sum = { accumulate: true, label: `${at}.gate dx` };
    matmul(recorder, dlogits, this.#router(this.weights), dx, sum);
    if (!gradients.has(this.#names(ROUTER)[0])) return;
    const dgate = this.#router(gradients);
    matmul(recorder, transposed(dlogits), x, dgate, { accumulate: true, label: `${at}.gate dw` });
  }

  #names = (...parts: string[]) => joinedNames(this.layer, parts, 'weight');
  #router = (arena: ParameterTensors): Tensor => arena.tensor(this.#names(ROUTER)[0]);

  /** The first expert's matrix (out, in), bound with all others'. */
  #matrix(arena: ParameterTensors, which: Which) {
    const E = this.config.num_experts;
    const all = arena.joined(this.#names(...expertParts(E, PARTS[which])));
    const [rows, columns] = all.layout.shape;
    const layout = all.layout.narrow(0, 0, rows / E);
    return { first: { ...all, layout }, stride: (rows / E) * columns };
  }

  /** y = x · wᵀ, by each row's expert */
  #product(recorder: Recorder, x: Tensor, which: Which, y: Tensor, { starts }: ExpertOrder): void {
    const w = this.#matrix(this.weights, which);
    const experts: ByExpert = { starts, stride: w.stride, sorted: 'rows' };
    matmul(recorder, x, transposed(w.first), y, { experts, label: y.place.label });
  }

  /** dx = dy · w and dw += dyᵀ · x, by each row's expert */
  #productBackward(
    recorder: Recorder,
    gradients: Arena,
    which: Which,
    { starts }: ExpertOrder,
    { x, dy, dx }: { x: Tensor; dy: Tensor; dx: Tensor },
  ): void {
    const label = `${this.#at}.experts.${which}`;
    const w = this.#matrix(this.weights, which);
    const experts: ByExpert = { starts, stride: w.stride, sorted: 'rows' };
    matmul(recorder, dy, w.first, dx, { experts, label: `${label} dx` });
    if (!gradients.has(this.#names(...expertParts(1, PARTS[which]))[0])) return;
    const dw = this.#matrix(gradients, which);
    const sums: ByExpert = { starts, stride: dw.stride, sorted: 'sums' };
    matmul(recorder, transposed(dy), x, dw.first, { experts: sums, label: `${label} dw` });
  }
}
