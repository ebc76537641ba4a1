// The checks of GPT-2's layers, at small odd sizes that fill no workgroup evenly.

import type { Gpu } from '../gpu/device';
import { attention, attentionBackward } from '../kernels/attention';
import { attentionNext } from '../kernels/attention_next';
import { columnSum } from '../kernels/column_sum';
import { embedding, embeddingBackward } from '../kernels/embedding';
import { layerNorm, layerNormBackward } from '../kernels/layernorm';
import { matmul } from '../kernels/matmul';
import { type MatmulVariant, variantsFor } from '../kernels/matmul_variants';
import { transposed } from '../kernels/tensors';
import * as reference from '../reference';
import { Layout } from '../tensor/layout';
import { type Check, check, EXACT, type Input, stored16, summed, type Tolerance } from './check';
import { type Storage, stored } from './tensors';

const { numbers, add } = reference;

const GELU: Tolerance = {
  value: 3e-5,
  reason: 'WGSL lets tanh be off by 1e-5, and its derivative multiplies that by up to 3.',
};
const ATTENTION: Tolerance = {
  value: 2e-5,
  reason:
    'Exponentials are off by 2 |x| 2^-23 and more, logarithms by 2^-21: 1e-5 in all, ' +
    'and twice that in a quotient.',
};
const ATTENTION_BACKWARD: Tolerance = {
  value: 5e-5,
  reason: 'As for attention, and ds subtracts two sums of such terms.',
};

const contiguous = 'contiguous';

/** Every variant of the product that the adapter can run. */
export const matmulChecks = (dtype: Storage, gpu: Gpu, T?: number): Check[] =>
  variantsFor(gpu).flatMap((variant, i) => products(dtype, variant, i === 0, T));

