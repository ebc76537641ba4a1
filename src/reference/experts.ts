// A layer with experts: a router chooses k of E perceptrons for each token and weighs what they
// make of it. Each backward follows its forward.

import { add, expectLength, matmul, type Numbers } from './arrays';
import { swiglu, swigluBackward } from './llama-layers';

export interface RouterSizes {
  E: number;
  k: number;
  /** Whether a token's weights are divided by their sum. */
  normalised: boolean;
  /** p of logits: softmax by default, or of each by itself. */
  score?: 'softmax' | 'sigmoid';
  /** The weights are multiplied by it; 1 by default. */
  scale?: number;
}

export interface Route {
  logits: Numbers; // (N, E)
  p: Float64Array; // (N, E): softmax or sigmoid of the logits
  chosen: Uint32Array; // (N, k)
  weights: Float64Array; // (N, k)
}

/**
 * The k experts of each token with the largest p + bias, of equal ones the lower, and their
 * weights: p of the chosen, or that divided by its sum over them, times a scale. p is the softmax
 * of the logits, or the sigmoid of each.
 * @param logits (N, E)
 * @param bias (E), which counts for the choice alone; 0 by default
 */
export function route(
  logits: Numbers,
  { E, k, normalised, score = 'softmax', scale = 1 }: RouterSizes,
  bias?: Numbers,
): Route {
  const N = logits.length / E;
  const result = {
    logits,
    p: new Float64Array(N * E),
    chosen: new Uint32Array(N * k),
    weights: new Float64Array(N * k),
  };
  for (let n = 0; n < N; n++) {
    const row = Array.from({ length: E }, (_, e) => logits[n * E + e]);
    const largest = Math.max(...row);
    const exponentials = row.map((logit) => Math.exp(logit - largest));
    const total = exponentials.reduce((a, b) => a + b);
    const p =
      score === 'sigmoid'
        ? row.map((logit) => 1 / (1 + Math.exp(-logit)))
        : exponentials.map((value) => value / total);
    const order = p.map((value, e) => value + (bias?.[e] ?? 0));
    const chosen = p
      .map((_, e) => e)
      .sort((a, b) => order[b] - order[a] || a - b)
      .slice(0, k);
    const sum = normalised ? chosen.reduce((a, e) => a + p[e], 0) : 1;
    result.p.set(p, n * E);
    result.chosen.set(chosen, n * k);
    result.weights.set(
      chosen.map((e) => (scale * p[e]) / sum),
      n * k,
    );
  }
  return result;
}

/**
 * How the experts are used by the tokens that count: 1 for each expert that a token chose, and the
 * entropy −Σ p ln p of its probabilities, made to add up to 1. 0 for the other tokens.
 * @returns (N, E + 1)
 */
export function expertUse(
  { p, chosen }: Pick<Route, 'p' | 'chosen'>,
  counts: readonly boolean[],
): Float64Array {
  const N = counts.length;
  const [E, k] = [p.length / N, chosen.length / N];
  const uses = new Float64Array(N * (E + 1));
  for (let n = 0; n < N; n++) {
    if (!counts[n]) continue;
    const own = uses.subarray(n * (E + 1), (n + 1) * (E + 1));
    for (const e of chosen.subarray(n * k, (n + 1) * k)) own[e] = 1;
    const row = p.subarray(n * E, (n + 1) * E);
    const total = row.reduce((a, b) => a + b);
    for (const value of row) if (value > 0) own[E] -= (value / total) * Math.log(value / total);
  }
  return uses;
}

/**
 * Backward of `route`: dweights (N, k) → dlogits (N, E). The choice itself has no gradient:
 *
 *     dp = scale · dw for a chosen expert, 0 for the others; (scale · dw − Σ dw · w) / Σ p of the
 *          chosen where weights are normalised
 *     dlogits = p · (dp − Σ dp · p), of sigmoids p · (1 − p) · dp
 */
export function routeBackward(
  dweights: Numbers,
  { p, chosen, weights }: Route,
  { E, k, normalised, score = 'softmax', scale = 1 }: RouterSizes,
): Float64Array {
  expectLength('routeBackward', 'dweights', dweights, chosen.length);
  const N = chosen.length / k;
  const dlogits = new Float64Array(N * E);
  for (let n = 0; n < N; n++) {
    const dp = new Float64Array(E);
    let [S, along] = normalised ? [0, 0] : [1, 0];
    for (let j = n * k; normalised && j < (n + 1) * k; j++) {
      S += p[n * E + chosen[j]];
      along += dweights[j] * weights[j];
    }
    for (let j = n * k; j < (n + 1) * k; j++) dp[chosen[j]] = (scale * dweights[j] - along) / S;
    let mean = 0;
    for (let e = 0; e < E; e++) mean += dp[e] * p[n * E + e];
    for (let e = 0; e < E; e++) {
      const value = p[n * E + e];
      dlogits[n * E + e] =
        score === 'sigmoid' ? value * (1 - value) * dp[e] : value * (dp[e] - mean);
    }
  }
  return dlogits;
}

