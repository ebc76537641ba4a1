// The checks of what layers with experts need: the router, the sorted rows, and products in which
// each row meets its expert's matrix. One expert gets no row, and rows fill no workgroup evenly.

import type { Gpu } from '../gpu/device';
import type { Tensor } from '../gpu/program';
import {
  expertCombine,
  expertCombineBackward,
  expertGather,
  expertOrder,
  expertUse,
  type Route,
  route,
  routeBackward,
} from '../kernels/experts';
import { matmul } from '../kernels/matmul';
import { type MatmulVariant, variantsFor } from '../kernels/matmul_variants';
import { expertLoads, moveRouterBias } from '../kernels/router_bias';
import { routerLosses, routerLossesBackward } from '../kernels/router_losses';
import { SCALER, STEP } from '../kernels/sources';
import { transposed } from '../kernels/tensors';
import * as reference from '../reference';
import { type Check, check, EXACT, stored16, summed, type Tolerance } from './check';
import { type Storage, stored, structValues } from './tensors';

const { numbers } = reference;

const [ROWS, E, K, C] = [37, 5, 2, 20];
const CHOICES = ROWS * K;
const SIZES = `rows=${ROWS} E=${E} k=${K} C=${C}`;
const layout = 'contiguous';
/** A label that does not count. */
const IGNORED = -100;
const SOFTMAX: Tolerance = {
  value: 1e-5,
  reason: 'Exponentials are off by (3 + 2 |x|) 2^-23, and a quotient has two sums of them.',
};

/** No row chooses expert 3; in the first rows experts are equally probable. */
const LOGITS = stored(
  numbers(ROWS * E, 1).map((value, i) => (i % E === 3 ? -20 : i < 3 * E ? i % 2 : 3 * value)),
  'f32',
);
const sizesOf = (normalised: boolean) => ({ E, k: K, normalised });
/** By which the experts of routers with sigmoids are chosen; other experts than without it. */
const BIAS = stored([0.3, -0.2, 0.1, 0.5, 0], 'f32');
const routeOf = (normalised: boolean) => reference.route(LOGITS, sizesOf(normalised));
/** The f32 numbers with the bits of integers: as which u32 tensors are read back. */
const bitsOf = (values: Iterable<number>) => new Float32Array(Uint32Array.from(values).buffer);

/** The choices in the order of their experts, and where each expert's begin. */
function sorted() {
  const { chosen } = routeOf(false);
  const order = Array.from(chosen, (_, i) => i).sort((a, b) => chosen[a] - chosen[b] || a - b);
  const places = order.map((_, choice) => order.indexOf(choice));
  const starts = Array.from({ length: E + 1 }, (_, e) => chosen.filter((at) => at < e).length);
  return { chosen, order, places, starts };
}
const SORTED = sorted();

const u32 = (values: ArrayLike<number>, layout: number[]) => ({
  values,
  layout,
  dtype: 'u32' as const,
});
const zeros = (...layout: number[]) => ({
  values: new Float64Array(layout.reduce((a, b) => a * b)),
  layout,
});
const ORDER = {
  starts: u32(SORTED.starts, [E + 1]),
  order: u32(SORTED.order, [CHOICES]),
  places: u32(SORTED.places, [ROWS, K]),
};
const noOrder = {
  starts: u32(zeros(E + 1).values, [E + 1]),
  order: u32(zeros(CHOICES).values, [CHOICES]),
  places: u32(zeros(CHOICES).values, [ROWS, K]),
};

/** f32 alone, whatever a model is stored as, but for the copy of a bias. */
export const routerChecks = (dtype: Storage): Check[] => [
  ...(dtype === 'f32'
    ? [...ROUTERS.flatMap(router), orderCheck(), usesCheck(), lossesCheck()]
    : []),
  biasCheck(dtype),
];

const ROUTERS = [
  { normalised: true },
  { normalised: false },
  { normalised: true, sigmoid: true, scale: 2.5 },
];

