// RMSNorm over the last dimension, forward and backward. All tensors are contiguous.

import type { Recorder, Tensor } from '../gpu/program';
import { columnLanes } from './column_sum';
import { kernel } from './sources';
import { ROW_THREADS, rowLanes, scalarOf } from './tensors';

export interface RmsNorm {
  x: Tensor; // (rows, C)
  gain: Tensor; // (C)
  y: Tensor; // (rows, C)
  /** (rows) f32: 1 / √(mean of x² + epsilon), for the backward pass. */
  rrms: Tensor;
}

/** Per element of x, counted in the kernels. */
const FLOPS = { forward: 4, input: 9, gain: 3 };

/** y = x · rrms · gain, rrms = 1 / √(mean(x²) + epsilon). */
export function rmsNorm(
  recorder: Recorder,
  { x, gain, y, rrms }: RmsNorm,
  epsilon: number,
  label?: string,
): void {
  const [rows, C] = x.layout.shape;
  const LANES = rowLanes(recorder.gpu);
  const k = kernel(recorder.gpu, 'rms_norm', {
    aliases: { scalar: scalarOf(x) },
    constants: { LANES },
  });
  const grid = Math.ceil((rows * LANES) / ROW_THREADS);
  const flops = FLOPS.forward * rows * C;
  recorder.dispatch(k, { x, gain, y, rrms }, { rows, C, epsilon }, [grid], { label, flops });
}

/**
 * dx (rows, C) = the gradient of x, plus `addend` (rows, C) if there is one; dgain is added to,
 * unless the gain is frozen.
 */
export function rmsNormBackward(
  recorder: Recorder,
  { x, gain, rrms }: Omit<RmsNorm, 'y'>,
  { dy, dx, dgain, addend }: { dy: Tensor; dx: Tensor; dgain?: Tensor; addend?: Tensor },
  label?: string,
): void {
  const [rows, C] = x.layout.shape;
  const { gpu } = recorder;
  const aliases = { scalar: scalarOf(x) };
  const LANES = rowLanes(gpu);
  const input = kernel(gpu, 'rms_norm_backward', {
    aliases,
    constants: { LANES, ADDEND: Number(!!addend) },
  });
  const grid = Math.ceil((rows * LANES) / ROW_THREADS);
  const tensors = { x, gain, rrms, dy, dx, ...(addend && { addend }) };
  recorder.dispatch(input, tensors, { rows, C }, [grid], {
    label: label && `${label} dx`,
    flops: FLOPS.input * rows * C,
  });
  if (!dgain) return;
  const parameter = kernel(gpu, 'rms_norm_backward_gain', {
    aliases,
    constants: { LANES: columnLanes(gpu) },
  });
  recorder.dispatch(parameter, { x, rrms, dy, dgain }, { rows, C }, [Math.ceil(C / 16)], {
    label: label && `${label} dgain`,
    flops: FLOPS.gain * rows * C,
  });
}
