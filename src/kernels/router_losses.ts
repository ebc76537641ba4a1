// The losses of routers: load balancing, z-loss and the divergence from a teacher's routers, over
// the rows of all layers with experts.
//
// rows = B·T, E experts, k of them for each row, M rows in all layers.

import type { Placement, Recorder, Tensor } from '../gpu/program';
import { Layout } from '../tensor/layout';
import { columnSum } from './column_sum';
import { copy } from './copy';
import { kernel } from './sources';

/** What a layer's router made of the rows. */
export interface RoutedRows {
  /** (rows, E) f32 */
  logits: Tensor;
  /** (rows, k) u32 */
  chosen: Tensor;
  /** (rows, E) f32: the logits of the teacher's router. */
  teacher?: Tensor;
}

const taughtBy = (teacher?: Tensor) => ({ constants: { TAUGHT: Number(!!teacher) } });

/** What the gradient needs of the forward pass. */
export interface RouterStatistics {
  /** (2·E + 2) f32: sums over the rows of all layers. See router_terms.wgsl. */
  sums: Tensor;
  /** M */
  rows: number;
}

/**
 * Records the losses of one forward pass.
 * @param layers with the same sizes
 * @param io.sums (first + 3) f32: balance, z-loss and divergence are added from `first` on
 * @param io.zero (1) f32: 0
 */
export function routerLosses(
  recorder: Recorder,
  layers: readonly RoutedRows[],
  { sums, first, zero }: { sums: Tensor; first: number; zero: Tensor },
): RouterStatistics {
  const [rows, E] = layers[0].logits.layout.shape;
  const [, k] = layers[0].chosen.layout.shape;
  const columns = 2 * E + 2;
  const label = 'router losses';
  const tensor = (shape: number[]) => recorder.tensor(label, Layout.contiguous(shape), 'f32');
  const statistics = { sums: tensor([columns]), rows: rows * layers.length };
  copy(recorder, { ...zero, layout: zero.layout.expand([columns]) }, statistics.sums);
  for (const { logits, chosen, teacher } of layers) {
    const terms = tensor([rows, columns]);
    recorder.dispatch(
      kernel(recorder.gpu, 'router_terms', taughtBy(teacher)),
      { logits, chosen, terms, ...(teacher && { teacher }) },
      { rows, E, k },
      [Math.ceil(rows / 64)],
      { label, flops: 6 * rows * E },
    );
    columnSum(recorder, terms, statistics.sums, label);
  }
  recorder.dispatch(
    kernel(recorder.gpu, 'router_losses'),
    { statistics: statistics.sums, sums },
    { E, M: statistics.rows, first },
    [1],
    { label, flops: 4 * E },
  );
  return statistics;
}

/**
 * Adds the losses' gradient to dlogits (rows, E) f32 of one layer. `step` holds a Step with the
 * losses' weights, `scaler` a Scaler (see sources.ts).
 */
export function routerLossesBackward(
  recorder: Recorder,
  { logits, teacher }: Omit<RoutedRows, 'chosen'>,
  statistics: RouterStatistics,
  dlogits: Tensor,
  { step, scaler, label }: Record<'step' | 'scaler', GPUBuffer | Placement> & { label?: string },
): void {
  const [rows, E] = logits.layout.shape;
  recorder.dispatch(
    kernel(recorder.gpu, 'router_losses_backward', taughtBy(teacher)),
    { step, scaler, logits, statistics: statistics.sums, dlogits, ...(teacher && { teacher }) },
    { rows, E, M: statistics.rows },
    [Math.ceil(rows / 64)],
    { label, flops: 12 * rows * E },
  );
}
