// The tiny family's kernels: token lookup and RMSNorm, forward and backward, as plain as can be.

import { kernelFrom, type Specialisation } from '../../src/gpu/kernel';
import type { Recorder, Tensor } from '../../src/gpu/program';
import { scalarOf } from '../../src/kernels/tensors';
import lookupWgsl from './lookup.wgsl?raw';
import lookupBackwardWgsl from './lookup_backward.wgsl?raw';
import rmsNormWgsl from './rms_norm.wgsl?raw';
import rmsNormBackwardWgsl from './rms_norm_backward.wgsl?raw';
import rmsNormBackwardGainWgsl from './rms_norm_backward_gain.wgsl?raw';

const SOURCES = {
  'lookup.wgsl': lookupWgsl,
  'lookup_backward.wgsl': lookupBackwardWgsl,
  'rms_norm.wgsl': rmsNormWgsl,
  'rms_norm_backward.wgsl': rmsNormBackwardWgsl,
  'rms_norm_backward_gain.wgsl': rmsNormBackwardGainWgsl,
};

const kernel = (recorder: Recorder, name: string, like: Tensor, options?: Specialisation) =>
  kernelFrom(SOURCES, recorder.gpu, name, { aliases: { scalar: scalarOf(like) }, ...options });

/** x (rows, C) = table[tokens]; tokens (B, T) u32, table (V, C) */
export function lookup(recorder: Recorder, tokens: Tensor, table: Tensor, x: Tensor): void {
  const [rows, C] = x.layout.shape;
  const k = kernel(recorder, 'lookup', x);
  recorder.dispatch(k, { tokens, table, x }, { rows, C }, [Math.ceil((rows * C) / 64)]);
}

/** dtable (V, C) f32 += dx (rows, C), summed by token */
export function lookupBackward(
  recorder: Recorder,
  tokens: Tensor,
  dx: Tensor,
  dtable: Tensor,
): void {
  const [rows, C] = dx.layout.shape;
  const [V] = dtable.layout.shape;
  const k = kernel(recorder, 'lookup_backward', dx);
  recorder.dispatch(k, { tokens, dx, dtable }, { rows, C, V }, [Math.ceil((V * C) / 64)]);
}

export interface RmsNorm {
  x: Tensor; // (rows, C)
  gain: Tensor; // (C)
  y: Tensor; // (rows, C)
  rrms: Tensor; // (rows) f32
}

/** y = x / √(mean(x²) + epsilon) · gain */
export function rmsNorm(recorder: Recorder, norm: RmsNorm, epsilon: number): void {
  const [rows, C] = norm.x.layout.shape;
  const k = kernel(recorder, 'rms_norm', norm.x);
  recorder.dispatch(k, { ...norm }, { rows, C, epsilon }, [Math.ceil(rows / 64)]);
}

/** dx (rows, C) = the gradient of x, plus the addend; dgain (C) f32 is added to */
export function rmsNormBackward(
  recorder: Recorder,
  { x, gain, rrms }: RmsNorm,
  { dy, dx, dgain, addend }: { dy: Tensor; dx: Tensor; dgain: Tensor; addend?: Tensor },
): void {
  const [rows, C] = x.layout.shape;
  const input = kernel(recorder, 'rms_norm_backward', x, { constants: { ADDEND: +!!addend } });
  const tensors = { x, gain, rrms, dy, addend: addend ?? dy, dx };
  recorder.dispatch(input, tensors, { rows, C }, [Math.ceil(rows / 64)]);
  const parameter = kernel(recorder, 'rms_norm_backward_gain', x);
  recorder.dispatch(parameter, { x, rrms, dy, dgain }, { rows, C }, [Math.ceil(C / 64)]);
}
