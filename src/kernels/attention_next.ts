// Attention of one new token, to the keys and values that are kept of the tokens before it.

import type { Recorder, Tensor } from '../gpu/program';
import { kernel } from './sources';
import { ROW_THREADS, scalarOf } from './tensors';

export interface NextAttention {
  /** (1, (NH + 2 NKV)·D): the token's q | k | v */
  qkv: Tensor;
  /** (1) u32: where the token stands, less than T */
  position: Tensor;
  /** (T, 2 NKV·D): k | v of each position. The token's are added. */
  kept: Tensor;
  /** (1, NH·D) */
  out: Tensor;
  /** Keys that the token sees, its own included; all by default. */
  window?: number;
}

/** The last row of `attention` over the kept tokens and this one, for NH query heads. */
export function attentionNext(
  recorder: Recorder,
  { qkv, position, kept, out, window }: NextAttention,
  NH: number,
): void {
  const D = out.layout.shape[1] / NH;
  const [T, width] = kept.layout.shape;
  const NKV = width / (2 * D);
  // A software adapter vectorises over eight threads; more only wait at barriers.
  const LANES = recorder.gpu.adapter.software ? 8 : 64;
  const k = kernel(recorder.gpu, 'attention_next', {
    aliases: { scalar: scalarOf(qkv) },
    constants: { HEAD: D / 4, LANES },
  });
  const params = { NH, NKV, scale: 1 / Math.sqrt(D), window: Math.min(window ?? T, T) };
  const grid = Math.ceil((NH * LANES) / ROW_THREADS);
  // It reads as many keys and values as there are tokens: at most all.
  const flops = 4 * NH * D * params.window;
  recorder.dispatch(k, { qkv, position, kept, out }, params, [grid], { flops });
}
