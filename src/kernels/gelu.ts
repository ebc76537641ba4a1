// The tanh GELU, forward and backward, element by element.

import { kernel } from '../gpu/kernel';
import type { Recorder, Tensor } from '../gpu/program';
import wgsl from './gelu.wgsl?raw';
import backwardWgsl from './gelu_backward.wgsl?raw';
import { elementGrid, scalarOf } from './tensors';

// An element's, counted in the kernels; the hyperbolic tangent is one.
const FORWARD_FLOPS = 9;
const BACKWARD_FLOPS = 18;

/** y = gelu(x); both contiguous and of one size. */
export function gelu(recorder: Recorder, x: Tensor, y: Tensor): void {
  const count = x.layout.numel;
  const program = kernel(recorder.gpu, 'gelu', wgsl, { aliases: { scalar: scalarOf(x) } });
  recorder.dispatch(program, { x, y }, { count }, elementGrid(recorder.gpu, count), { flops: FORWARD_FLOPS * count });
}

/** dx = dy · gelu'(x). */
export function geluBackward(recorder: Recorder, x: Tensor, dy: Tensor, dx: Tensor): void {
  const count = x.layout.numel;
  const program = kernel(recorder.gpu, 'gelu_backward', backwardWgsl, { aliases: { scalar: scalarOf(x) } });
  recorder.dispatch(program, { x, dy, dx }, { count }, elementGrid(recorder.gpu, count), {
    flops: BACKWARD_FLOPS * count,
  });
}
