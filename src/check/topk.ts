// The checks of what a teacher's cache is made of: the k likeliest words, whole rows, and the loss
// that reads either.

import { distilTopK } from '../kernels/losses';
import { entryWords, expand, topK } from '../kernels/topk';
import * as reference from '../reference';
import { fromHalf } from '../tensor/dtype';
import { Layout } from '../tensor/layout';
import { type Check, check, EXACT, stored16, type Tolerance } from './check';
import { type Storage, stored } from './tensors';

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
    'Exponentials and logarithms with arguments up to 10 are off by 1e-5, and a loss subtracts two of them.',
};
const ROUNDED = stored16({ value: 0, reason: 'Only converted.' }, 'f16');

export function topKChecks(dtype: Storage): Check[] {
  // The loss reads no logits of the teacher's, and whole rows come out of their entries as f32.
  return [...kept(dtype), ...(dtype === 'f32' ? [whole(), loss()] : [])];
}

function teacherRows(dtype: Storage) {
  const layout = Layout.contiguous([ROWS, V + 6]).slice(1, 0, V);
  const values = stored(numbers(layout.extent, 2, 4), dtype);
  const rows = Array.from({ length: ROWS }, (_, row) =>
    values.slice(row * (V + 6), row * (V + 6) + V),
  );
  return { input: { values, layout, dtype }, rows };
}

const words = (bits: Uint32Array[]): number[] => bits.flatMap((entry) => [...entry]);

/**
 * Entries are bits: read as f16 they show values and ids (as the f16 of those bits), read as f32
 * the rest.
 */
function kept(dtype: Storage): Check[] {
  const { input, rows } = teacherRows(dtype);
  const size = entryWords({ V, k });
  const packed = rows.map((row) => reference.packEntry(reference.topKRow(row, k, TEMPERATURE), V));
  const halves = fromHalf(new Uint16Array(Uint32Array.from(words(packed)).buffer));
  const rests = new Float32Array(Uint32Array.from(words(packed)).buffer);
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
      kernel: 'topk, the rest',
      ...common,
      record,
      inputs: { teacher: input, entries: { values: new Float64Array(size * ROWS), layout: [1] } },
      outputs: [
        {
          tensor: 'entries',
          at: first,
          expected: first.map((at) => rests[at]),
          tolerance: LOGARITHM,
        },
      ],
    }),
  ];
}

function whole(): Check {
  const { rows } = teacherRows('f32');
  const twins = rows.map((row) => reference.topKRow(row, V, 1));
  return check({
    kernel: 'expand',
    sizes: `B=${B} T=${T} V=${V}`,
    layout: 'contiguous',
    dtype: 'f32',
    inputs: {
      entries: {
        values: words(twins.map((twin) => reference.packEntry(twin, V))),
        layout: [ROWS, entryWords({ V, k: V })],
        dtype: 'u32',
      },
      logits: { values: new Float64Array(ROWS * V), layout: [ROWS, V] },
    },
    record: (recorder, { entries, logits }) => expand(recorder, { entries, V, k: V }, logits),
    outputs: [
      { tensor: 'logits', expected: twins.flatMap(({ values }) => values), tolerance: EXACT },
    ],
  });
}

function loss(): Check {
  const { rows } = teacherRows('f32');
  const layout = Layout.contiguous([B, T + 1, V]).slice(1, 0, -1);
  const student = stored(numbers(layout.extent, 1, 4), 'f32');
  const targets = Float64Array.from({ length: ROWS }, (_, row) =>
    row % 4 === 1 ? IGNORED : (row * 29) % V,
  );
  const twins = rows.map((row) => reference.topKRow(row, k, TEMPERATURE));
  const expected = reference.topKLoss(
    { temperature: TEMPERATURE, alpha: ALPHA, ignoreIndex: IGNORED },
    { data: student, layout },
    twins,
    { data: targets, layout: Layout.contiguous([B, T]) },
  );
  const valid = targets.filter((target) => target !== IGNORED).length;
  const covered = [...layout.addresses()];
  const column = (index: number) => Array.from({ length: ROWS }, (_, row) => 2 * row + index);
  const packed = words(twins.map((twin) => reference.packEntry(twin, V)));
  return check({
    kernel: 'distil_topk',
    sizes: SIZES,
    layout: 'shifted',
    dtype: 'f32',
    inputs: {
      student: { values: student, layout },
      entries: { values: packed, layout: [B, T, entryWords({ V, k })], dtype: 'u32' },
      targets: { values: targets, layout: [B, T], dtype: 'i32' },
      perToken: { values: new Float64Array(2 * ROWS).fill(777), layout: [ROWS, 2] },
      step: { values: [1e-3, TEMPERATURE, ALPHA, 1 / valid], layout: [4] },
      scaler: { values: [SCALE], layout: [1] },
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
