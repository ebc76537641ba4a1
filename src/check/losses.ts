// The checks of kernels that read logits through layouts: the losses with their gradients, the
// comparison that evaluates, and the copy.

import type { Divergence } from '../divergences';
import { copy } from '../kernels/copy';
import { ce, compare, DIAGNOSES, diagnose, distil } from '../kernels/losses';
import * as reference from '../reference';
import { Layout } from '../tensor/layout';
import { type Check, check, EXACT, stored16, type Tolerance } from './check';
import { lossState, type Storage, stored } from './tensors';

const { numbers } = reference;
const [B, V] = [3, 131];
const SMALL_T = 5;
const IGNORED = -100;
const SCALE = 1024;
const WEIGHTS = { temperature: 2, alpha: 0.7, labelSmoothing: 0.1, zLoss: 1e-3, beta: 0.4 };

const LOSS: Tolerance = {
  value: 2e-5,
  reason:
    'Exponentials and logarithms with arguments up to 10 are off by 1e-5, ' +
    'and a loss subtracts two of them.',
};

/** Student and teacher have different layouts, so that a kernel that mixes them up fails. */
const layoutsOf = (T: number) => ({
  contiguous: {
    student: Layout.contiguous([B, T, V]),
    teacher: Layout.contiguous([B, T, V]),
    targets: Layout.contiguous([B, T]),
  },
  'shifted, padded': {
    student: Layout.contiguous([B, T + 1, V]).slice(1, 0, -1),
    teacher: Layout.contiguous([B, T, V + 6]).slice(2, 0, V),
    targets: Layout.contiguous([B, T + 1]).slice(1, 1, null),
  },
  'transposed, tokens apart': {
    student: Layout.contiguous([T, B, V]).transpose(0, 1),
    teacher: Layout.contiguous([B, T, V, 2]).select(3, 1),
    targets: Layout.contiguous([T, B]).transpose(0, 1),
  },
});

type LayoutName = keyof ReturnType<typeof layoutsOf>;
const LAYOUT_NAMES = Object.keys(layoutsOf(SMALL_T)) as LayoutName[];

/** Teacher logits are stored as `dtype`; cross-entropy reads none, so it has no f16 checks. */
export function lossChecks(kind: Divergence | 'ce', dtype: Storage, T = SMALL_T): Check[] {
  if (kind === 'ce' && dtype === 'f16') return [];
  return LAYOUT_NAMES.map((layout) => lossCheck(kind, layout, dtype, T));
}

export const compareChecks = (dtype: Storage, T = SMALL_T): Check[] =>
  LAYOUT_NAMES.map((layout) => compareCheck(layout, dtype, T));

/**
 * Logits, and targets of which every fourth is ignored. Elements that no layout reaches hold
 * numbers as well. ln p and ln q differ by 4e-4 everywhere, so that rounding cannot flip the sign
 * in tvd's gradient.
 */
function logitsAndTargets(name: LayoutName, dtype: Storage, T: number) {
  const layouts = layoutsOf(T)[name];
  const student = stored(numbers(layouts.student.extent + 3, 1, 4), 'f32');
  const teacher = stored(numbers(layouts.teacher.extent + 3, 2, 4), dtype);
  const targets = new Float64Array(layouts.targets.extent + 3).fill(1);
  for (const [row, at] of [...layouts.targets.addresses()].entries())
    targets[at] = row % 4 === 1 ? IGNORED : [0, V - 1, (row * 29) % V][row % 3];
  return {
    inputs: {
      student: { values: student, layout: layouts.student },
      teacher: { values: teacher, layout: layouts.teacher, dtype },
      targets: { values: targets, layout: layouts.targets, dtype: 'i32' as const },
    },
    strided: [
      { data: student, layout: layouts.student },
      { data: teacher, layout: layouts.teacher },
      { data: targets, layout: layouts.targets },
    ] as const,
  };
}

function lossCheck(kind: Divergence | 'ce', layout: LayoutName, dtype: Storage, T: number): Check {
  const { inputs, strided } = logitsAndTargets(layout, dtype, T);
  const { temperature, labelSmoothing, zLoss, beta } = WEIGHTS;
  const hard = reference.distillationLoss({ kind: 'ce', labelSmoothing, zLoss }, ...strided);
  const soft =
    kind === 'ce' ? undefined : reference.distillationLoss({ kind, temperature, beta }, ...strided);
  const alpha = soft ? WEIGHTS.alpha : 0;
  const gradient = hard.gradient.map(
    (value, at) => SCALE * ((1 - alpha) * value + (soft ? alpha * soft.gradient[at] : 0)),
  );
  const { values, layout: studentLayout } = inputs.student;
  const covered = [...studentLayout.addresses()];
  const isCovered = new Set(covered);
  const outside = [...values.keys()].filter((at) => !isCovered.has(at));
  const rows = Array.from({ length: B * T }, (_, row) => row);
  return check({
    kernel: kind,
    sizes: `B=${B} T=${T} V=${V}`,
    layout,
    dtype,
    inputs: {
      ...inputs,
      perToken: { values: new Float64Array(2 * B * T).fill(777), layout: [B * T, 2] },
      ...lossState({ temperature, alpha, tokens: hard.valid, scale: SCALE }),
    },
    record: (recorder, { student, teacher, targets, perToken, step, scaler }) => {
      const places = { step: step.place, scaler: scaler.place };
      const common = { student, targets, perToken, ...places, labelSmoothing, zLoss };
      const options = { ignoreIndex: IGNORED, gradient: true };
      if (kind === 'ce') ce(recorder, { ...common, ...options });
      else distil(recorder, { ...common, ...options, teacher, divergence: kind, beta });
    },
    outputs: [
      {
        tensor: 'perToken',
        at: rows.map((row) => 2 * row),
        expected: hard.perToken,
        tolerance: LOSS,
      },
      {
        tensor: 'perToken',
        at: rows.map((row) => 2 * row + 1),
        tolerance: LOSS,
        // The curve shows the divergence itself, without T².
        expected: rows.map((row) => (soft ? soft.perToken[row] / temperature ** 2 : 0)),
      },
      {
        tensor: 'student',
        at: covered,
        expected: covered.map((at) => gradient[at]),
        tolerance: LOSS,
      },
      {
        tensor: 'student',
        at: outside,
        expected: outside.map((at) => values[at]),
        tolerance: EXACT,
      },
    ],
  });
}