function router({ normalised, sigmoid = false, scale = 1 }: (typeof ROUTERS)[number]): Check[] {
  const modes = [normalised && 'normalised', sigmoid && 'sigmoid and bias'].filter(Boolean);
  const kernel = ['route', ...modes].join(', ');
  const sizes = { ...sizesOf(normalised), scale, score: sigmoid ? 'sigmoid' : 'softmax' } as const;
  const expected = reference.route(LOGITS, sizes, sigmoid ? BIAS : undefined);
  const dweights = stored(numbers(CHOICES, 2), 'f32');
  const common = { sizes: SIZES, dtype: 'f32', layout } as const;
  const inputs = {
    p: { values: expected.p, layout: [ROWS, E] },
    chosen: u32(expected.chosen, [ROWS, K]),
    weights: { values: expected.weights, layout: [ROWS, K] },
  };
  return [
    check({
      ...common,
      kernel,
      inputs: {
        logits: { values: LOGITS, layout: [ROWS, E] },
        p: zeros(ROWS, E),
        chosen: u32(new Float64Array(CHOICES).fill(E), [ROWS, K]),
        weights: zeros(ROWS, K),
        bias: { values: BIAS, layout: [E] },
      },
      record(recorder, { logits, bias, ...to }) {
        const mode = { normalised, sigmoid, scale, bias: sigmoid ? bias : undefined };
        route(recorder, logits, { ...to, ...mode });
      },
      outputs: [
        { tensor: 'p', expected: expected.p, tolerance: SOFTMAX },
        { tensor: 'chosen', expected: bitsOf(expected.chosen), tolerance: EXACT },
        { tensor: 'weights', expected: expected.weights, tolerance: SOFTMAX },
      ],
    }),
    check({
      ...common,
      kernel: kernel.replace('route', 'route_backward'),
      inputs: {
        ...inputs,
        dweights: { values: dweights, layout: [ROWS, K] },
        dlogits: zeros(ROWS, E),
      },
      record: (recorder, tensors) =>
        routeBackward(recorder, { ...tensors, normalised, sigmoid, scale }, tensors),
      outputs: [
        {
          tensor: 'dlogits',
          expected: reference.routeBackward(dweights, expected, sizes),
          tolerance: summed(4 * K),
        },
      ],
    }),
  ];
}

const orderCheck = (): Check =>
  check({
    kernel: 'expert_order',
    sizes: SIZES,
    dtype: 'f32',
    layout,
    inputs: { chosen: u32(SORTED.chosen, [ROWS, K]), ...noOrder },
    record: (recorder, { chosen, ...order }) => expertOrder(recorder, chosen, order),
    outputs: [
      { tensor: 'starts', expected: bitsOf(SORTED.starts), tolerance: EXACT },
      { tensor: 'order', expected: bitsOf(SORTED.order), tolerance: EXACT },
      { tensor: 'places', expected: bitsOf(SORTED.places), tolerance: EXACT },
    ],
  });

/** Sequences of 9 tokens, the last of which predicts nothing; some labels are ignored. */
function usesCheck(): Check {
  const [B, T] = [4, 9];
  const rows = B * T;
  const { p, chosen } = routeOf(false);
  const some = { p: p.slice(0, rows * E), chosen: chosen.slice(0, rows * K) };
  const labels = Array.from({ length: rows }, (_, i) => (i % 7 === 5 ? IGNORED : i));
  const counts = labels.map((_, i) => (i + 1) % T !== 0 && labels[i + 1] !== IGNORED);
  return check({
    kernel: 'expert_use',
    sizes: `rows=${B}×${T} E=${E} k=${K}`,
    dtype: 'f32',
    layout,
    inputs: {
      p: { values: some.p, layout: [rows, E] },
      chosen: u32(some.chosen, [rows, K]),
      labels: { values: labels, layout: [B, T], dtype: 'i32' },
      uses: { values: new Float64Array(rows * (E + 1)).fill(2), layout: [rows, E + 1] },
      first: u32(new Float64Array(rows).fill(E), [rows]),
    },
    record: (recorder, { labels, uses, first, ...made }) =>
      expertUse(recorder, made as Route, labels, { uses, first }, { ignoreIndex: IGNORED }),
    outputs: [
      {
        tensor: 'uses',
        expected: reference.expertUse(some, counts),
        tolerance: SOFTMAX,
      },
      {
        tensor: 'first',
        expected: bitsOf(some.chosen.filter((_, i) => i % K === 0)),
        tolerance: EXACT,
      },
    ],
  });
}

