// Causal self-attention, forward and backward. The (B, NH, T, T) matrix is never stored.

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
  /** (B, NH, T) f32: each query's log-sum-exp */
  lse: Tensor;
}

/**
 * out = softmax(q · kᵀ / √D, causal) · v for each of the NH heads, D = C / NH.
 * @throws if D is not a multiple of 4
 */
export function attention(recorder: Recorder, { qkv, out, lse }: Attention): void {
  const { kernelOf, params, grid, products } = setUp(recorder.gpu, qkv, lse);
  recorder.dispatch(kernelOf('attention'), { qkv, out, lse }, params, grid, {
    flops: 4 * products,
  });
}

/** dqkv (B·T, 3·C) from dout (B·T, C); `delta` (B, NH, T) f32 is scratch between the two passes. */
export function attentionBackward(
  recorder: Recorder,
  { qkv, out, lse }: Attention,
  { dout, delta, dqkv }: { dout: Tensor; delta: Tensor; dqkv: Tensor },
): void {
  const { kernelOf, params, grid, products } = setUp(recorder.gpu, qkv, lse);
  const query = kernelOf('attention_backward_query');
  // The first pass writes dq, a third of dqkv; the second writes dk and dv.
  const third = bytesOf(dqkv) / 3;
  recorder.dispatch(query, { qkv, out, dout, lse, delta, dqkv }, params, grid, {
    flops: 6 * products,
    bytes: bytesOf(qkv, out, dout, lse, delta) + third,
  });
  const key = kernelOf('attention_backward_key');
  recorder.dispatch(key, { qkv, dout, lse, delta, dqkv }, params, grid, {
    flops: 8 * products,
    bytes: bytesOf(qkv, dout, lse, delta) + 2 * third,
  });
}

/** Queries, or keys, that a lane holds at a time. */
const ROWS = 2;

function setUp(gpu: Gpu, qkv: Tensor, lse: Tensor) {
  const [B, NH, T] = lse.layout.shape;
  const D = qkv.layout.shape[1] / 3 / NH;
  if (D % 4 !== 0)
    throw new Error(
      `attention: heads of ${D} elements; want a multiple of 4. Change the width or the heads.`,
    );
  const HEAD = D / 4;
  // The kernels for quads need a workgroup's lanes in order. The known software adapters number
  // them so; WebGPU does not promise it.
  const quads = gpu.adapter.software && gpu.adapter.subgroupSize >= 4;
  const { LANES, SLICES } = quads ? { LANES: 8, SLICES: 1 } : { LANES: 64, SLICES: 4 };
  const constants = { HEAD, SLICES, LANES, UNROLL: Number(!gpu.adapter.software) };
  const lanes = quads ? 'software/attention_quads.wgsl' : 'attention_slices.wgsl';
  const kernelOf = (name: string): Kernel =>
    kernel(gpu, name, { aliases: { scalar: scalarOf(qkv) }, constants, includes: { lanes } });
  const params = { T, NH, scale: 1 / Math.sqrt(D), width: Math.ceil(HEAD / SLICES) };
  const grid: Grid = [Math.ceil((T * SLICES) / (LANES * ROWS)), NH, B];
  // Multiplications of one of the products of size (T, T): each query with the keys up to its own.
  const products = (B * NH * D * T * (T + 1)) / 2;
  return { kernelOf, params, grid, products };
}
