// The bug that raises nothing: heads split by a reshape that has the right sizes and the wrong
// elements.
//
// q is (B, T, C), and `q.reshape(B, H, T, D)` is written where `q.view(B, T, H, D).transpose(1, 2)`
// is meant. Nothing is refused. Cut into slots of D elements, a sequence has T·H of them, slot s =
// token s / H, true head s % H. The reshape gives slots h·T … h·T + T − 1 to head h, as if they
// were T tokens: a head then sees all H slices of T / H tokens, one after the other, and no other
// token. It stays causal: a slot attends to slots before it, which belong to its own token or
// earlier ones, and `reshape(B, T, C)` puts each slot back where it came from. That is why the loss
// hardly complains.

import type { Recorder, Tensor } from '../../gpu/program';
import { attention, attentionBackward } from '../../kernels/attention';
import { copy } from '../../kernels/copy';
import type { AttentionHeads } from '../../model/gpt2/attention';
import { Layout } from '../../tensor/layout';

export const reshapedHeads: AttentionHeads = {
  forward(recorder, qkv, [B, T, H], label, { keyValues, documents } = {}) {
    // Which tokens a head mixes depends on T, so an earlier token's share is not kept as it was.
    if (keyValues) throw new Error('Heads split by a reshape keep no keys and values.');
    if (documents) throw new Error('Heads split by a reshape mix documents.');
    const [rows, C3] = qkv.layout.shape;
    const C = C3 / 3;
    const activation = (name: string, columns: number) =>
      recorder.tensor(`${label}.${name}`, Layout.contiguous([rows, columns]), qkv.dtype);
    const lse = recorder.tensor(`${label}.lse`, Layout.contiguous([B, H, T]), 'f32');
    const out = activation('attn', C);
    const scrambled = {
      qkv: activation('scrambled qkv', C3),
      out: activation('scrambled attn', C),
      lse,
    };
    scramble(recorder, qkv, scrambled.qkv, [B, T, H], 'forward', label);
    attention(recorder, scrambled);
    // (B, H, T, D).reshape(B, T, C)
    copy(recorder, byHead(scrambled.out, [B, T, H]), out);
    return { attention: scrambled, out };
  },

  backward(recorder, { attention: forward }, { dout, dqkv }, label) {
    const [B, H, T] = forward.lse.layout.shape;
    const delta = recorder.tensor(`${label}.delta`, Layout.contiguous([B, H, T]), 'f32');
    const like = (t: Tensor) =>
      recorder.tensor(`d scrambled ${t.place.label}`, Layout.contiguous(t.layout.shape), t.dtype);
    const scrambled = { dout: like(dout), delta, dqkv: like(dqkv) };
    // out = (B, H, T, D).reshape(B, T, C)
    const D = dout.layout.shape[1] / H;
    copy(
      recorder,
      { ...dout, layout: dout.layout.view([B, H, T, D]) },
      byHead(scrambled.dout, [B, T, H]),
    );
    attentionBackward(recorder, forward, scrambled);
    scramble(recorder, dqkv, scrambled.dqkv, [B, T, H], 'backward', label);
  },
};

/** Rows (B·T, H·D), indexed (B, H, T, D): `view(B, T, H, D).transpose(1, 2)`. */
function byHead(t: Tensor, [B, T, H]: [number, number, number]): Tensor {
  return { ...t, layout: t.layout.view([B, T, H, t.layout.shape[1] / H]).transpose(1, 2) };
}

/**
 * Reinterprets each of q, k and v, (B, T, C) inside `plain`, as (B, H, T, D) and lays it out in
 * `scrambled` as the kernels want it; `backward` carries gradients from `scrambled` to `plain`.
 * Both are (B·T, 3·C).
 */
function scramble(
  recorder: Recorder,
  plain: Tensor,
  scrambled: Tensor,
  [B, T, H]: [number, number, number],
  direction: 'forward' | 'backward',
  label: string,
): void {
  const C = plain.layout.shape[1] / 3;
  // Inside rows of q | k | v no strides show a q as (B, H, T, D), so reshape copies it first, and
  // so does this.
  const parts = recorder.tensor(`${label}.parts`, Layout.contiguous([3, B, T, C]), plain.dtype);
  const inRows: Tensor = {
    ...plain,
    layout: plain.layout.view([B, T, 3, C]).permute([2, 0, 1, 3]),
  };
  if (direction === 'forward') copy(recorder, inRows, parts);
  for (let part = 0; part < 3; part++) {
    const reshaped: Tensor = {
      ...parts,
      layout: parts.layout.select(0, part).view([B, H, T, C / H]),
    };
    const heads = { ...scrambled, layout: scrambled.layout.narrow(1, part * C, C) };
    const wanted: Tensor = {
      ...heads,
      layout: heads.layout
        .unflatten(1, [H, C / H])
        .unflatten(0, [B, T])
        .transpose(1, 2),
    };
    if (direction === 'forward') copy(recorder, reshaped, wanted);
    else copy(recorder, wanted, reshaped);
  }
  if (direction === 'backward') copy(recorder, parts, inRows);
}
