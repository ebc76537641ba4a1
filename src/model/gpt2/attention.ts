// Attention over heads: rows of C elements are split into H heads of D, attended, and merged again.

import type { Recorder, Tensor } from '../../gpu/program';
import { type Attention, attentionBackward } from '../../kernels/attention';
import { Layout } from '../../tensor/layout';
import { attend, type LayerKeyValues } from '../key-values';

export interface HeadActivations {
  /** What the attention kernels read and write. */
  attention: Attention;
  /** (B·T, C): what c_proj multiplies. */
  out: Tensor;
}

/**
 * Splits rows into heads and attends, where `seen` says so to kept keys, or inside documents (see
 * `Attention`). The Bug Lab passes another implementation.
 */
export interface AttentionHeads {
  /** qkv (B·T, 3·C) */
  forward(
    recorder: Recorder,
    qkv: Tensor,
    sizes: [B: number, T: number, H: number],
    label: string,
    seen?: { keyValues?: LayerKeyValues; documents?: Tensor },
  ): HeadActivations;
  /** dqkv (B·T, 3·C) from dout (B·T, C) */
  backward(
    recorder: Recorder,
    activations: HeadActivations,
    gradients: { dout: Tensor; dqkv: Tensor },
    label: string,
  ): void;
}

/** q.view(B, T, H, D).transpose(1, 2), which the kernels read from the rows where they are. */
export const transposedHeads: AttentionHeads = {
  forward(recorder, qkv, [B, T, H], label, { keyValues, documents } = {}) {
    const [rows, C3] = qkv.layout.shape;
    const lse = recorder.tensor(`${label}.lse`, Layout.contiguous([B, H, T]), 'f32');
    const out = recorder.tensor(`${label}.attn`, Layout.contiguous([rows, C3 / 3]), qkv.dtype);
    const attention = { qkv, out, lse, documents };
    attend(recorder, attention, keyValues);
    return { attention, out };
  },
  backward(recorder, { attention: forward }, { dout, dqkv }, label) {
    const delta = recorder.tensor(`${label}.delta`, forward.lse.layout, 'f32');
    attentionBackward(recorder, forward, { dout, delta, dqkv });
  },
};