/** The checks of one variant; `all` adds those of the variant that the others are compared with. */
function products(dtype: Storage, variant: MatmulVariant, all: boolean, T?: number): Check[] {
  const [rows, N, K] = variant.vec4Loads ? [20, 68, 36] : [17, 67, 33];
  // vec4 loads need multiples of 4.
  const M = variant.vec4Loads ? 4 * Math.ceil((T ?? rows) / 4) : (T ?? rows);
  const sizes = `(${M}, ${K}) · (${K}, ${N})`;
  const absolute = (values: Float64Array) => values.map(Math.abs);
  const a = stored(numbers(M * K, 1), dtype);
  const b = stored(numbers(K * N, 2), dtype);
  const [bias, addend] = [stored(numbers(N, 3), dtype), stored(numbers(M * N, 4), dtype)];
  const before = stored(numbers(M * N, 5), 'f32');

  /** A product of a and b, each stored as it is or transposed. */
  const product = (kernel: string, transposeA: boolean, transposeB: boolean): Check => {
    const multiply = (of: (values: Float64Array) => Float64Array) =>
      reference.matmul(of(a), of(b), M, K, N, { transposeA, transposeB });
    return check({
      kernel: `${kernel}, ${variant.name}`,
      sizes,
      dtype,
      layout: transposeA || transposeB ? 'transposed view' : contiguous,
      inputs: {
        a: { values: a, layout: transposeA ? [K, M] : [M, K], dtype },
        b: { values: b, layout: transposeB ? [N, K] : [K, N], dtype },
        c: { values: new Float64Array(M * N), layout: [M, N], dtype },
      },
      record: (recorder, tensors) =>
        matmul(
          recorder,
          transposeA ? transposed(tensors.a) : tensors.a,
          transposeB ? transposed(tensors.b) : tensors.b,
          tensors.c,
          { variant },
        ),
      outputs: [
        {
          tensor: 'c',
          expected: multiply((x) => x),
          terms: multiply(absolute),
          tolerance: summed(K, dtype),
        },
      ],
    });
  };

  /** A scaled product plus everything that can be added to it, into f32 as for weight gradients. */
  const accumulated = (): Check => {
    const scale = 0.75;
    const times = (value: number) => scale * value;
    const sum = (of: (values: Float64Array) => Float64Array) =>
      add(
        add(reference.matmul(of(a).map(times), of(b), M, K, N, { bias: of(bias) }), of(addend)),
        of(before),
      );
    return check({
      kernel: `scale · matmul + bias + addend + c, ${variant.name}`,
      sizes,
      dtype,
      layout: contiguous,
      inputs: {
        a: { values: a, layout: [M, K], dtype },
        b: { values: b, layout: [K, N], dtype },
        bias: { values: bias, layout: [N], dtype },
        addend: { values: addend, layout: [M, N], dtype },
        c: { values: before, layout: [M, N] },
      },
      record: (recorder, { a, b, c, bias, addend }) =>
        matmul(recorder, a, b, c, { scale, bias, addend, accumulate: true, variant }),
      outputs: [
        { tensor: 'c', expected: sum((x) => x), terms: sum(absolute), tolerance: summed(K + 3) },
      ],
    });
  };

  /** Matrices inside wider storages, at offsets. What lies around c must not change. */
  const inside = (): Check => {
    const apart = variant.vec4Loads ? 4 : 3;
    const layouts = {
      a: new Layout([M, K], [K + apart, 1], 3 * apart),
      b: new Layout([K, N], [1, K + apart], 2 * apart),
    };
    const target = new Layout([M, N], [N + 2, 1], 11);
    const wide = (layout: Layout, salt: number) => stored(numbers(layout.extent + 3, salt), dtype);
    const [storeA, storeB, storeC] = [wide(layouts.a, 6), wide(layouts.b, 7), wide(target, 8)];
    const gather = (values: Float64Array, layout: Layout) =>
      Float64Array.from(layout.addresses(), (at) => values[at]);
    const [x, y] = [gather(storeA, layouts.a), gather(storeB, layouts.b)];
    const covered = [...target.addresses()];
    const around = [...storeC.keys()].filter((at) => !covered.includes(at));
    return check({
      kernel: `matmul, ${variant.name}`,
      sizes,
      dtype,
      layout: 'rows apart, at offsets',
      inputs: {
        a: { values: storeA, layout: layouts.a, dtype },
        b: { values: storeB, layout: layouts.b, dtype },
        c: { values: storeC, layout: target, dtype },
      },
      record: (recorder, { a, b, c }) => matmul(recorder, a, b, c, { variant }),
      outputs: [
        {
          tensor: 'c',
          at: covered,
          tolerance: summed(K, dtype),
          expected: reference.matmul(x, y, M, K, N),
          terms: reference.matmul(absolute(x), absolute(y), M, K, N),
        },
        { tensor: 'c', at: around, expected: around.map((at) => storeC[at]), tolerance: EXACT },
      ],
    });
  };

  return [
    ...(all
      ? [
          product('matmul NN', false, false),
          product('matmul NT', false, true),
          product('matmul TN', true, false),
        ]
      : []),
    inside(),
    accumulated(),
  ];
}

