// Losses between two vocabularies: the reference against TRL's own function, and against finite
// differences.

import { expect, test } from 'vitest';
import { align } from '../../src/data/aligned';
import * as reference from '../../src/reference';
import { readGoldenJson } from '../safetensors-fixture';

interface Case {
  kind: 'uld' | 'gold';
  temperature: number;
  beta: number;
  V: number;
  W: number;
  student: number[];
  teacher: number[];
  starts: number[];
  teacher_starts: number[];
  matched: number[];
  z: number[][];
  y: number[][];
  loss: number;
  grad: number[][];
}
const cases = readGoldenJson<Case[]>('aligned.json');

/** Both compute in float64. */
const FLOAT64 = 1e-12;

const rowsOf = ({ starts, teacher_starts }: Case): reference.GroupRows[] => {
  const { student, teacher } = align(starts, teacher_starts);
  return Array.from(student, (end, g) => [
    student[g - 1] ?? 0,
    end - 1,
    teacher[g - 1] ?? 0,
    teacher[g] - 1,
  ]);
};

const run = (c: Case, z: Float64Array) =>
  reference.alignedLoss(
    { logits: z, V: c.V, targets: c.student.slice(1) },
    { logits: Float64Array.from(c.y.flat()), V: c.W, targets: c.teacher.slice(1) },
    rowsOf(c),
    { temperature: c.temperature, matched: c.matched, beta: c.beta },
  );

test('the goldens have groups of several tokens on either side', () => {
  const groups = cases.flatMap(rowsOf);
  expect(groups.some(([first, last]) => last > first)).toBe(true);
  expect(groups.some(([, , first, last]) => last > first)).toBe(true);
});

test.each(cases)('$kind, $V and $W tokens, T = $temperature: as TRL computes it', (c) => {
  const { loss, gradient } = run(c, Float64Array.from(c.z.flat()));
  expect(Math.abs(loss / c.loss - 1)).toBeLessThan(FLOAT64);
  expect(reference.relativeError(gradient, Float64Array.from(c.grad.flat()))).toBeLessThan(FLOAT64);
});

test.each(cases)('$kind, $V and $W tokens, T = $temperature: finite differences', (c) => {
  const z = Float64Array.from(c.z.flat());
  const difference = reference.finiteDifferences(z, () => run(c, z).loss);
  // What the kinks of |a − b| leave: no case lies on one.
  expect(reference.relativeError(run(c, z).gradient, difference)).toBeLessThan(1e-6);
});

test('equal models have no loss, and equal probabilities are ranked by their ids', () => {
  const side = { logits: Float64Array.of(1, 0, 0, 2), V: 4, targets: [0] };
  const equal = reference.alignedLoss(side, side, [[0, 0, 0, 0]], { temperature: 1 });
  expect([equal.loss, reference.norm(equal.gradient)]).toEqual([0, 0]);
  const teacher = { logits: Float64Array.of(1, 0.5, -1, 2), V: 4, targets: [0] };
  const { gradient } = reference.alignedLoss(side, teacher, [[0, 0, 0, 0]], { temperature: 1 });
  // Token 1 comes before token 2: it is too small for the third rank, token 2 too large.
  expect(gradient[1]).toBeLessThan(gradient[2]);
});