/** How many tokens chose each expert, (E). */
export function expertLoads(chosen: Iterable<number>, E: number): Float64Array {
  const loads = new Float64Array(E);
  for (const e of chosen) loads[e]++;
  return loads;
}

/**
 * The bias (E) of a router's choice after a step in which so many tokens chose each expert. It
 * balances the experts without a loss:
 *
 *     bias_e + rate · sign(mean load − load_e)
 */
export function movedBias(bias: Numbers, loads: Float64Array, rate: number): Float64Array {
  const mean = loads.reduce((a, b) => a + b) / loads.length;
  return loads.map((load, e) => bias[e] + rate * Math.sign(mean - load));
}

/** What a layer's router made of N tokens. */
export type Routed = Pick<Route, 'logits' | 'chosen'> & {
  /** (N, E): the logits of the teacher's router. */
  teacher?: Numbers;
};

/** What the losses of routers are multiplied by in the total. */
export interface RouterWeights {
  balance: number;
  z: number;
  kd?: number;
}

/**
 * The losses of routers, over the M tokens of all layers:
 *
 *     balance = E Σ f P     f: the share of the tokens that chose an expert, P: its mean p
 *     z = mean lse²         lse = ln Σ exp(logits)
 *     kd = mean Σ t (ln t − ln p)     t = softmax of the teacher's router; 0 without one
 */
export function routerLosses(
  layers: readonly Routed[],
  { E }: Pick<RouterSizes, 'E'>,
): { balance: number; z: number; kd: number } {
  const tokens = layers.flatMap(({ logits }) => rowsOf(logits, E));
  const M = tokens.length;
  const f = sharesOf(layers, E);
  const mean = (of: (row: number[]) => number) => tokens.reduce((sum, row) => sum + of(row), 0) / M;
  const P = f.map((_, e) => mean((row) => Math.exp(row[e] - logSumExp(row))));
  return {
    balance: E * f.reduce((sum, share, e) => sum + share * P[e], 0),
    z: mean((row) => logSumExp(row) ** 2),
    kd:
      layers.reduce((sum, { logits, teacher = logits }) => {
        const [student, taught] = [rowsOf(logits, E), rowsOf(teacher, E)].map((rows) =>
          rows.map((row) => row.map((value) => value - logSumExp(row))),
        );
        const terms = taught.flatMap((row, n) =>
          row.map((log, e) => Math.exp(log) * (log - student[n][e])),
        );
        return sum + terms.reduce((a, b) => a + b, 0);
      }, 0) / M,
  };
}

/**
 * Backward of weights.balance · balance + weights.z · z + weights.kd · kd: dlogits (N, E) of each
 * layer. The choice itself has no gradient, so f is a constant.
 *
 *     dbalance/dlogits = E/M · p · (f − Σ f p)
 *     dz/dlogits = 2/M · lse · p
 *     dkd/dlogits = 1/M · (p − t)
 */
export function routerLossesBackward(
  layers: readonly Routed[],
  { E }: Pick<RouterSizes, 'E'>,
  weights: RouterWeights,
): Float64Array[] {
  const M = layers.reduce((sum, { logits }) => sum + logits.length / E, 0);
  const f = sharesOf(layers, E);
  return layers.map(({ logits, teacher = logits }) =>
    Float64Array.from(
      rowsOf(logits, E).flatMap((row, n) => {
        const taught = rowOf(teacher, n, E);
        const t = taught.map((logit) => Math.exp(logit - logSumExp(taught)));
        const lse = logSumExp(row);
        const p = row.map((logit) => Math.exp(logit - lse));
        const along = p.reduce((sum, value, e) => sum + value * f[e], 0);
        return p.map(
          (value, e) =>
            (value * (weights.balance * E * (f[e] - along) + weights.z * 2 * lse) +
              (weights.kd ?? 0) * (value - t[e])) /
            M,
        );
      }),
    ),
  );
}

const rowsOf = (x: Numbers, width: number): number[][] =>
  Array.from({ length: x.length / width }, (_, n) => rowOf(x, n, width));

function logSumExp(row: readonly number[]): number {
  const largest = Math.max(...row);
  return largest + Math.log(row.reduce((sum, value) => sum + Math.exp(value - largest), 0));
}

/** f (E): the share of all layers' tokens that chose each expert. */
function sharesOf(layers: readonly Routed[], E: number): number[] {
  const M = layers.reduce((sum, { logits }) => sum + logits.length / E, 0);
  const chosen = layers.flatMap((layer) => Array.from(layer.chosen));
  return Array.from({ length: E }, (_, e) => chosen.filter((at) => at === e).length / M);
}

