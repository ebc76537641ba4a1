// Causal self-attention, forward and backward. The (B, H, T, T) matrix is never stored.

import type { Gpu } from '../gpu/device';
import { kernel } from '../gpu/kernel';
import { bytesOf, type Recorder, type Tensor } from '../gpu/program';
import wgsl from './attention.wgsl?raw';
import keyWgsl from './attention_backward_key.wgsl?raw';
import queryWgsl from './attention_backward_query.wgsl?raw';
import { scalarOf } from './tensors';

export interface Attention {
  /** (B·T, 3·C): q | k | v */
  qkv: Tensor;
  /** (B·T, C) */
  out: Tensor;
  /** (B, H, T) f32: each query's log-sum-exp */
  lse: Tensor;
}

/** out = softmax(q · kᵀ / √D, causal) · v, D = C / H, a multiple of 4. */
export function attention(recorder: Recorder, { qkv, out, lse }: Attention): void {
  const { specialisation, params, grid, multiplications } = setUp(recorder.gpu, qkv, lse);
  recorder.dispatch(kernel(recorder.gpu, 'attention', wgsl, specialisation), { qkv, out, lse }, params, grid, {
    flops: 4 * multiplications,
  });
}

/** dqkv (B·T, 3·C) from dout (B·T, C); `delta` (B, H, T) f32 is scratch between the two passes. */
export function attentionBackward(
  recorder: Recorder,
  { qkv, out, lse }: Attention,
  { dout, delta, dqkv }: { dout: Tensor; delta: Tensor; dqkv: Tensor },
): void {
  const { specialisation, params, grid, multiplications } = setUp(recorder.gpu, qkv, lse);
  const query = kernel(recorder.gpu, 'attention_backward_query', queryWgsl, specialisation);
  // Of dqkv, the query's pass writes a third and the keys' the rest.
  const third = bytesOf(dqkv) / 3;
  recorder.dispatch(query, { qkv, out, dout, lse, delta, dqkv }, params, grid, {
    flops: 6 * multiplications,
    bytes: bytesOf(qkv, out, dout, lse, delta) + third,
  });
  const key = kernel(recorder.gpu, 'attention_backward_key', keyWgsl, specialisation);
  recorder.dispatch(key, { qkv, dout, lse, delta, dqkv }, params, grid, {
    flops: 8 * multiplications,
    bytes: bytesOf(qkv, dout, lse, delta) + 2 * third,
  });
}

function setUp(gpu: Gpu, qkv: Tensor, lse: Tensor) {
  const [B, H, T] = lse.layout.shape;
  const D = qkv.layout.shape[1] / 3 / H;
  if (D % 4 !== 0)
    throw new Error(`attention: heads of ${D} elements; want a multiple of 4. Change the width or the heads.`);
  const constants = { HEAD: D / 4, UNROLL: Number(!gpu.adapter.software) };
  const specialisation = { aliases: { scalar: scalarOf(qkv) }, constants };
  const params = { T, H, scale: 1 / Math.sqrt(D), D4: D / 4 };
  // Of each of the products with (T, T): every query with the keys that it sees.
  const multiplications = (B * H * D * T * (T + 1)) / 2;
  return { specialisation, params, multiplications, grid: [Math.ceil(T / 16), H, B] as [number, number, number] };
}
