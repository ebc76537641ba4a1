// The layers of GPT-2: embedding, LayerNorm, tanh GELU, causal attention. Each backward follows its
// forward. What the Llama family has in their place is in llama-layers.ts.

import { expectLength, type Numbers } from './arrays';

/**
 * The position of row n in its document: n mod T, less where the document begins. `starts` (N) has
 * that place in the row of T tokens; without it a row is one document.
 */
export const positionIn = (T: number, starts: Numbers | undefined, n: number): number =>
  (n % T) - (starts?.[n] ?? 0);

/**
 * x (N, C) = wte[token] + wpe[position], where row n has position n mod T. tokens (N), wte (V, C),
 * wpe (≥ T, C). `starts`: see `positionIn`.
 */
export function embedding(
  tokens: Numbers,
  wte: Numbers,
  wpe: Numbers,
  T: number,
  C: number,
  starts?: Numbers,
): Float64Array {
  const V = wte.length / C;
  if (T * C > wpe.length) {
    throw new Error(
      `embedding: ${T} positions, but wpe holds ${wpe.length / C}. Shorten the context.`,
    );
  }
  const x = new Float64Array(tokens.length * C);
  for (let n = 0; n < tokens.length; n++) {
    if (!(tokens[n] >= 0 && tokens[n] < V)) {
      throw new Error(
        `embedding: token ${tokens[n]} in row ${n} is outside 0..${V - 1}. Check the tokenizer.`,
      );
    }
    const position = positionIn(T, starts, n);
    for (let c = 0; c < C; c++) x[n * C + c] = wte[tokens[n] * C + c] + wpe[position * C + c];
  }
  return x;
}

/**
 * Backward of `embedding`: dwte[token] += dx[n], dwpe[position] += dx[n]. dx (N, C), dwte (V, C),
 * dwpe (P, C).
 */
export function embeddingBackward(
  tokens: Numbers,
  dx: Numbers,
  T: number,
  C: number,
  V: number,
  P: number,
  starts?: Numbers,
): { dwte: Float64Array; dwpe: Float64Array } {
  expectLength('embeddingBackward', 'dx', dx, tokens.length * C);
  const dwte = new Float64Array(V * C);
  const dwpe = new Float64Array(P * C);
  for (let n = 0; n < tokens.length; n++) {
    const position = positionIn(T, starts, n);
    for (let c = 0; c < C; c++) {
      dwte[tokens[n] * C + c] += dx[n * C + c];
      dwpe[position * C + c] += dx[n * C + c];
    }
  }
  return { dwte, dwpe };
}

export interface LayerNormResult {
  y: Float64Array; // (N, C)
  mean: Float64Array; // (N)
  rstd: Float64Array; // (N): 1 / √(variance + epsilon), the variance divided by C
}

/** y (N, C) = gamma (C) · (x − mean) · rstd + beta (C); mean and rstd of each row of x (N, C). */
export function layerNorm(
  x: Numbers,
  gamma: Numbers,
  beta: Numbers,
  epsilon = 1e-5,
): LayerNormResult {
  const C = gamma.length;
  const N = x.length / C;
  const result = {
    y: new Float64Array(x.length),
    mean: new Float64Array(N),
    rstd: new Float64Array(N),
  };
  for (let n = 0; n < N; n++) {
    let mean = 0;
    for (let c = 0; c < C; c++) mean += x[n * C + c] / C;
    let variance = 0;
    for (let c = 0; c < C; c++) variance += (x[n * C + c] - mean) ** 2 / C;
    const rstd = 1 / Math.sqrt(variance + epsilon);
    for (let c = 0; c < C; c++)
      result.y[n * C + c] = gamma[c] * (x[n * C + c] - mean) * rstd + beta[c];
    result.mean[n] = mean;
    result.rstd[n] = rstd;
  }
  return result;
}

/**
 * Backward of `layerNorm`, with x̂ = (x − mean) · rstd and g = gamma · dy:
 *
 *     dx (N, C)  = rstd · (g − mean(g) − x̂ · mean(g · x̂))
 *     dgamma (C) = Σ dy · x̂, dbeta (C) = Σ dy, sums over rows
 */
export function layerNormBackward(
  dy: Numbers,
  x: Numbers,
  gamma: Numbers,
  epsilon = 1e-5,
): { dx: Float64Array; dgamma: Float64Array; dbeta: Float64Array } {
  expectLength('layerNormBackward', 'dy', dy, x.length);
  const C = gamma.length;
  const { mean, rstd } = layerNorm(x, gamma, gamma, epsilon);
  const dx = new Float64Array(x.length);
  const dgamma = new Float64Array(C);
  const dbeta = new Float64Array(C);
  for (let n = 0; n < mean.length; n++) {
    const normalised = (c: number) => (x[n * C + c] - mean[n]) * rstd[n];
    let meanG = 0;
    let meanGX = 0;
    for (let c = 0; c < C; c++) {
      const d = dy[n * C + c];
      meanG += (gamma[c] * d) / C;
      meanGX += (gamma[c] * d * normalised(c)) / C;
      dgamma[c] += d * normalised(c);
      dbeta[c] += d;
    }
    for (let c = 0; c < C; c++)
      dx[n * C + c] = rstd[n] * (gamma[c] * dy[n * C + c] - meanG - normalised(c) * meanGX);
  }
  return { dx, dgamma, dbeta };
}