/** Two layers, and loss weights that are large enough to show in the gradient. */
function lossesCheck(): Check {
  const weights = { balance: 0.7, z: 0.3, kd: 0.5 };
  const scale = 64;
  const [first, second] = [LOGITS, LOGITS.map((value) => value / 2 + 0.5)];
  const chosen = [first, second].map((logits) => reference.route(logits, sizesOf(false)).chosen);
  // A layer with a teacher's router, and one without, which adds nothing to the divergence.
  const teacher = stored(numbers(ROWS * E, 4), 'f32');
  const layers = [first, second].map((logits, i) => ({
    logits,
    chosen: chosen[i],
    ...(i === 1 && { teacher }),
  }));
  const { balance, z, kd } = reference.routerLosses(layers, { E });
  const before = stored(numbers(ROWS * E, 3), 'f32');
  const gradient = reference.routerLossesBackward(layers, { E }, weights)[1];
  const step = structValues(STEP, {
    router_balance: weights.balance,
    router_z: weights.z,
    router_kd: weights.kd,
  });
  return check({
    kernel: 'router_terms, router_losses, router_losses_backward',
    sizes: `${SIZES}, 2 layers`,
    dtype: 'f32',
    layout,
    inputs: {
      first: { values: first, layout: [ROWS, E] },
      second: { values: second, layout: [ROWS, E] },
      firstChosen: u32(chosen[0], [ROWS, K]),
      secondChosen: u32(chosen[1], [ROWS, K]),
      zero: zeros(1),
      sums: { values: [1, 2, 3, 4, 5], layout: [5] },
      teacher: { values: teacher, layout: [ROWS, E] },
      dlogits: { values: before, layout: [ROWS, E] },
      step: { values: step, layout: [STEP.fields.length] },
      scaler: { values: structValues(SCALER, { scale }), layout: [SCALER.fields.length] },
    },
    record(recorder, t) {
      const layers = [
        { logits: t.first, chosen: t.firstChosen },
        { logits: t.second, chosen: t.secondChosen, teacher: t.teacher },
      ];
      const statistics = routerLosses(recorder, layers, { sums: t.sums, zero: t.zero, first: 2 });
      const places = { step: t.step.place, scaler: t.scaler.place };
      routerLossesBackward(recorder, layers[1], statistics, t.dlogits, places);
    },
    outputs: [
      { tensor: 'sums', expected: [1, 2, 3 + balance, 4 + z, 5 + kd], tolerance: summed(2 * ROWS) },
      {
        tensor: 'dlogits',
        expected: gradient.map((value, i) => before[i] + scale * value),
        tolerance: summed(2 * ROWS),
      },
    ],
  });
}

/** After a good step and after a bad one, which must not move it. The mean load is one expert's. */
function biasCheck(dtype: Storage): Check {
  const rate = 0.01;
  const before = Array.from(reference.expertLoads(SORTED.chosen, E));
  const all = before.reduce((a, b) => a + b);
  // Of an earlier batch: the first expert then has the mean.
  const earlier = [0, 0, 0, 0, E * before[0] - all];
  const loads = Float64Array.from(before, (load, e) => load + earlier[e]);
  const expected = reference.movedBias(BIAS, loads, rate);
  const scaler = (apply: number) => ({
    values: structValues(SCALER, { apply }),
    layout: [SCALER.fields.length],
  });
  return check({
    kernel: 'expert_loads, router_bias',
    sizes: `E=${E}`,
    dtype,
    layout,
    inputs: {
      starts: u32(SORTED.starts, [E + 1]),
      loads: u32(earlier, [E]),
      good: scaler(1),
      bad: scaler(0),
      moved: { values: BIAS, layout: [E] },
      copy: { values: BIAS, layout: [E], dtype: 'f16' },
      kept: { values: BIAS, layout: [E] },
    },
    record(recorder, { starts, loads, good, bad, moved, copy, kept }) {
      expertLoads(recorder, { starts }, loads);
      const places = { bias: moved, weights: dtype === 'f16' ? copy : undefined };
      moveRouterBias(recorder, loads, places, good.place, { rate });
      moveRouterBias(recorder, loads, { bias: kept }, bad.place, { rate });
    },
    outputs: [
      { tensor: 'loads', expected: bitsOf(loads), tolerance: EXACT },
      { tensor: 'moved', expected, tolerance: summed(2) },
      {
        tensor: 'copy',
        expected: stored(dtype === 'f16' ? expected : BIAS, 'f16'),
        tolerance: dtype === 'f16' ? stored16(summed(2), 'f16') : EXACT,
      },
      { tensor: 'kept', expected: BIAS, tolerance: EXACT },
    ],
  });
}

