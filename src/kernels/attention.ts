// Causal self-attention, forward and backward. The (B, H, T, T) matrix is never stored.

import type { Gpu } from '../gpu/device';
import type { Kernel } from '../gpu/kernel';
import { bytesOf, type Grid, type Recorder, type Tensor } from '../gpu/program';
import { kernel } from './sources';
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
  const { made, params, grid, multiplications } = setUp(recorder.gpu, qkv, lse);
  recorder.dispatch(made('attention'), { qkv, out, lse }, params, grid, {
    flops: 4 * multiplications,
  });
}

/** dqkv (B·T, 3·C) from dout (B·T, C); `delta` (B, H, T) f32 is scratch between the two passes. */
export function attentionBackward(
  recorder: Recorder,
  { qkv, out, lse }: Attention,
  { dout, delta, dqkv }: { dout: Tensor; delta: Tensor; dqkv: Tensor },
): void {
  const { made, params, grid, multiplications } = setUp(recorder.gpu, qkv, lse);
  const query = made('attention_backward_query');
  // Of dqkv, the query's pass writes a third and the keys' the rest.
  const third = bytesOf(dqkv) / 3;
  recorder.dispatch(query, { qkv, out, dout, lse, delta, dqkv }, params, grid, {
    flops: 6 * multiplications,
    bytes: bytesOf(qkv, out, dout, lse, delta) + third,
  });
  const key = made('attention_backward_key');
  recorder.dispatch(key, { qkv, dout, lse, delta, dqkv }, params, grid, {
    flops: 8 * multiplications,
    bytes: bytesOf(qkv, dout, lse, delta) + 2 * third,
  });
}

/** Rows, queries or keys, that a lane has at once. */
const ROWS = 2;

function setUp(gpu: Gpu, qkv: Tensor, lse: Tensor) {
  const [B, H, T] = lse.layout.shape;
  const D = qkv.layout.shape[1] / 3 / H;
  if (D % 4 !== 0)
    throw new Error(
      `attention: heads of ${D} elements; want a multiple of 4. Change the width or the heads.`,
    );
  const HEAD = D / 4;
  // Lanes are numbered as quads need it on the software adapters there are; no GPU has to promise
  // that.
  const quads = gpu.adapter.software && gpu.adapter.subgroupSize >= 4;
  const { LANES, SLICES } = quads ? { LANES: 8, SLICES: 1 } : { LANES: 64, SLICES: 4 };
  const constants = { HEAD, SLICES, LANES, UNROLL: Number(!gpu.adapter.software) };
  const lanes = quads ? 'software/attention_quads.wgsl' : 'attention_slices.wgsl';
  const made = (name: string): Kernel =>
    kernel(gpu, name, { aliases: { scalar: scalarOf(qkv) }, constants, includes: { lanes } });
  const params = { T, H, scale: 1 / Math.sqrt(D), width: Math.ceil(HEAD / SLICES) };
  const grid: Grid = [Math.ceil((T * SLICES) / (LANES * ROWS)), H, B];
  // Of each of the products with (T, T): every query with the keys that it sees.
  const multiplications = (B * H * D * T * (T + 1)) / 2;
  return { made, params, grid, multiplications };
}