const GELU_SLOPE = Math.sqrt(2 / Math.PI);
const GELU_CUBE = 0.044715;

/** y = ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))): GPT-2's GELU, Hugging Face's `gelu_new`. */
export function gelu(x: Numbers): Float64Array {
  return Float64Array.from(
    x,
    (v) => 0.5 * v * (1 + Math.tanh(GELU_SLOPE * (v + GELU_CUBE * v ** 3))),
  );
}

/**
 * Backward of `gelu`, where t is the tanh above:
 * dx = dy · (½ (1 + t) + ½ x (1 − t²) √(2/π) (1 + 3 · 0.044715 x²)).
 */
export function geluBackward(dy: Numbers, x: Numbers): Float64Array {
  expectLength('geluBackward', 'dy', dy, x.length);
  return Float64Array.from(x, (v, i) => {
    const t = Math.tanh(GELU_SLOPE * (v + GELU_CUBE * v ** 3));
    return (
      dy[i] * (0.5 * (1 + t) + 0.5 * v * (1 - t * t) * GELU_SLOPE * (1 + 3 * GELU_CUBE * v * v))
    );
  });
}

/** C is a multiple of NH, and NH of NKV. */
export interface AttentionSizes {
  B: number;
  T: number;
  /** Of all query heads together. */
  C: number;
  NH: number;
  /** Heads of keys and values, each shared by NH / NKV query heads in a row; NH by default. */
  NKV?: number;
  /** The keys that a query sees, its own included; all up to its own by default. */
  window?: number;
  /** (B, T): where in its row each token's document begins. No query sees a key before that. */
  starts?: Numbers;
}

/** Channels of a row of qkv: C of queries, then NKV heads of keys, then as many of values. */
const packedWidth = ({ C, NH, NKV = NH }: AttentionSizes) => C + (2 * NKV * C) / NH;

/** Where the query, key and value of head h at (b, t) start in the packed qkv. */
function heads(sizes: AttentionSizes, b: number, t: number, h: number) {
  const { T, C, NH, NKV = NH } = sizes;
  const D = C / NH;
  const row = (b * T + t) * packedWidth(sizes);
  const key = row + C + Math.floor((h * NKV) / NH) * D;
  return { query: row + h * D, key, value: key + NKV * D };
}

/** The first key that query t of sequence b sees. */
function firstKey(sizes: AttentionSizes, b: number, t: number): number {
  const { T, window = Number.POSITIVE_INFINITY, starts } = sizes;
  return Math.max(starts?.[b * T + t] ?? 0, t - window + 1);
}

/** The dot product of a[i .. i + D] and b[j .. j + D]. */
function dot(a: Numbers, i: number, b: Numbers, j: number, D: number): number {
  let sum = 0;
  for (let d = 0; d < D; d++) sum += a[i + d] * b[j + d];
  return sum;
}

/**
 * Causal attention. qkv (B, T, C + 2 · NKV · D) holds q | k | v in each row, and each of those its
 * heads one after the other.
 *
 *     s_tj = q_t · k_j / √D for t − window < j ≤ t and start_t ≤ j
 *     lse_t = ln Σ_j exp s_tj                    (B, NH, T)
 *     output_t = Σ_j exp(s_tj − lse_t) v_j       (B, T, C)
 */
export function attention(
  qkv: Numbers,
  sizes: AttentionSizes,
): { output: Float64Array; lse: Float64Array } {
  const { B, T, C, NH } = sizes;
  const D = C / NH;
  if (!Number.isInteger(D))
    throw new Error(
      `attention: C = ${C} is not a multiple of NH = ${NH}. Every head takes C / NH channels.`,
    );
  expectLength('attention', 'qkv', qkv, B * T * packedWidth(sizes));
  const output = new Float64Array(B * T * C);
  const lse = new Float64Array(B * NH * T);
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < NH; h++) {
      for (let t = 0; t < T; t++) {
        const { query } = heads(sizes, b, t, h);
        const first = firstKey(sizes, b, t);
        const scores = Array.from(
          { length: t + 1 - first },
          (_, i) => dot(qkv, query, qkv, heads(sizes, b, first + i, h).key, D) / Math.sqrt(D),
        );
        const sum = logSumExp(scores);
        lse[(b * NH + h) * T + t] = sum;
        for (let j = first; j <= t; j++) {
          const { value } = heads(sizes, b, j, h);
          const p = Math.exp(scores[j - first] - sum);
          for (let d = 0; d < D; d++) output[(b * T + t) * C + h * D + d] += p * qkv[value + d];
        }
      }
    }
  }
  return { output, lse };
}