/** Rows to their experts and back. */
export function expertRowChecks(dtype: Storage): Check[] {
  const common = { sizes: SIZES, dtype, layout } as const;
  const rowOf = (x: ArrayLike<number>, row: number) => Array.from(x).slice(row * C, (row + 1) * C);
  const [x, dy, addend] = [1, 2, 3].map((salt) => stored(numbers(ROWS * C, salt), dtype));
  const made = stored(numbers(CHOICES * C, 4), dtype);
  const weights = stored(routeOf(false).weights, 'f32');
  const { order, places } = SORTED;
  const rows = (values: ArrayLike<number>) => ({ values, layout: [ROWS, C], dtype });
  const choices = (values: ArrayLike<number>) => ({ values, layout: [CHOICES, C], dtype });

  const gathered = order.flatMap((choice) => rowOf(x, Math.floor(choice / K)));
  /** Σ of what a row's experts make of it, by element. */
  const combined = (weightOf: (choice: number) => number, plus: ArrayLike<number>) =>
    Array.from(plus, (value, i) => {
      const row = Math.floor(i / C);
      const parts = Array.from({ length: K }, (_, j) => row * K + j).map(
        (choice) => weightOf(choice) * made[places[choice] * C + (i % C)],
      );
      return parts.reduce((a, b) => a + b, value);
    });
  const dmade = order.flatMap((choice) =>
    rowOf(dy, Math.floor(choice / K)).map((d) => weights[choice] * d),
  );
  const dweights = places.map((place, choice) => {
    const d = rowOf(dy, Math.floor(choice / K));
    return rowOf(made, place).reduce((sum, value, c) => sum + value * d[c], 0);
  });
  return [
    check({
      ...common,
      kernel: 'expert_gather',
      inputs: { ...ORDER, x: rows(x), y: choices(new Float64Array(CHOICES * C)) },
      record: (recorder, { x, y, ...order }) => expertGather(recorder, x, order, y),
      outputs: [{ tensor: 'y', expected: gathered, tolerance: EXACT }],
    }),
    check({
      ...common,
      kernel: 'expert_combine, weights + addend',
      inputs: {
        ...ORDER,
        x: choices(made),
        y: rows(new Float64Array(ROWS * C)),
        weights: { values: weights, layout: [ROWS, K] },
        addend: rows(addend),
      },
      record: (recorder, { x, y, weights, addend, ...order }) =>
        expertCombine(recorder, x, order, y, { weights, addend }),
      outputs: [
        {
          tensor: 'y',
          expected: combined((choice) => weights[choice], addend),
          tolerance: summed(K + 1, dtype),
        },
      ],
    }),
    check({
      ...common,
      kernel: 'expert_combine',
      inputs: { ...ORDER, x: choices(made), y: rows(new Float64Array(ROWS * C)) },
      record: (recorder, { x, y, ...order }) => expertCombine(recorder, x, order, y),
      outputs: [
        {
          tensor: 'y',
          expected: combined(() => 1, new Float64Array(ROWS * C)),
          tolerance: summed(K, dtype),
        },
      ],
    }),
    check({
      ...common,
      kernel: 'expert_combine_backward',
      inputs: {
        ...ORDER,
        x: choices(made),
        weights: { values: weights, layout: [ROWS, K] },
        dy: rows(dy),
        dx: choices(new Float64Array(CHOICES * C)),
        dweights: zeros(ROWS, K),
      },
      record: (recorder, { x, weights, dy, dx, dweights, ...order }) =>
        expertCombineBackward(recorder, { x, weights }, order, { dy, dx, dweights }),
      outputs: [
        { tensor: 'dx', expected: dmade, tolerance: summed(1, dtype) },
        { tensor: 'dweights', expected: dweights, tolerance: summed(C) },
      ],
    }),
  ];
}

/**
 * The products of a layer's experts, by one variant of each file that the adapter can run: what the
 * other variants of the file do differently has nothing to do with experts.
 */