export function embeddingChecks(dtype: Storage, T = 5): Check[] {
  const [B, V, C] = [3, 9, 70];
  const sizes = `B=${B} T=${T} V=${V} C=${C}`;
  const tokens = Array.from({ length: B * T }, (_, i) => [0, V - 1, V - 1, 2, (i * i) % V][i % 5]);
  const order = tokens
    .map((_, row) => row)
    .sort((one, other) => tokens[one] - tokens[other] || one - other);
  const [wte, wpe] = [stored(numbers(V * C, 1), dtype), stored(numbers((T + 2) * C, 2), dtype)];
  const dx = stored(numbers(B * T * C, 3), dtype);
  const [dwte, dwpe] = [stored(numbers(V * C, 4), 'f32'), stored(numbers((T + 2) * C, 5), 'f32')];
  const gradients = reference.embeddingBackward(tokens, dx, T, C, V, T + 2);
  return [
    check({
      kernel: 'embedding',
      sizes,
      dtype,
      layout: contiguous,
      inputs: {
        tokens: { values: tokens, layout: [B, T], dtype: 'u32' },
        wte: { values: wte, layout: [V, C], dtype },
        wpe: { values: wpe, layout: [T + 2, C], dtype },
        x: { values: new Float64Array(B * T * C), layout: [B * T, C], dtype },
      },
      record: (recorder, { tokens, wte, wpe, x }) => embedding(recorder, tokens, wte, wpe, x),
      outputs: [
        {
          tensor: 'x',
          expected: reference.embedding(tokens, wte, wpe, T, C),
          tolerance: summed(1, dtype),
        },
      ],
    }),
    check({
      kernel: 'embedding_backward',
      sizes,
      dtype,
      layout: contiguous,
      inputs: {
        tokens: { values: tokens, layout: [B, T], dtype: 'u32' },
        order: { values: order, layout: [B * T], dtype: 'u32' },
        dx: { values: dx, layout: [B * T, C], dtype },
        dwte: { values: dwte, layout: [V, C] },
        dwpe: { values: dwpe, layout: [T + 2, C] },
      },
      record: embeddingBackward,
      outputs: [
        { tensor: 'dwte', expected: add(dwte, gradients.dwte), tolerance: summed(B * T) },
        { tensor: 'dwpe', expected: add(dwpe, gradients.dwpe), tolerance: summed(B) },
      ],
    }),
  ];
}

export function layerNormChecks(dtype: Storage, rows = 9): Check[] {
  const C = 131;
  const sizes = `(${rows}, ${C})`;
  const epsilon = 1e-5;
  const x = stored(
    numbers(rows * C, 1).map((value, i) => 2 * value + (i % 3)),
    dtype,
  );
  const gamma = stored(
    numbers(C, 2).map((value) => 1 + value / 2),
    dtype,
  );
  const [beta, dy, addend] = [numbers(C, 3), numbers(rows * C, 4), numbers(rows * C, 5)].map((v) =>
    stored(v, dtype),
  );
  const [dgamma, dbeta] = [stored(numbers(C, 6), 'f32'), stored(numbers(C, 7), 'f32')];
  const forward = reference.layerNorm(x, gamma, beta, epsilon);
  const backward = reference.layerNormBackward(dy, x, gamma, epsilon);
  const moments = Array.from(forward.mean).flatMap((mean, row) => [mean, forward.rstd[row]]);
  const inputs = {
    x: { values: x, layout: [rows, C], dtype },
    gamma: { values: gamma, layout: [C], dtype },
  };
  return [
    check({
      kernel: 'layernorm',
      sizes,
      dtype,
      layout: contiguous,
      inputs: {
        ...inputs,
        beta: { values: beta, layout: [C], dtype },
        y: { values: new Float64Array(rows * C), layout: [rows, C], dtype },
        moments: { values: new Float64Array(2 * rows), layout: [rows, 2] },
      },
      record: (recorder, tensors) => layerNorm(recorder, tensors, epsilon),
      outputs: [
        { tensor: 'y', expected: forward.y, tolerance: summed(C + 4, dtype) },
        { tensor: 'moments', expected: moments, tolerance: summed(C) },
      ],
    }),
    check({
      kernel: 'layernorm_backward',
      sizes,
      dtype,
      layout: contiguous,
      inputs: {
        ...inputs,
        moments: { values: moments, layout: [rows, 2] },
        dy: { values: dy, layout: [rows, C], dtype },
        addend: { values: addend, layout: [rows, C], dtype },
        dx: { values: new Float64Array(rows * C), layout: [rows, C], dtype },
        dgamma: { values: dgamma, layout: [C] },
        dbeta: { values: dbeta, layout: [C] },
      },
      record: (recorder, tensors) => layerNormBackward(recorder, tensors, tensors),
      outputs: [
        { tensor: 'dx', expected: add(backward.dx, addend), tolerance: summed(C + 8, dtype) },
        { tensor: 'dgamma', expected: add(dgamma, backward.dgamma), tolerance: summed(rows + 4) },
        { tensor: 'dbeta', expected: add(dbeta, backward.dbeta), tolerance: summed(rows) },
      ],
    }),
  ];
}

