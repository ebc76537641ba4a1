// The checks of the layers that the Llama family has in place of GPT-2's, at small odd sizes that
// fill no workgroup evenly.

import { fromInt8 } from '../kernels/int8';
import { rmsNorm, rmsNormBackward } from '../kernels/rms_norm';
import { headNorm, headNormBackward, rotary } from '../kernels/rotary';
import { swiglu, swigluBackward } from '../kernels/swiglu';
import * as reference from '../reference';
import { INT8_BLOCK } from '../tensor/int8';
import { type Check, check, stored16, summed, type Tolerance } from './check';
import { type Storage, stored } from './tensors';

const { numbers, add } = reference;

const contiguous = 'contiguous';
const SILU: Tolerance = {
  value: 2e-6,
  reason:
    'WGSL lets exp(x) be off by (3 + 2 |x|) 2^-23: 15 of them where silu bends, and four sums.',
};

/** Numbers around 1, as gains are. */
const gains = (length: number, salt: number) => numbers(length, salt).map((x) => 1 + x / 2);

export function rmsNormChecks(dtype: Storage, rows = 9): Check[] {
  const C = 131;
  const sizes = `(${rows}, ${C})`;
  const epsilon = 1e-5;
  const x = stored(
    numbers(rows * C, 1).map((value, i) => 2 * value + (i % 3)),
    dtype,
  );
  const gain = stored(gains(C, 2), dtype);
  const [dy, addend] = [numbers(rows * C, 4), numbers(rows * C, 5)].map((v) => stored(v, dtype));
  const dgain = stored(numbers(C, 6), 'f32');
  const forward = reference.rmsNorm(x, gain, epsilon);
  const backward = reference.rmsNormBackward(dy, x, gain, epsilon);
  const inputs = {
    x: { values: x, layout: [rows, C], dtype },
    gain: { values: gain, layout: [C], dtype },
  };
  return [
    check({
      kernel: 'rms_norm',
      sizes,
      dtype,
      layout: contiguous,
      inputs: {
        ...inputs,
        y: { values: new Float64Array(rows * C), layout: [rows, C], dtype },
        rrms: { values: new Float64Array(rows), layout: [rows] },
      },
      record: (recorder, tensors) => rmsNorm(recorder, tensors, epsilon),
      outputs: [
        { tensor: 'y', expected: forward.y, tolerance: summed(C + 4, dtype) },
        { tensor: 'rrms', expected: forward.rrms, tolerance: summed(C) },
      ],
    }),
    check({
      kernel: 'rms_norm_backward',
      sizes,
      dtype,
      layout: contiguous,
      inputs: {
        ...inputs,
        rrms: { values: forward.rrms, layout: [rows] },
        dy: { values: dy, layout: [rows, C], dtype },
        addend: { values: addend, layout: [rows, C], dtype },
        dx: { values: new Float64Array(rows * C), layout: [rows, C], dtype },
        dgain: { values: dgain, layout: [C] },
      },
      record: (recorder, tensors) => rmsNormBackward(recorder, tensors, tensors),
      outputs: [
        { tensor: 'dx', expected: add(backward.dx, addend), tolerance: summed(C + 8, dtype) },
        { tensor: 'dgain', expected: add(dgain, backward.dgain), tolerance: summed(rows + 4) },
      ],
    }),
  ];
}

/** Rotations alone, and after a norm of each head, or of all heads as one. */
export const rotaryChecks = (dtype: Storage, T?: number): Check[] => [
  ...turned(dtype, false, T),
  ...turned(dtype, true, T).filter(({ kernel }) => /norm/.test(kernel)),
];

