// SwiGLU, forward and backward: a gate with SiLU times a second projection.

import type { Recorder, Tensor } from '../gpu/program';
import { kernel } from './sources';
import { elementGrid, scalarOf } from './tensors';

/** Per element of y, counted in the kernels. */
const FLOPS = { forward: 6, backward: 12 };

/** y (rows, F) = silu(gate) · up, x (rows, 2 F) = gate | up */
export function swiglu(recorder: Recorder, x: Tensor, y: Tensor, label?: string): void {
  const [rows, F] = y.layout.shape;
  const count = rows * F;
  const k = kernel(recorder.gpu, 'swiglu', { aliases: { scalar: scalarOf(x) } });
  const options = { label, flops: FLOPS.forward * count };
  recorder.dispatch(k, { x, y }, { count, F }, elementGrid(recorder.gpu, count), options);
}

/** dx (rows, 2 F) = dgate | dup from dy (rows, F) */
export function swigluBackward(
  recorder: Recorder,
  x: Tensor,
  { dy, dx }: { dy: Tensor; dx: Tensor },
  label?: string,
): void {
  const [rows, F] = dy.layout.shape;
  const count = rows * F;
  const k = kernel(recorder.gpu, 'swiglu_backward', { aliases: { scalar: scalarOf(x) } });
  const options = { label, flops: FLOPS.backward * count };
  recorder.dispatch(k, { x, dy, dx }, { count, F }, elementGrid(recorder.gpu, count), options);
}