export function geluChecks(dtype: Storage): Check[] {
  // Where tanh bends, where it is flat, and where a naive tanh overflows.
  const flat = [7, -7, 10.5, -10.5, 31, -31, 1000, -1000];
  const bend = numbers(1000, 1, 6);
  const x = stored([...bend, 0, ...flat], dtype);
  const dy = stored(numbers(x.length, 2), dtype);
  const pick = (values: Float64Array, where: 'bend' | 'flat') =>
    where === 'bend' ? values.slice(0, 1001) : values.slice(1001);
  const at = { bend: [...x.keys()].slice(0, 1001), flat: [...x.keys()].slice(1001) };
  // GELU is part of a matrix product: here of x with 1.
  const inputs = {
    x: { values: x, layout: [x.length, 1], dtype },
    one: { values: [1], layout: [1, 1], dtype },
    same: { values: new Float64Array(x.length), layout: [x.length, 1], dtype },
    out: { values: new Float64Array(x.length), layout: [x.length, 1], dtype },
  };
  // Large results at the flat ends would hide errors in the bend, so each has its own tolerance.
  const outputs = (expected: Float64Array) =>
    (['bend', 'flat'] as const).map((where) => ({
      tensor: 'out' as const,
      at: at[where],
      expected: pick(expected, where),
      tolerance: stored16(GELU, dtype),
    }));
  const sizes = `${x.length}`;
  return [
    check({
      kernel: 'gelu',
      sizes,
      dtype,
      layout: contiguous,
      inputs,
      record: (recorder, { x, one, same, out }) =>
        matmul(recorder, x, one, same, { geluOutput: out }),
      outputs: outputs(reference.gelu(x)),
    }),
    check({
      kernel: 'gelu backward',
      sizes,
      dtype,
      layout: contiguous,
      inputs: { ...inputs, dy: { values: dy, layout: [x.length, 1], dtype } },
      record: (recorder, { x, one, dy, out }) => matmul(recorder, dy, one, out, { geluInput: x }),
      outputs: outputs(reference.geluBackward(dy, x)),
    }),
  ];
}

export function attentionChecks(dtype: Storage, T = 37): Check[] {
  // More positions than a workgroup takes. The larger size makes scores of ±50, which overflow
  // without a running maximum. Then query heads that share keys, in a window and in documents that
  // end inside a workgroup's queries and at other places in each row: one has a single token. Some
  // drivers compile these kernels for seconds, so one text has both.
  const ends = [
    [1, Math.ceil(T / 4), T],
    [T - Math.floor(T / 3), T - Math.floor(T / 7), T],
  ];
  const cases = [
    { NH: 2, NKV: 2, size: 1, note: '' },
    { NH: 2, NKV: 2, size: 12, note: ', large scores' },
    { NH: 4, NKV: 2, window: 11, ends, size: 12, note: ' NKV=2, a window of 11, documents' },
  ];
  return cases.flatMap(({ NH, NKV, window, ends, size, note }) => {
    const [B, D] = [2, 8];
    const [rows, C, packed] = [B * T, NH * D, (NH + 2 * NKV) * D];
    const sizes = `B=${B} T=${T} NH=${NH} D=${D}${note}`;
    const [qkv, dout] = [
      stored(numbers(rows * packed, 1, size), dtype),
      stored(numbers(rows * C, 2), dtype),
    ];
    const spans = ends?.flatMap((row) =>
      Array.from({ length: T }, (_, t) => {
        const own = row.findIndex((end) => t < end);
        return [row[own - 1] ?? 0, row[own]];
      }),
    );
    const formula = { B, T, C, NH, NKV, window, starts: spans?.map(([start]) => start) };
    const forward = reference.attention(qkv, formula);
    const out = stored(forward.output, dtype);
    const heads = { layout: [B, NH, T] };
    const documents: Record<string, Input> = spans
      ? { documents: { values: spans.flat(), layout: [B, T, 2], dtype: 'u32' } }
      : {};
    return [
      check({
        kernel: 'attention',
        sizes,
        dtype,
        layout: contiguous,
        inputs: {
          qkv: { values: qkv, layout: [rows, packed], dtype },
          out: { values: new Float64Array(rows * C), layout: [rows, C], dtype },
          lse: { values: new Float64Array(B * NH * T), ...heads },
          ...documents,
        },
        record: (recorder, tensors) => attention(recorder, { ...tensors, window }),
        outputs: [
          { tensor: 'out', expected: forward.output, tolerance: stored16(ATTENTION, dtype) },
          { tensor: 'lse', expected: forward.lse, tolerance: ATTENTION },
        ],
      }),
      check({
        kernel: 'attention_backward',
        sizes,
        dtype,
        layout: contiguous,
        inputs: {
          qkv: { values: qkv, layout: [rows, packed], dtype },
          out: { values: out, layout: [rows, C], dtype },
          lse: { values: forward.lse, ...heads },
          dout: { values: dout, layout: [rows, C], dtype },
          delta: { values: new Float64Array(B * NH * T), ...heads },
          dqkv: { values: new Float64Array(rows * packed), layout: [rows, packed], dtype },
          ...documents,
        },
        record: (recorder, tensors) => attentionBackward(recorder, { ...tensors, window }, tensors),
        outputs: [
          {
            tensor: 'dqkv',
            expected: reference.attentionBackward(dout, qkv, formula),
            // delta reads the rounded `out`, and ds multiplies the error by keys.
            tolerance: stored16(ATTENTION_BACKWARD, dtype, 4),
          },
        ],
      }),
    ];
  });
}

