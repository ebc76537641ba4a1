// The checks of the losses between two vocabularies: all of their kernels at once, over chunks of
// rows of which one cuts a group.

import { alignedLoss, gatherRows, logLikelihood } from '../kernels/aligned';
import * as reference from '../reference';
import { Layout } from '../tensor/layout';
import { type Check, check, type Tolerance } from './check';
import { lossState, type Storage, stored } from './tensors';

const { numbers } = reference;
// A chunk begins at a multiple of 256 bytes: V · 6 · 4 must be one.
const [ROWS, V, W] = [15, 192, 97];
const IGNORED = -100;
const SCALE = 1024;
const [TEMPERATURE, ALPHA, BETA] = [2, 0.7, 0.4];
const WEIGHTS = { labelSmoothing: 0.1, zLoss: 1e-3 };
const NONE = 2 ** 32 - 1;

/** Groups of one token and of several, of either side. Rows 7 and 14 are in none. */
const GROUPS: reference.GroupRows[] = [
  [0, 0, 0, 0],
  [1, 3, 1, 1],
  [4, 4, 2, 4],
  [5, 6, 5, 7],
  [8, 8, 9, 9],
  [9, 12, 10, 13],
  [13, 13, 14, 14],
];
/** From the last to the first. Group 3 lies in two. */
const CHUNKS = [
  { first: 6, rows: 9 },
  { first: 0, rows: 6 },
];

const LOSS: Tolerance = {
  value: 2e-5,
  reason:
    'Exponentials and logarithms with arguments up to 10 are off by 1e-5, ' +
    'and a loss subtracts two of them.',
};

export const alignedChecks = (dtype: Storage): Check[] =>
  [false, true].map((matches) => alignedCheck(dtype, matches));

function alignedCheck(dtype: Storage, matches: boolean): Check {
  const student = stored(numbers(ROWS * V, 1, 4), 'f32');
  const teacher = stored(numbers(ROWS * W, 2, 4), dtype);
  const targetsOf = (vocabulary: number, ignored: number) =>
    Float64Array.from({ length: ROWS }, (_, row) =>
      row === ignored ? IGNORED : (row * 29) % vocabulary,
    );
  const [targets, teacherTargets] = [targetsOf(V, 7), targetsOf(W, 8)];
  const spans = new Float64Array(4 * ROWS).fill(NONE);
  for (const group of GROUPS)
    for (let row = group[0]; row <= group[1]; row++) spans.set(group, 4 * row);
  /** Every third of the student's tokens is one of the teacher's. */
  const matched = Array.from({ length: V }, (_, v) =>
    matches && v % 3 === 0 ? (v * 2 + 1) % W : -1,
  ).map((w, v, all) => (all.indexOf(w) === v ? w : -1));
  const pairs = [...matched.entries()].filter(([, w]) => w >= 0);
  const reversed = new Float64Array(W).fill(NONE);
  for (const [v, w] of pairs) reversed[w] = v;
  const soft = reference.alignedLoss(
    { logits: student, V, targets },
    { logits: teacher, V: W, targets: teacherTargets },
    GROUPS,
    { temperature: TEMPERATURE, matched, beta: BETA },
  );
  const hard = reference.distillationLoss(
    { kind: 'ce', ...WEIGHTS },
    { data: student, layout: Layout.contiguous([1, ROWS, V]) },
    undefined,
    { data: targets, layout: Layout.contiguous([1, ROWS]) },
  );
  const losses = new Float64Array(ROWS);
  for (const [g, [, last]] of GROUPS.entries()) losses[last] = soft.perGroup[g];
  const column = (index: number) => Array.from({ length: ROWS }, (_, row) => 2 * row + index);
  const vector = (values: ArrayLike<number>, type: 'i32' | 'u32') => ({
    values,
    layout: [values.length],
    dtype: type,
  });
  return check({
    kernel: matches ? 'compare_matched' : 'compare_ranks',
    sizes: `rows=${ROWS} V=${V} W=${W} groups=${GROUPS.length}`,
    layout: 'contiguous',
    dtype,
    inputs: {
      student: { values: student, layout: [ROWS, V] },
      teacher: { values: teacher, layout: [ROWS, W], dtype },
      targets: vector(targets, 'i32'),
      teacherTargets: vector(teacherTargets, 'i32'),
      spans: { values: spans, layout: [ROWS, 4], dtype: 'u32' },
      matched: vector(
        matched.map((w) => (w < 0 ? NONE : w)),
        'u32',
      ),
      reversed: vector(reversed, 'u32'),
      inverseGroups: { values: [1 / GROUPS.length], layout: [1] },
      perToken: { values: new Float64Array(2 * ROWS).fill(777), layout: [ROWS, 2] },
      ...lossState({ temperature: TEMPERATURE, alpha: ALPHA, tokens: hard.valid, scale: SCALE }),
    },
    record(recorder, tensors) {
      const { teacher, targets, spans, perToken } = tensors;
      const step = tensors.step.place;
      const make = (label: string, shape: number[]) =>
        recorder.tensor(label, Layout.contiguous(shape), 'f32');
      const likelihood = make('likelihood', [ROWS]);
      const teacherLikelihood = make('teacher likelihood', [ROWS]);
      const measured = make('measured', [ROWS, 2]);
      const common = { step, first: 0, ignoreIndex: IGNORED };
      logLikelihood(recorder, { logits: tensors.student, targets, result: likelihood, ...common });
      logLikelihood(recorder, {
        logits: teacher,
        targets: tensors.teacherTargets,
        result: teacherLikelihood,
        ...common,
      });
      for (const chunk of CHUNKS) {
        const { first, rows } = chunk;
        const place = {
          ...tensors.student.place,
          offset: 4 * V * first,
          bytes: 4 * V * rows,
        };
        const gathered = make('gathered', [rows, W]);
        gatherRows(recorder, { source: teacher, spans, rows: gathered, first });
        alignedLoss(recorder, {
          student: { dtype: 'f32', layout: Layout.contiguous([rows, V]), place },
          teacher: gathered,
          targets,
          ignoreIndex: IGNORED,
          spans,
          likelihood,
          teacherLikelihood,
          measured,
          perToken,
          step,
          scaler: tensors.scaler.place,
          inverseGroups: tensors.inverseGroups.place,
          chunk,
          ...WEIGHTS,
          beta: BETA,
          ...(matches && {
            matched: {
              student: tensors.matched,
              teacher: tensors.reversed,
              count: pairs.length,
            },
          }),
        });
      }
    },
    outputs: [
      { tensor: 'perToken', at: column(0), expected: hard.perToken, tolerance: LOSS },
      { tensor: 'perToken', at: column(1), expected: losses, tolerance: LOSS },
      {
        tensor: 'student',
        expected: hard.gradient.map(
          (value, at) =>
            SCALE * ((1 - ALPHA) * value + ALPHA * TEMPERATURE ** 2 * soft.gradient[at]),
        ),
        tolerance: LOSS,
      },
    ],
  });
}
