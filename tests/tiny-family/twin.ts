// The tiny family's slow twin: its logits in float64, from the reference's operations.

import * as reference from '../../src/reference';
import type { TinyConfig } from './config';

/** By parameter name. */
export type TwinWeights = ReadonlyMap<string, reference.Numbers>;

/** y (N, C) = x / √(mean(x²) + epsilon) · gain (C) */
export function rmsNorm(
  x: reference.Numbers,
  gain: reference.Numbers,
  epsilon: number,
): Float64Array {
  const C = gain.length;
  return Float64Array.from(x, (value, i) => {
    let squares = 0;
    for (let c = 0; c < C; c++) squares += x[i - (i % C) + c] ** 2;
    return (value / Math.sqrt(squares / C + epsilon)) * gain[i % C];
  });
}

/** (B, T, V) of tokens (B, T) */
export function tinyLogits(
  weights: TwinWeights,
  config: TinyConfig,
  tokens: ArrayLike<number>,
  B: number,
  T: number,
): Float64Array {
  const { hidden_size: C, num_attention_heads: NH, vocab_size: V } = config;
  const N = B * T;
  const get = (name: string) => weights.get(name) as reference.Numbers;
  const norm = (x: reference.Numbers, name: string) =>
    rmsNorm(x, get(`${name}.weight`), config.rms_norm_eps);
  const linear = (x: reference.Numbers, name: string, from: number, to: number) =>
    reference.matmul(x, get(`${name}.weight`), N, from, to);

  const table = get('embed.weight');
  let x: Float64Array = Float64Array.from(
    { length: N * C },
    (_, i) => table[tokens[Math.floor(i / C)] * C + (i % C)],
  );
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const name = `layers.${layer}`;
    const qkv = linear(norm(x, `${name}.norm_1`), `${name}.attention.qkv`, C, 3 * C);
    const { output } = reference.attention(qkv, { B, T, C, NH });
    const middle = reference.add(x, linear(output, `${name}.attention.out`, C, C));
    const up = linear(norm(middle, `${name}.norm_2`), `${name}.mlp.up`, C, 4 * C);
    x = reference.add(middle, linear(reference.gelu(up), `${name}.mlp.down`, 4 * C, C));
  }
  return reference.matmul(norm(x, 'norm'), get('lm_head.weight'), N, C, V, { transposeB: true });
}
