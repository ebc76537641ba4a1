// Causal self-attention, forward and backward. The (B, NH, T, T) matrix is never stored.

import type { Gpu } from '../gpu/device';
import type { Kernel } from '../gpu/kernel';
import { bytesOf, type Grid, type Recorder, type Tensor } from '../gpu/program';
import { kernel } from './sources';
import { scalarOf } from './tensors';

export interface Attention {
  /** (B·T, (NH + 2 NKV)·D): q | k | v */
  qkv: Tensor;
  /** (B·T, NH·D) */
  out: Tensor;
  /** (B, NH, T) f32: each query's log-sum-exp */
  lse: Tensor;
  /** Keys that a query sees, its own included; all up to its own by default. */
  window?: number;
  /**
   * (B, T, 2) u32: where in its row each token's document begins, and where the next one does. A
   * query then sees the keys of its own document alone.
   */
  documents?: Tensor;
}

/**
 * out = softmax(q · kᵀ / √D, causal) · v for each of the NH heads, NH / NKV of which, in a row,
 * share a head of keys and values.
 * @throws if D is not a multiple of 4, or NH not one of NKV
 */
export function attention(recorder: Recorder, forward: Attention): void {
  const { qkv, out, lse } = forward;
  const { kernelOf, borders, params, grid, products } = setUp(recorder.gpu, forward);
  recorder.dispatch(kernelOf('attention'), { qkv, out, lse, ...borders }, params, grid, {
    flops: 4 * products,
  });
}

/** dqkv from dout (B·T, NH·D); `delta` (B, NH, T) f32 is scratch between the two passes. */
export function attentionBackward(
  recorder: Recorder,
  forward: Attention,
  { dout, delta, dqkv }: { dout: Tensor; delta: Tensor; dqkv: Tensor },
): void {
  const { qkv, out, lse } = forward;
  const { kernelOf, borders, params, grid, products } = setUp(recorder.gpu, forward);
  const query = kernelOf('attention_backward_query');
  const { NH, NKV } = params;
  // The first pass writes dq; the second writes dk and dv.
  const queryBytes = (bytesOf(dqkv) * NH) / (NH + 2 * NKV);
  recorder.dispatch(query, { qkv, out, dout, lse, delta, dqkv, ...borders }, params, grid, {
    flops: 6 * products,
    bytes: bytesOf(qkv, out, dout, lse, delta) + queryBytes,
  });
  const key = kernelOf('attention_backward_key', { GROUP: NH / NKV });
  const [blocks, , B] = grid;
  recorder.dispatch(key, { qkv, dout, lse, delta, dqkv, ...borders }, params, [blocks, NKV, B], {
    flops: 8 * products,
    bytes: bytesOf(qkv, dout, lse, delta, dqkv) - queryBytes,
  });
}

/** Queries, or keys, that a lane holds at a time. */
const ROWS = 2;

function setUp(gpu: Gpu, { qkv, out, lse, window, documents }: Attention) {
  const [B, NH, T] = lse.layout.shape;
  const D = out.layout.shape[1] / NH;
  if (D % 4 !== 0)
    throw new Error(
      `attention: heads of ${D} elements; want a multiple of 4. Change the width or the heads.`,
    );
  const NKV = (qkv.layout.shape[1] / D - NH) / 2;
  if (NH % NKV !== 0)
    throw new Error(
      `attention: ${NH} query heads share ${NKV} heads of keys; want a divisor. Change the heads.`,
    );
  // A window that holds every key is none.
  const WINDOW = Number(window !== undefined && window < T);
  const HEAD = D / 4;
  // The kernels for quads need a workgroup's lanes in order. The known software adapters number
  // them so; WebGPU does not promise it.
  const quads = gpu.adapter.software && gpu.adapter.subgroupSize >= 4;
  const { LANES, SLICES } = quads ? { LANES: 8, SLICES: 1 } : { LANES: 64, SLICES: 4 };
  const UNROLL = Number(!gpu.adapter.software);
  const shared = { HEAD, SLICES, LANES, UNROLL, WINDOW, DOCUMENTS: Number(!!documents) };
  const lanes = quads ? 'software/attention_quads.wgsl' : 'attention_slices.wgsl';
  const kernelOf = (name: string, more?: Record<string, number>): Kernel =>
    kernel(gpu, name, {
      aliases: { scalar: scalarOf(qkv) },
      constants: { ...shared, ...more },
      includes: { lanes },
    });
  const params = {
    T,
    NH,
    NKV,
    scale: 1 / Math.sqrt(D),
    width: Math.ceil(HEAD / SLICES),
    window: WINDOW ? (window as number) : T,
  };
  const grid: Grid = [Math.ceil((T * SLICES) / (LANES * ROWS)), NH, B];
  // Multiplications of one of the products of size (T, T): each query with the keys that it sees;
  // with documents, with those that it would see without.
  const seen = params.window * (T - params.window) + (params.window * (params.window + 1)) / 2;
  const products = B * NH * D * seen;
  const borders = documents && { documents };
  return { kernelOf, borders, params, grid, products };
}
