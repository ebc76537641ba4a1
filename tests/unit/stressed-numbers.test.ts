// Numbers that are no measurements: settings at and past their ends are refused by name, value and
// range, and what a broken model gives is shown as what it is, nowhere as a number.

import { describe, expect, test } from 'vitest';
import { RunHistory } from '../../src/app/charts/history';
import { evaluationsCsv } from '../../src/app/run/evaluation';
import { evaluated, evaluationLine, skipped } from '../../src/app/run/log';
import type { ShownRun } from '../../src/app/run/shown-run';
import { formatMeasure, formatShare } from '../../src/app/shared/format';
import { checkField, DEFAULTS, type FieldName } from '../../src/config';
import type { EvaluationRecord, StepRecord } from '../../src/distill/records';
import { parseLink } from '../../src/link';

describe('a setting', () => {
  test.each([
    ['seed', 0],
    ['seed', 2 ** 31 - 1],
    ['batch_size', 1],
    ['student_lr', 1e-7],
    ['student_lr', 0.1],
  ] as const)('%s may be %d', (name, value) => {
    expect(checkField(name, value)).toBeUndefined();
  });

  test.each([
    ['seed', -1],
    ['seed', 0.5],
    ['seed', 2 ** 32 - 1],
    ['seed', Number.NaN],
    ['student_lr', 1e3],
    ['student_lr', 1e38],
    ['student_lr', Number.POSITIVE_INFINITY],
    ['student_lr', -1e-3],
    ['student_width', 4],
    ['max_length', 1],
    ['batch_size', 0],
    ['temperature', Number.NaN],
  ] as const)('%s may not be %d: the problem has the value and the range', (name, value) => {
    const problem = checkField(name as FieldName, value) as string;
    expect(problem).toContain(name);
    expect(problem).toMatch(/\d/);
    const link = parseLink(`#v=1&${name}=${value}`);
    expect(link).toHaveProperty('problems');
  });
});

/** What a model gives whose predictions are not numbers, and one without a valid token. */
const broken: EvaluationRecord = {
  step: 4,
  tried: 2,
  succeeded: 2,
  failed: 0,
  tokens: 62,
  path: 'strided',
  bytesCopied: 0,
  studentPerplexity: Number.NaN,
  teacherPerplexity: Number.POSITIVE_INFINITY,
  kl: Number.NaN,
  agreement: Number.NaN,
  milliseconds: 3,
};
const empty: EvaluationRecord = {
  ...broken,
  tokens: 0,
  studentPerplexity: undefined,
  teacherPerplexity: undefined,
  kl: undefined,
  agreement: undefined,
};
const step: StepRecord = {
  step: 4,
  loss: Number.NaN,
  ce: Number.NaN,
  kd: Number.NaN,
  gradNorm: Number.NaN,
  learningRate: 1e-3,
  lossScale: 1,
  applied: false,
  appliedTotal: 3,
  skippedTotal: 1,
  tokens: 62,
};

describe('a broken model', () => {
  const history = new RunHistory(8);
  history.append([step]);
  history.appendEvaluation(broken);
  const run = { history, config: DEFAULTS } as unknown as ShownRun;

  test('is NaN in the log, in what is read out and in the file, never a number', () => {
    expect(evaluationLine(run, 0)).toBe('Step 4: Loss=NaN, PPL=NaN, Success=1.000 (2 of 2)');
    expect(evaluated(broken)).toBe('Evaluation at step 4: perplexity NaN, agreement NaN.');
    expect(skipped(step)).toBe(
      'Step 4: skipped, a gradient was not finite (Loss=NaN, loss scale 1)',
    );
    const [, row] = evaluationsCsv([broken]).split('\n');
    expect(row).toBe('4,NaN,Infinity,NaN,all,NaN,n/a,n/a,62,2,2,0,strided,0,3');
  });

  test('without a valid token there is nothing to show', () => {
    expect(evaluated(empty)).toBe('Evaluation at step 4: perplexity n/a, agreement n/a.');
    const [, row] = evaluationsCsv([empty]).split('\n');
    expect(row).toBe('4,n/a,n/a,n/a,n/a,n/a,n/a,n/a,0,2,2,0,strided,0,3');
  });

  test('no format makes a number of it', () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      expect(formatMeasure(value)).toBe(String(value));
      expect(formatShare(value)).toBe(String(value));
    }
  });
});