export interface ExpertsSizes extends RouterSizes {
  C: number;
  /** The width of one expert. */
  F: number;
  /** The width of the one that all tokens share besides; 0 without one. */
  shared?: number;
}

/** A matrix's values: of `gate`, the router, or of `experts.0.gate_proj` and so on. */
type Matrix = (name: string) => Numbers;

/** What an expert makes of a token x (C): down · swiglu(gate · x | up · x). */
function expert(x: Numbers, name: string, [C, F]: [number, number], matrix: Matrix) {
  const linear = (input: Numbers, part: string, from: number, to: number) =>
    matmul(input, matrix(`${name}.${part}_proj`), 1, from, to, { transposeB: true });
  const wide = Float64Array.from([...linear(x, 'gate', C, F), ...linear(x, 'up', C, F)]);
  const active = swiglu(wide, F);
  return { wide, active, y: linear(active, 'down', F, C) };
}

const rowOf = (x: Numbers, n: number, C: number): number[] =>
  Array.from({ length: C }, (_, c) => x[n * C + c]);

/** Which experts see each token, by name, and what theirs is multiplied by. */
function assignments({ chosen, weights }: Route, { k, F, shared = 0 }: ExpertsSizes, N: number) {
  const routed = Array.from(chosen, (e, i) => ({
    n: Math.floor(i / k),
    name: `experts.${e}`,
    F,
    choice: i,
    weight: weights[i],
  }));
  const others = Array.from({ length: shared > 0 ? N : 0 }, (_, n) => ({
    n,
    name: 'shared_experts',
    F: shared,
    choice: undefined,
    weight: 1,
  }));
  return [...routed, ...others];
}

/**
 * y (N, C) = Σ weight · expert(x) over the chosen experts of each row of x (N, C), and the shared
 * one's. `bias` (E): see `route`.
 */
export function experts(
  x: Numbers,
  sizes: ExpertsSizes,
  matrix: Matrix,
  bias?: Numbers,
): { y: Float64Array; route: Route } {
  const { E, C } = sizes;
  const N = x.length / C;
  const logits = matmul(x, matrix('gate'), N, C, E, { transposeB: true });
  const chosen = route(logits, sizes, bias);
  const y = new Float64Array(x.length);
  for (const { n, name, F, weight } of assignments(chosen, sizes, N)) {
    const made = expert(rowOf(x, n, C), name, [C, F], matrix);
    for (let c = 0; c < C; c++) y[n * C + c] += weight * made.y[c];
  }
  return { y, route: chosen };
}

/**
 * Backward of `experts`: dy (N, C) → dx (N, C). `accumulate` receives the gradients of matrices,
 * token by token. `dlogits` (N, E) is what a loss of the router adds to its gradient.
 */
export function expertsBackward(
  dy: Numbers,
  x: Numbers,
  chosen: Route,
  sizes: ExpertsSizes,
  {
    matrix,
    accumulate,
    dlogits: own,
  }: {
    matrix: Matrix;
    accumulate(name: string, d: Float64Array): void;
    dlogits?: Float64Array;
  },
): Float64Array {
  const { E, k, C } = sizes;
  const N = x.length / C;
  const dx = new Float64Array(x.length);
  const dweights = new Float64Array(N * k);
  for (const { n, name, F, choice, weight } of assignments(chosen, sizes, N)) {
    const [row, drow] = [rowOf(x, n, C), rowOf(dy, n, C)];
    const { wide, active, y } = expert(row, name, [C, F], matrix);
    // y += weight · expert(x)
    if (choice !== undefined) dweights[choice] = drow.reduce((sum, d, c) => sum + d * y[c], 0);
    const dmade = drow.map((d) => weight * d);
    // expert(x) = down · active
    accumulate(`${name}.down_proj`, matmul(dmade, active, C, 1, F));
    const dactive = matmul(dmade, matrix(`${name}.down_proj`), 1, C, F);
    // active = swiglu(gate · x | up · x)
    const dwide = swigluBackward(dactive, wide, F);
    for (const [j, part] of ['gate', 'up'].entries()) {
      const d = dwide.slice(j * F, (j + 1) * F);
      accumulate(`${name}.${part}_proj`, matmul(d, row, F, 1, C));
      const back = matmul(d, matrix(`${name}.${part}_proj`), 1, F, C);
      for (let c = 0; c < C; c++) dx[n * C + c] += back[c];
    }
  }
  // logits = x · gateᵀ
  const through = routeBackward(dweights, chosen, sizes);
  const dlogits = own ? add(through, own) : through;
  accumulate('gate', matmul(dlogits, x, E, N, C, { transposeA: true }));
  return add(dx, matmul(dlogits, matrix('gate'), N, E, C));
}
