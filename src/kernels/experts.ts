// What a layer with experts needs beside its products: the router's choice of experts for each row,
// the rows sorted by expert, and the way back. Nothing is read back from the GPU: how many rows an
// expert gets stays in `starts`.
//
// rows = B·T, E experts, k of them for each row, C width. A choice is a row with one of its
// experts; there are rows · k.

import { bytesOf, type Recorder, type Tensor } from '../gpu/program';
import { kernel } from './sources';
import { elementGrid, ROW_THREADS, rowLanes, scalarOf } from './tensors';

/** A router's choice. */
export interface Route {
  /** (rows, E) f32: the softmax of the router's logits, or the sigmoid of each. */
  p: Tensor;
  /** (rows, k) u32 */
  chosen: Tensor;
  /** (rows, k) f32 */
  weights: Tensor;
  /** Whether a row's weights are divided by their sum. */
  normalised: boolean;
  /** Whether p is of sigmoids. */
  sigmoid?: boolean;
  /** The weights are multiplied by it; 1 by default. */
  scale?: number;
  /** (E), added to p where experts are chosen, and only there. */
  bias?: Tensor;
}

const constantsOf = ({ normalised, sigmoid = false }: Route) => ({
  NORMALISED: Number(normalised),
  SIGMOID: Number(sigmoid),
});

/** Chooses the k most probable experts of each row. logits (rows, E) f32 */
export function route(recorder: Recorder, logits: Tensor, to: Route, label?: string): void {
  const { p, chosen, weights, bias, scale = 1 } = to;
  const [rows, E] = logits.layout.shape;
  const [, k] = chosen.layout.shape;
  const constants = { ...constantsOf(to), BIASED: Number(!!bias), TAUGHT: 0 };
  recorder.dispatch(
    kernel(recorder.gpu, 'route', {
      constants,
      aliases: { bias_type: scalarOf(bias ?? p) },
    }),
    { logits, p, chosen, weights, ...(bias && { bias }) },
    { rows, E, k, scale },
    [Math.ceil(rows / 64)],
    { label, flops: rows * E * (5 + k) },
  );
}

/** dlogits (rows, E) f32 from dweights (rows, k) f32 */
export function routeBackward(
  recorder: Recorder,
  from: Route,
  { dweights, dlogits }: { dweights: Tensor; dlogits: Tensor },
  label?: string,
): void {
  const { p, chosen, weights, scale = 1 } = from;
  const [rows, E] = p.layout.shape;
  const [, k] = chosen.layout.shape;
  recorder.dispatch(
    kernel(recorder.gpu, 'route_backward', { constants: constantsOf(from) }),
    { p, chosen, weights, dweights, dlogits },
    { rows, E, k, scale },
    [Math.ceil(rows / 64)],
    { label, flops: rows * (E + 9 * k) },
  );
}

/** The choices sorted by expert; those of an expert keep their order. */
export interface ExpertOrder {
  /** (E + 1) u32: where each expert's choices begin, and where the last one's end. */
  starts: Tensor;
  /** (rows · k) u32: the choice at each place. */
  order: Tensor;
  /** (rows, k) u32: the place of each choice. */
  places: Tensor;
}

/** Sorts chosen (rows, k) u32. */
export function expertOrder(
  recorder: Recorder,
  chosen: Tensor,
  { starts, order, places }: ExpertOrder,
  label?: string,
): void {
  const E = starts.layout.numel - 1;
  const LANES = rowLanes(recorder.gpu);
  const k = kernel(recorder.gpu, 'expert_order', { constants: { LANES } });
  // One more than there are experts writes the last start.
  const grid = Math.ceil(((E + 1) * LANES) / ROW_THREADS);
  const params = { count: chosen.layout.numel, E };
  recorder.dispatch(k, { chosen, starts, order, places }, params, [grid], { label });
}

/** y (rows · k, C): the rows of x (rows, C) in the order of their experts. */
export function expertGather(
  recorder: Recorder,
  x: Tensor,
  { order }: ExpertOrder,
  y: Tensor,
  label?: string,
): void {
  const [rows, C] = x.layout.shape;
  const [choices] = y.layout.shape;
  recorder.dispatch(
    kernel(recorder.gpu, 'expert_gather', { aliases: { scalar: scalarOf(x) } }),
    { x, order, y },
    { count: choices * C, C, k: choices / rows },
    elementGrid(recorder.gpu, choices * C),
    { label },
  );
}

/**
 * y (rows, C) = Σ over a row's choices of [weights ·] x [+ addend]. x (rows · k, C) is sorted by
 * expert. Without weights it differentiates `expertGather`.
 */
export function expertCombine(
  recorder: Recorder,
  x: Tensor,
  { places }: ExpertOrder,
  y: Tensor,
  { weights, addend, label }: { weights?: Tensor; addend?: Tensor; label?: string } = {},
): void {
  const [rows, C] = y.layout.shape;
  const [choices] = x.layout.shape;
  const k = kernel(recorder.gpu, 'expert_combine', {
    aliases: { scalar: scalarOf(x) },
    constants: { WEIGHTED: Number(!!weights), ADDEND: Number(!!addend) },
  });
  recorder.dispatch(
    k,
    { x, places, y, ...(weights && { weights }), ...(addend && { addend }) },
    { count: rows * C, C, k: choices / rows },
    elementGrid(recorder.gpu, rows * C),
    { label, flops: 2 * choices * C },
  );
}

/** Differentiates `expertCombine` with weights: dx (rows · k, C), dweights (rows, k) f32. */
export function expertCombineBackward(
  recorder: Recorder,
  { x, weights }: { x: Tensor; weights: Tensor },
  { places }: ExpertOrder,
  { dy, dx, dweights }: { dy: Tensor; dx: Tensor; dweights: Tensor },
  label?: string,
): void {
  const [count, C] = x.layout.shape;
  const [rows] = dy.layout.shape;
  const LANES = rowLanes(recorder.gpu);
  const k = kernel(recorder.gpu, 'expert_combine_backward', {
    aliases: { scalar: scalarOf(x) },
    constants: { LANES },
  });
  recorder.dispatch(
    k,
    { x, places, weights, dy, dx, dweights },
    { count, C, k: count / rows },
    [Math.ceil((count * LANES) / ROW_THREADS)],
    { label, flops: 3 * count * C, bytes: bytesOf(x, dx, weights, places, dweights, dy) },
  );
}

/**
 * How a layer's experts are used: uses (rows, E + 1) f32 has for each row 1 for an expert that it
 * chose, else 0, and the entropy of its probabilities in nats; 0 for all where the label that
 * follows it is ignored or in another sequence. first (rows) u32 has each row's first choice.
 * @param labels (B, T) i32
 */
export function expertUse(
  recorder: Recorder,
  { p, chosen }: Pick<Route, 'p' | 'chosen'>,
  labels: Tensor,
  { uses, first }: { uses: Tensor; first: Tensor },
  { ignoreIndex, label }: { ignoreIndex: number; label?: string },
): void {
  const [rows, E] = p.layout.shape;
  const [, k] = chosen.layout.shape;
  const [, T] = labels.layout.shape;
  recorder.dispatch(
    kernel(recorder.gpu, 'expert_use'),
    { p, chosen, labels, uses, first },
    { rows, T, E, k, ignore: ignoreIndex },
    [Math.ceil(rows / 64)],
    { label, flops: 3 * rows * E },
  );
}