/** One new token: the first of a text, then one after more tokens than a head has threads. */
export function attentionNextChecks(dtype: Storage, T = 71): Check[] {
  const D = 8;
  const cases = [
    { NH: 3, NKV: 3, position: 0, size: 1, note: '' },
    { NH: 3, NKV: 3, position: T - 1, size: 1, note: '' },
    { NH: 3, NKV: 3, position: T - 2, size: 12, note: ', large scores' },
    { NH: 4, NKV: 2, position: T - 2, window: 11, size: 1, note: ' NKV=2, a window of 11' },
  ];
  return cases.map(({ NH, NKV, position, window, size, note }) => {
    const [C, width] = [NH * D, 2 * NKV * D];
    const qkv = stored(numbers(C + width, 1, size), dtype);
    const kept = stored(numbers(T * width, 2, size), dtype);
    const expected = reference.attentionNext(qkv, kept, position, { C, NH, NKV, window });
    return check({
      kernel: 'attention_next',
      sizes: `T=${T} position=${position} NH=${NH} D=${D}${note}`,
      dtype,
      layout: contiguous,
      inputs: {
        qkv: { values: qkv, layout: [1, C + width], dtype },
        position: { values: [position], layout: [1], dtype: 'u32' },
        kept: { values: kept, layout: [T, width], dtype },
        out: { values: new Float64Array(C), layout: [1, C], dtype },
      },
      record: (recorder, tensors) => attentionNext(recorder, { ...tensors, window }, NH),
      outputs: [
        { tensor: 'out', expected: expected.output, tolerance: stored16(ATTENTION, dtype) },
        { tensor: 'kept', expected: expected.kept, tolerance: EXACT },
      ],
    });
  });
}

export function columnSumChecks(dtype: Storage, rows = 37): Check[] {
  const N = 21;
  const x = stored(numbers(rows * N, 1), dtype);
  const before = stored(numbers(N, 2), 'f32');
  return [
    check({
      kernel: 'column_sum',
      sizes: `(${rows}, ${N})`,
      dtype,
      layout: contiguous,
      inputs: { x: { values: x, layout: [rows, N], dtype }, sums: { values: before, layout: [N] } },
      record: (recorder, { x, sums }) => columnSum(recorder, x, sums),
      outputs: [
        {
          tensor: 'sums',
          expected: add(before, reference.columnSum(x, rows, N)),
          tolerance: summed(rows + 1),
        },
      ],
    }),
  ];
}
