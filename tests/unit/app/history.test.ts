// The run's history: the ring buffer, thinning that keeps peaks, smoothing past NaN, and recovery.

import { describe, expect, test } from 'vitest';
import { RunHistory } from '../../../src/app/charts/history';
import { evaluationRecord, stepRecord } from './support';

const filled = (
  count: number,
  values: (step: number) => Parameters<typeof stepRecord>[1] = () => ({}),
) => {
  const history = new RunHistory(count);
  history.append(
    Array.from({ length: count }, (_, index) => stepRecord(index + 1, values(index + 1))),
  );
  return history;
};

describe('RunHistory', () => {
  test('keeps the newest steps when it is full', () => {
    const history = new RunHistory(3);
    history.append([1, 2, 3, 4, 5].map((step) => stepRecord(step)));
    expect([0, 1, 2].map((index) => history.at(index).step)).toEqual([3, 4, 5]);
    expect(history.atStep(2)).toBeUndefined();
    expect(history.atStep(4)?.step).toBe(4);
  });

  test('drops later steps when a step comes again after a recovery', () => {
    const history = filled(10);
    history.append([stepRecord(7, { loss: 42 })]);
    expect(history.length).toBe(7);
    expect(history.last()?.loss).toBe(42);
    history.appendEvaluation(evaluationRecord(0));
    history.appendEvaluation(evaluationRecord(5));
    history.appendEvaluation(evaluationRecord(5, { agreement: 0.5 }));
    expect(history.evaluations.map((record) => record.agreement)).toEqual([0.25, 0.5]);
  });

  test('thins to at most the limit, keeping both ends, the peak, and every skipped bucket', () => {
    const history = filled(10_000, (step) => ({
      loss: step === 4321 ? 99 : 1 + (step % 7) / 10,
      applied: step !== 7777,
    }));
    const rows = history.thin(['loss'], 500);
    expect(rows.length).toBeLessThanOrEqual(500);
    expect(rows.length).toBeGreaterThan(100);
    expect(rows[0].step).toBe(1);
    expect(rows.at(-1)?.step).toBe(10_000);
    expect(rows.some((row) => row.loss === 99)).toBe(true);
    expect(rows.filter((row) => !row.applied).map((row) => row.step)).toEqual([7777]);
    const steps = rows.map((row) => row.step);
    expect(steps).toEqual([...steps].sort((a, b) => a - b));
  });

  test('keeps every step while they fit the limit', () => {
    expect(filled(500).thin(['loss'], 500)).toHaveLength(500);
    expect(filled(501).thin(['loss'], 500).length).toBeLessThanOrEqual(500);
  });

  test('a loss that is not finite leaves a gap and does not affect later values', () => {
    const history = filled(4, (step) => ({ loss: step === 2 ? NaN : step }));
    const rows = history.thin(['loss'], 500);
    expect(rows.map((row) => row.loss)).toEqual([1, null, 3, 4]);
    expect(rows[1].lossSmooth).toBeNull();
    expect(rows[2].lossSmooth).toBeCloseTo(0.8 * 1 + 0.2 * 3, 12);
  });

  test('counts the latest steps skipped in a row', () => {
    expect(filled(5, (step) => ({ applied: step < 3 })).skippedInARow()).toBe(3);
    expect(filled(5, (step) => ({ applied: step !== 3 })).skippedInARow()).toBe(0);
  });

  test('the CSV has every step and writes NaN as NaN', () => {
    const lines = filled(600, (step) => ({ loss: step === 2 ? NaN : 1 }))
      .csv(['loss', 'tokens'])
      .trimEnd()
      .split('\n');
    expect(lines).toHaveLength(601);
    expect(lines[0]).toBe('step,loss,tokens,applied');
    expect(lines[2]).toBe('2,NaN,512,true');
  });
});