function turned(dtype: Storage, all: boolean, T = 7): Check[] {
  const [B, NH, NKV, D] = [2, 3, 2, 12];
  const rows = B * T;
  const heads = NH + 2 * NKV;
  const sizes = `B=${B} T=${T} NH=${NH} NKV=${NKV} D=${D}`;
  const epsilon = 1e-5;
  const turns = { T, heads, rotated: NH + NKV };
  const frequencies = reference.rotaryFrequencies(D, 100);
  const angles = Array.from({ length: (T * D) / 2 }, (_, i) => {
    const position = Math.floor((2 * i) / D);
    return position * frequencies[i % (D / 2)];
  });
  const x = stored(numbers(rows * heads * D, 1), dtype);
  const dy = stored(numbers(rows * heads * D, 2), dtype);
  // What is normed at a time: so many units of q and of k, of so many elements.
  const units = all ? [1, 1] : [NH, NKV];
  const normedSizes = all ? [NH * D, NKV * D] : [D, D];
  const columns = normedSizes[0] + normedSizes[1];
  const gain = stored(gains(columns, 3), dtype);
  const dgains = stored(numbers(columns, 4), 'f32');
  const named = (kernel: string) => (all ? `${kernel}, all heads` : kernel);

  // The heads of q, then of k, of all rows: what a norm takes at a time.
  const parts = [NH, NKV].map((count, part) => {
    const first = part === 0 ? 0 : NH;
    const at = Array.from({ length: rows * count * D }, (_, i) => {
      const [row, rest] = [Math.floor(i / (count * D)), i % (count * D)];
      return (row * heads + first) * D + rest;
    });
    const start = part * normedSizes[0];
    return { at, gain: gain.slice(start, start + normedSizes[part]) };
  });
  const pick = (values: Float64Array, at: number[]) => Float64Array.from(at, (i) => values[i]);
  const normed = x.slice();
  const normedUnits = units[0] + units[1];
  const rrms = new Float64Array(rows * normedUnits);
  const back = reference.rotate(dy, frequencies, turns, -1);
  const dx = back.slice();
  const dgainsExpected: number[] = [];
  for (const [part, { at, gain }] of parts.entries()) {
    const forward = reference.rmsNorm(pick(x, at), gain, epsilon);
    const count = units[part];
    at.forEach((address, i) => {
      normed[address] = forward.y[i];
    });
    forward.rrms.forEach((value, i) => {
      rrms[Math.floor(i / count) * normedUnits + part * units[0] + (i % count)] = value;
    });
    const backward = reference.rmsNormBackward(pick(back, at), pick(x, at), gain, epsilon);
    at.forEach((address, i) => {
      dx[address] = backward.dx[i];
    });
    dgainsExpected.push(...backward.dgain);
  }
  const counts = { NH, NKV };
  const packed = (values: Float64Array) => ({ values, layout: [rows, heads * D], dtype });
  const table = {
    values: angles.flatMap((angle) => [Math.cos(angle), Math.sin(angle)]),
    layout: [T, D / 2, 2],
  };
  const inputs = {
    x: packed(x),
    gains: { values: gain, layout: [columns], dtype },
    table,
  };
  return [
    ...([1, -1] as const).map((direction) =>
      check({
        kernel: direction === 1 ? 'rotary' : 'rotary, back',
        sizes,
        dtype,
        layout: contiguous,
        inputs: { qkv: packed(x), table },
        record: (recorder, { qkv, table }) => rotary(recorder, qkv, table, counts, { direction }),
        outputs: [
          {
            tensor: 'qkv',
            expected: reference.rotate(x, frequencies, turns, direction),
            tolerance: summed(3, dtype),
          },
        ],
      }),
    ),
    check({
      kernel: named('head_norm'),
      sizes,
      dtype,
      layout: contiguous,
      inputs: {
        ...inputs,
        y: packed(new Float64Array(x.length)),
        rrms: { values: new Float64Array(rrms.length), layout: [rows, normedUnits] },
      },
      record: (recorder, tensors) => headNorm(recorder, tensors, counts, epsilon),
      outputs: [
        {
          tensor: 'y',
          expected: reference.rotate(normed, frequencies, turns),
          tolerance: summed(normedSizes[0] + 7, dtype),
        },
        { tensor: 'rrms', expected: rrms, tolerance: summed(normedSizes[0]) },
      ],
    }),
    check({
      kernel: named('head_norm_backward'),
      sizes,
      dtype,
      layout: contiguous,
      inputs: {
        ...inputs,
        rrms: { values: rrms, layout: [rows, normedUnits] },
        d: packed(dy),
        dgains: { values: dgains, layout: [columns] },
      },
      record: (recorder, tensors) => headNormBackward(recorder, tensors, counts, tensors),
      outputs: [
        { tensor: 'd', expected: dx, tolerance: summed(normedSizes[0] + 11, dtype) },
        {
          tensor: 'dgains',
          expected: add(dgains, dgainsExpected),
          tolerance: summed(rows * units[0] + 7),
        },
      ],
    }),
  ];
}