function compareCheck(layout: LayoutName, dtype: Storage, T: number): Check {
  const { inputs, strided } = logitsAndTargets(layout, dtype, T);
  const { studentNll, teacherNll, kl, agreement, studentRight, teacherRight } =
    reference.evaluateRows(...strided);
  const column = (index: number) => Array.from({ length: B * T }, (_, row) => 6 * row + index);
  return check({
    kernel: 'compare',
    sizes: `B=${B} T=${T} V=${V}`,
    layout,
    dtype,
    inputs: {
      ...inputs,
      perToken: { values: new Float64Array(6 * B * T).fill(777), layout: [B * T, 6] },
    },
    record: (recorder, { student, teacher, targets, perToken }) =>
      compare(recorder, { student, teacher, targets, perToken, ignoreIndex: IGNORED }),
    outputs: [
      { tensor: 'perToken', at: column(0), expected: studentNll, tolerance: LOSS },
      { tensor: 'perToken', at: column(1), expected: teacherNll, tolerance: LOSS },
      { tensor: 'perToken', at: column(2), expected: kl, tolerance: LOSS },
      { tensor: 'perToken', at: column(3), expected: agreement, tolerance: EXACT },
      { tensor: 'perToken', at: column(4), expected: studentRight, tolerance: EXACT },
      { tensor: 'perToken', at: column(5), expected: teacherRight, tolerance: EXACT },
    ],
  });
}

export const diagnoseChecks = (dtype: Storage, T = SMALL_T): Check[] =>
  LAYOUT_NAMES.map((layout) => diagnoseCheck(layout, dtype, T));

function diagnoseCheck(layout: LayoutName, dtype: Storage, T: number): Check {
  const { inputs, strided } = logitsAndTargets(layout, dtype, T);
  const { temperature, alpha } = WEIGHTS;
  const expected = reference.diagnoseRows(...strided, { temperature });
  const figures = DIAGNOSES.length;
  return check({
    kernel: 'diagnose',
    sizes: `B=${B} T=${T} V=${V}`,
    layout,
    dtype,
    inputs: {
      ...inputs,
      perToken: {
        values: new Float64Array(figures * B * T).fill(777),
        layout: [B * T, figures],
      },
      ...lossState({ temperature, alpha, tokens: B * T, scale: SCALE }),
    },
    record: (recorder, { student, teacher, targets, perToken, step }) =>
      diagnose(recorder, {
        student,
        teacher,
        targets,
        perToken,
        step: step.place,
        ignoreIndex: IGNORED,
      }),
    outputs: DIAGNOSES.map((name, index) => ({
      tensor: 'perToken' as const,
      at: Array.from({ length: B * T }, (_, row) => figures * row + index),
      expected: expected[name],
      tolerance: LOSS,
    })),
  });
}

export function copyChecks(dtype: Storage): Check[] {
  const sources = {
    contiguous: Layout.contiguous([4, 35]),
    transposed: Layout.contiguous([41, 27]).transpose(0, 1),
    'four dimensions, permuted': Layout.contiguous([2, 3, 4, 5]).permute([3, 1, 0, 2]),
    'a repeated row': Layout.contiguous([1, 5]).expand([4, 5]),
  };
  // As the gradient of a slice is copied back.
  const sliced = Layout.contiguous([3, 5, 7]).slice(1, 0, -1);
  const conversions: [Storage, Storage][] =
    dtype === 'f32'
      ? [['f32', 'f32']]
      : [
          ['f32', 'f16'],
          ['f16', 'f32'],
        ];
  return conversions.flatMap(([from, to]) =>
    [
      ...Object.entries(sources).map(([name, source]) => ({
        name,
        source,
        target: Layout.contiguous([source.numel]),
      })),
      { name: 'into a slice', source: Layout.contiguous(sliced.shape), target: sliced },
    ].map(({ name, source, target }) => {
      const values = stored(numbers(source.extent + 2, 3, 4), from);
      const expected = new Float64Array(target.extent);
      const places = [...target.addresses()];
      for (const [i, at] of [...source.addresses()].entries()) expected[places[i]] = values[at];
      return check({
        kernel: from === to ? 'copy' : `copy ${from} to ${to}`,
        sizes: `(${source.shape.join(', ')})`,
        layout: name,
        dtype,
        inputs: {
          source: { values, layout: source, dtype: from },
          target: { values: new Float64Array(target.extent), layout: target, dtype: to },
        },
        record: (recorder, { source, target }) => copy(recorder, source, target),
        outputs: [
          {
            tensor: 'target',
            expected,
            tolerance:
              to === 'f16' ? stored16({ value: 0, reason: 'Only converted.' }, 'f16') : EXACT,
          },
        ],
      });
    }),
  );
}
