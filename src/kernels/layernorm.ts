// LayerNorm over the last dimension, forward and backward. x and dy are read through their layouts,
// so that a sliced or transposed tensor needs no copy. Results are contiguous.

import { bytesOf, type Recorder, type Tensor } from '../gpu/program';
import { columnLanes } from './column_sum';
import { kernel } from './sources';
import { ROW_THREADS, rowLanes, scalarOf } from './tensors';

export interface LayerNorm {
  x: Tensor; // (rows, C), in any layout
  gamma: Tensor; // (C)
  beta: Tensor; // (C)
  y: Tensor; // (rows, C), contiguous
  /** (rows, 2) f32: mean and 1 / standard deviation of each row, for the backward pass. */
  moments: Tensor;
}

/** Per element of x, counted in the kernels. */
const FLOPS = { forward: 8, input: 12, parameters: 5 };

/** y = (x − mean) · rstd · gamma + beta, rstd = 1 / √(variance + epsilon). */
export function layerNorm(
  recorder: Recorder,
  { x, gamma, beta, y, moments }: LayerNorm,
  epsilon: number,
): void {
  const [rows, C] = x.layout.shape;
  const LANES = rowLanes(recorder.gpu);
  const k = kernel(recorder.gpu, 'layernorm', {
    aliases: { scalar: scalarOf(x) },
    constants: { LANES },
  });
  const grid = Math.ceil((rows * LANES) / ROW_THREADS);
  const params = { rows, C, epsilon, ...strides('x', x) };
  recorder.dispatch(k, { x, gamma, beta, y, moments }, params, [grid], {
    flops: FLOPS.forward * rows * C,
  });
}

/**
 * dx (rows, C) = the gradient of x, plus `addend` (rows, C) if there is one; both are contiguous.
 * dgamma (C) and dbeta (C) are added to, unless they are frozen. dy (rows, C) may have any layout.
 */
export function layerNormBackward(
  recorder: Recorder,
  { x, gamma, moments }: Omit<LayerNorm, 'beta' | 'y'>,
  {
    dy,
    dx,
    dgamma,
    dbeta,
    addend,
  }: { dy: Tensor; dx: Tensor; dgamma?: Tensor; dbeta?: Tensor; addend?: Tensor },
): void {
  const [rows, C] = x.layout.shape;
  const { gpu } = recorder;
  const aliases = { scalar: scalarOf(x) };
  const params = { rows, C, ...strides('x', x), ...strides('dy', dy) };
  const LANES = rowLanes(gpu);
  const input = kernel(gpu, 'layernorm_backward', {
    aliases,
    constants: { LANES, ADDEND: Number(!!addend) },
  });
  const grid = Math.ceil((rows * LANES) / ROW_THREADS);
  recorder.dispatch(input, { x, gamma, moments, dy, addend: addend ?? dy, dx }, params, [grid], {
    flops: FLOPS.input * rows * C,
  });
  if (!dgamma || !dbeta) return;
  const parameters = kernel(gpu, 'layernorm_backward_parameters', {
    aliases,
    constants: { LANES: columnLanes(gpu) },
  });
  recorder.dispatch(parameters, { x, moments, dy, dgamma, dbeta }, params, [Math.ceil(C / 16)], {
    flops: FLOPS.parameters * rows * C,
    bytes: bytesOf(x, moments, dy, dgamma, dgamma, dbeta, dbeta),
  });
}

function strides(name: string, { layout }: Tensor): Record<string, number> {
  const [row, column] = layout.strides;
  return { [`${name}_offset`]: layout.offset, [`${name}_row`]: row, [`${name}_col`]: column };
}