export function expertProductChecks(dtype: Storage, gpu: Gpu): Check[] {
  const variants = new Map(variantsFor(gpu).map((variant) => [variant.file, variant]));
  return [...variants.values()].flatMap((variant) => expertProducts(dtype, variant));
}

function expertProducts(dtype: Storage, variant: MatmulVariant): Check[] {
  // vec4 loads need multiples of 4, also of rows.
  const [rows, F] = variant.vec4Loads ? [CHOICES - 2, 36] : [CHOICES, 33];
  const starts = SORTED.starts.map((start) => Math.min(start, rows));
  const stride = F * C;
  const [x, dy] = [stored(numbers(rows * C, 1), dtype), stored(numbers(rows * F, 2), dtype)];
  const w = stored(numbers(E * stride, 3), dtype);
  const before = stored(numbers(E * stride, 4), 'f32');
  const common = { sizes: `rows=${rows} E=${E} C=${C} F=${F}`, dtype, layout } as const;
  const inputs = {
    starts: u32(starts, [E + 1]),
    x: { values: x, layout: [rows, C], dtype },
    dy: { values: dy, layout: [rows, F], dtype },
    w: { values: w, layout: [E * F, C], dtype },
    dw: { values: before, layout: [E * F, C] },
    y: { values: new Float64Array(rows * F), layout: [rows, F], dtype },
    dx: { values: new Float64Array(rows * C), layout: [rows, C], dtype },
  };
  type Product = (
    count: number,
    e: { x: Float64Array; dy: Float64Array; w: Float64Array },
  ) => Float64Array;
  /** Each expert's product, one after the other; of magnitudes if `of` takes them. */
  const byExpert = (product: Product, of = (values: Float64Array) => values) =>
    Array.from({ length: E }, (_, e) => {
      const [first, end] = [starts[e], starts[e + 1]];
      return [
        ...product(end - first, {
          x: of(x.slice(first * C, end * C)),
          dy: of(dy.slice(first * F, end * F)),
          w: of(w.slice(e * stride, (e + 1) * stride)),
        }),
      ];
    }).flat();
  const both = (product: Product) => ({
    expected: byExpert(product),
    terms: byExpert(product, (values) => values.map(Math.abs)),
  });
  /** The first expert's matrix, bound with the others'. */
  const firstOf = (all: Tensor) => ({ ...all, layout: all.layout.narrow(0, 0, F) });
  const named = (what: string) => `matmul by expert, ${what}, ${variant.name}`;
  const sums = both((n, { x, dy }) => reference.matmul(dy, x, F, n, C, { transposeA: true }));
  const plus = (values: number[], of: (value: number) => number) =>
    values.map((value, i) => value + of(before[i]));
  const back = check({
    ...common,
    kernel: named('dy · w'),
    inputs,
    record: (recorder, { dy, w, dx, starts }) =>
      matmul(recorder, dy, firstOf(w), dx, {
        variant,
        experts: { starts, stride, sorted: 'rows' },
      }),
    outputs: [
      {
        tensor: 'dx',
        ...both((n, { dy, w }) => reference.matmul(dy, w, n, F, C)),
        tolerance: summed(F, dtype),
      },
    ],
  });
  return [
    // For the other variants it is the kernel of x · wᵀ.
    ...(variant.readsMemoryOrder ? [back] : []),
    check({
      ...common,
      kernel: named('x · wᵀ'),
      inputs,
      record: (recorder, { x, w, y, starts }) =>
        matmul(recorder, x, transposed(firstOf(w)), y, {
          variant,
          experts: { starts, stride, sorted: 'rows' },
        }),
      outputs: [
        {
          tensor: 'y',
          ...both((n, { x, w }) => reference.matmul(x, w, n, C, F, { transposeB: true })),
          tolerance: summed(C, dtype),
        },
      ],
    }),
    check({
      ...common,
      kernel: named('dw += dyᵀ · x'),
      inputs,
      record: (recorder, { dy, x, dw, starts }) =>
        matmul(recorder, transposed(dy), x, firstOf(dw), {
          variant,
          experts: { starts, stride, sorted: 'sums' },
        }),
      outputs: [
        {
          tensor: 'dw',
          expected: plus(sums.expected, (value) => value),
          terms: plus(sums.terms, Math.abs),
          tolerance: summed(rows),
        },
      ],
    }),
  ];
}