/** A matrix in 8 bits that does not begin where its bytes and scales do, and ends in a block. */
export function int8Checks(dtype: Storage): Check[] {
  const [before, count] = [2 * INT8_BLOCK, 5 * INT8_BLOCK + 6];
  const words = Math.ceil((before + count) / 4);
  // All bytes but −128, which is not used, in an order without a short period.
  const levels = Int8Array.from({ length: 4 * words }, (_, i) => ((i * 101) % 255) - 127);
  const scales = stored(
    numbers(Math.ceil((before + count) / INT8_BLOCK), 1).map((value) => (1 + value / 2) / 100),
    'f32',
  );
  const expected = reference.fromInt8(levels, scales, INT8_BLOCK).subarray(before, before + count);
  return [
    check({
      kernel: 'int8',
      sizes: `(${count})`,
      dtype,
      layout: contiguous,
      inputs: {
        levels: { values: new Uint32Array(levels.buffer), layout: [words], dtype: 'u32' },
        scales: { values: scales, layout: [scales.length], dtype: 'f32' },
        w: { values: new Float64Array(count), layout: [count], dtype },
      },
      record: (recorder, { levels, scales, w }) =>
        fromInt8(
          recorder,
          { levels: levels.place, scales: scales.place, firstWord: before / 4, firstScale: 2 },
          w,
        ),
      outputs: [
        {
          tensor: 'w',
          expected,
          tolerance: stored16({ value: 1e-7, reason: 'One product, rounded once.' }, dtype),
        },
      ],
    }),
  ];
}

export function swigluChecks(dtype: Storage): Check[] {
  const [rows, F] = [5, 67];
  const sizes = `(${rows}, ${F})`;
  // Where silu bends; then ends where a naive exponential overflows.
  const x = stored(
    numbers(rows * 2 * F, 1, 6).map((value, i) => (i % 29 === 0 ? 20 * value : value)),
    dtype,
  );
  x[0] = -1000;
  x[1] = 1000;
  const dy = stored(numbers(rows * F, 2), dtype);
  return [
    check({
      kernel: 'swiglu',
      sizes,
      dtype,
      layout: contiguous,
      inputs: {
        x: { values: x, layout: [rows, 2 * F], dtype },
        y: { values: new Float64Array(rows * F), layout: [rows, F], dtype },
      },
      record: (recorder, { x, y }) => swiglu(recorder, x, y),
      outputs: [
        { tensor: 'y', expected: reference.swiglu(x, F), tolerance: stored16(SILU, dtype) },
      ],
    }),
    check({
      kernel: 'swiglu_backward',
      sizes,
      dtype,
      layout: contiguous,
      inputs: {
        x: { values: x, layout: [rows, 2 * F], dtype },
        dy: { values: dy, layout: [rows, F], dtype },
        dx: { values: new Float64Array(rows * 2 * F), layout: [rows, 2 * F], dtype },
      },
      record: (recorder, { x, dy, dx }) => swigluBackward(recorder, x, { dy, dx }),
      outputs: [
        {
          tensor: 'dx',
          expected: reference.swigluBackward(dy, x, F),
          tolerance: stored16(SILU, dtype),
        },
      ],
    }),
  ];
}
