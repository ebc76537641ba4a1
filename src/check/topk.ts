// The checks of the teacher's cache: packing the top k, expanding whole rows, and the loss against
// entries.

import { distilTopK } from '../kernels/losses';
import { entrySize, expand, topK } from '../kernels/topk';
import * as reference from '../reference';
import { fromHalf } from '../tensor/dtype';
import { Layout } from '../tensor/layout';
import { type Check, check, EXACT, stored16, type Tolerance } from './check';
import { lossState, type Storage, stored } from './tensors';

const { numbers } = reference;
const [B, T, V, k] = [3, 5, 131, 8];
const ROWS = B * T;
const SIZES = `B=${B} T=${T} V=${V} k=${k}`;
const IGNORED = -100;
const SCALE = 1024;
const [TEMPERATURE, ALPHA] = [2, 0.7];

const LOGARITHM: Tolerance = {
  value: 2e-5,
  reason:
    'Exponentials and logarithms with arguments up to 10 are off by 1e-5, ' +
    'and a loss subtracts two of them.',
};
const ROUNDED = stored16({ value: 0, reason: 'Only converted.' }, 'f16');

function teacherRows(dtype: Storage) {
  const layout = Layout.contiguous([ROWS, V + 6]).slice(1, 0, V);
  const values = stored(numbers(layout.extent, 2, 4), dtype);
  const rows = Array.from({ length: ROWS }, (_, row) =>
    values.slice(row * (V + 6), row * (V + 6) + V),
  );
  return { input: { values, layout, dtype }, rows };
}

const joined = (entries: Uint32Array[]): number[] => entries.flatMap((entry) => [...entry]);

/** Entries are bits. Read as f16 they show values, and ids as f16 bits; read as f32, tails. */
export function topKChecks(dtype: Storage): Check[] {
  const { input, rows } = teacherRows(dtype);
  const size = entrySize({ V, k });
  const packed = rows.map((row) => reference.packEntry(reference.topKRow(row, k, TEMPERATURE), V));
  const halves = fromHalf(new Uint16Array(Uint32Array.from(joined(packed)).buffer));
  const tails = new Float32Array(Uint32Array.from(joined(packed)).buffer);
  const places = (from: number, count: number, of: number) =>
    packed.flatMap((_, row) => Array.from({ length: count }, (_, i) => row * of + from + i));
  const values = places(2, k, 2 * size);
  const ids = places(2 + k, k, 2 * size);
  const first = places(0, 1, size);
  const common = { sizes: SIZES, layout: 'padded', dtype };
  const record: Check<'teacher' | 'entries'>['record'] = (recorder, { teacher, entries }) =>
    topK(recorder, teacher, { entries, V, k }, { temperature: TEMPERATURE });
  return [
    check({
      kernel: 'topk',
      ...common,
      record,
      inputs: {
        teacher: input,
        entries: { values: new Float64Array(2 * size * ROWS), layout: [1], dtype: 'f16' },
      },
      outputs: [
        {
          tensor: 'entries',
          at: values,
          expected: values.map((at) => halves[at]),
          tolerance: ROUNDED,
        },
        { tensor: 'entries', at: ids, expected: ids.map((at) => halves[at]), tolerance: EXACT },
      ],
    }),
    check({
      kernel: 'topk, tail',
      ...common,
      record,
      inputs: { teacher: input, entries: { values: new Float64Array(size * ROWS), layout: [1] } },
      outputs: [
        {
          tensor: 'entries',
          at: first,
          expected: first.map((at) => tails[at]),
          tolerance: LOGARITHM,
        },
      ],
    }),
  ];
}

/** f32 only, whatever the teacher's logits were stored as. */
export function expandChecks(dtype: Storage): Check[] {
  return dtype === 'f32' ? [expandCheck()] : [];
}

function expandCheck(): Check {
  const { rows } = teacherRows('f32');
  const expected = rows.map((row) => reference.topKRow(row, V, 1));
  return check({
    kernel: 'expand',
    sizes: `B=${B} T=${T} V=${V}`,
    layout: 'contiguous',
    dtype: 'f32',
    inputs: {
      entries: {
        values: joined(expected.map((row) => reference.packEntry(row, V))),
        layout: [ROWS, entrySize({ V, k: V })],
        dtype: 'u32',
      },
      logits: { values: new Float64Array(ROWS * V), layout: [ROWS, V] },
    },
    record: (recorder, { entries, logits }) => expand(recorder, { entries, V, k: V }, logits),
    outputs: [
      { tensor: 'logits', expected: expected.flatMap(({ values }) => values), tolerance: EXACT },
    ],
  });
}

/** f32 only: the loss reads no teacher logits. */
export function distilTopKChecks(dtype: Storage): Check[] {
  return dtype === 'f32' ? [distilTopKCheck()] : [];
}

function distilTopKCheck(): Check {
  const { rows } = teacherRows('f32');
  const layout = Layout.contiguous([B, T + 1, V]).slice(1, 0, -1);
  const student = stored(numbers(layout.extent, 1, 4), 'f32');
  const targets = Float64Array.from({ length: ROWS }, (_, row) =>
    row % 4 === 1 ? IGNORED : (row * 29) % V,
  );
  const topRows = rows.map((row) => reference.topKRow(row, k, TEMPERATURE));
  const expected = reference.topKLoss(
    { temperature: TEMPERATURE, alpha: ALPHA, ignoreIndex: IGNORED },
    { data: student, layout },
    topRows,
    { data: targets, layout: Layout.contiguous([B, T]) },
  );
  const valid = targets.filter((target) => target !== IGNORED).length;
  const covered = [...layout.addresses()];
  const column = (index: number) => Array.from({ length: ROWS }, (_, row) => 2 * row + index);
  const packed = joined(topRows.map((row) => reference.packEntry(row, V)));
  return check({
    kernel: 'distil_topk',
    sizes: SIZES,
    layout: 'shifted',
    dtype: 'f32',
    inputs: {
      student: { values: student, layout },
      entries: { values: packed, layout: [B, T, entrySize({ V, k })], dtype: 'u32' },
      targets: { values: targets, layout: [B, T], dtype: 'i32' },
      perToken: { values: new Float64Array(2 * ROWS).fill(777), layout: [ROWS, 2] },
      ...lossState({ temperature: TEMPERATURE, alpha: ALPHA, tokens: valid, scale: SCALE }),
    },
    record: (recorder, { student, entries, targets, perToken, step, scaler }) => {
      const tensors = {
        student,
        entries,
        targets,
        perToken,
        step: step.place,
        scaler: scaler.place,
      };
      distilTopK(recorder, { ...tensors, V, k, ignoreIndex: IGNORED, gradient: true });
    },
    outputs: [
      { tensor: 'perToken', at: column(0), expected: expected.ce, tolerance: LOGARITHM },
      { tensor: 'perToken', at: column(1), expected: expected.kl, tolerance: LOGARITHM },
      {
        tensor: 'student',
        at: covered,
        tolerance: LOGARITHM,
        expected: covered.map((at) => SCALE * expected.gradient[at]),
      },
    ],
  });
}