/**
 * Attention of the token at `position`, whose packed qkv is (C + 2 · NKV · D), to what is kept of
 * those before it: kept (T, 2 · NKV · D) has the keys and then the values of each.
 *
 *     s_j = q · k_j / √D for position − window < j ≤ position
 *     output = Σ_j softmax(s)_j v_j              (C)
 *
 * Also returns what is then kept: the same, with the token's own k | v at its position.
 */
export function attentionNext(
  qkv: Numbers,
  kept: Numbers,
  position: number,
  sizes: Omit<AttentionSizes, 'B' | 'T'>,
): { output: Float64Array; kept: Float64Array } {
  const { C, NH, NKV = NH, window = Number.POSITIVE_INFINITY } = sizes;
  const D = C / NH;
  const width = 2 * NKV * D;
  const all = Float64Array.from(kept);
  for (let i = 0; i < width; i++) all[position * width + i] = qkv[C + i];
  const output = new Float64Array(C);
  for (let h = 0; h < NH; h++) {
    const head = Math.floor((h * NKV) / NH) * D;
    const key = (j: number) => j * width + head;
    const seen = Array.from({ length: position + 1 }, (_, j) => j).filter(
      (j) => j > position - window,
    );
    const scores = seen.map((j) => dot(qkv, h * D, all, key(j), D) / Math.sqrt(D));
    const lse = logSumExp(scores);
    for (const [i, j] of seen.entries()) {
      const p = Math.exp(scores[i] - lse);
      for (let d = 0; d < D; d++) output[h * D + d] += p * all[key(j) + NKV * D + d];
    }
  }
  return { output, kept: all };
}

/**
 * The bug of splitting heads with `reshape(B, NH, T, D)` where a transpose is needed, on x
 * (B, T, packed · C). Counted in runs of D elements, head h of token t is run t · NH + h of its
 * sequence; the reshape takes run h · T + t in its place. `back` is the inverse.
 */
export function reshapeHeads(
  x: Numbers,
  { B, T, C, NH }: AttentionSizes,
  packed: 1 | 3,
  direction: 'there' | 'back' = 'there',
): Float64Array {
  expectLength('reshapeHeads', 'x', x, B * T * packed * C);
  const D = C / NH;
  const result = new Float64Array(x.length);
  const at = (b: number, t: number, i: number, h: number) => ((b * T + t) * packed + i) * C + h * D;
  for (let b = 0; b < B; b++) {
    for (let i = 0; i < packed; i++) {
      for (let h = 0; h < NH; h++) {
        for (let t = 0; t < T; t++) {
          const run = h * T + t;
          const straight = at(b, Math.floor(run / NH), i, run % NH);
          const reshaped = at(b, t, i, h);
          const [from, to] = direction === 'there' ? [straight, reshaped] : [reshaped, straight];
          for (let d = 0; d < D; d++) result[to + d] = x[from + d];
        }
      }
    }
  }
  return result;
}

/**
 * Backward of `attention`: doutput (B, T, C) → dqkv. A key gets the sum over the query heads that
 * share it.
 *
 *     p_tj = exp(s_tj − lse_t), dp_tj = doutput_t · v_j
 *     ds_tj = p_tj (dp_tj − Σ_i p_ti dp_ti)
 *     dq_t += ds_tj k_j / √D, dk_j += ds_tj q_t / √D, dv_j += p_tj doutput_t
 */
export function attentionBackward(
  doutput: Numbers,
  qkv: Numbers,
  sizes: AttentionSizes,
): Float64Array {
  const { B, T, C, NH } = sizes;
  const D = C / NH;
  expectLength('attentionBackward', 'doutput', doutput, B * T * C);
  const { lse } = attention(qkv, sizes);
  const dqkv = new Float64Array(qkv.length);
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < NH; h++) {
      for (let t = 0; t < T; t++) {
        const { query } = heads(sizes, b, t, h);
        const out = (b * T + t) * C + h * D;
        const p: number[] = [];
        const dp: number[] = [];
        const first = firstKey(sizes, b, t);
        for (let j = first; j <= t; j++) {
          const { key, value } = heads(sizes, b, j, h);
          p.push(Math.exp(dot(qkv, query, qkv, key, D) / Math.sqrt(D) - lse[(b * NH + h) * T + t]));
          dp.push(dot(doutput, out, qkv, value, D));
        }
        const mean = dot(p, 0, dp, 0, p.length);
        for (let j = first; j <= t; j++) {
          const { key, value } = heads(sizes, b, j, h);
          const ds = (p[j - first] * (dp[j - first] - mean)) / Math.sqrt(D);
          for (let d = 0; d < D; d++) {
            dqkv[value + d] += p[j - first] * doutput[out + d];
            dqkv[query + d] += ds * qkv[key + d];
            dqkv[key + d] += ds * qkv[query + d];
          }
        }
      }
    }
  }
  return dqkv;
}

/** ln Σ exp x. Subtracts the largest x first, so that no exponential overflows. */
export function logSumExp(x: Numbers): number {
  let largest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < x.length; i++) largest = Math.max(largest, x[i]);
  if (!Number.isFinite(largest)) return largest;
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += Math.exp(x[i] - largest);
  return largest + Math.log(sum);
}
