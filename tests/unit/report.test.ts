// What counts as passed in `npm test`: only a test that ran and passed.

import { expect, test } from 'vitest';
import { countReport } from '../report.mjs';

const file = (...statuses: string[]) => ({
  name: 'a.test.ts',
  status: statuses.includes('failed') ? 'failed' : 'passed',
  assertionResults: statuses.map((status, index) => ({ status, fullName: `test ${index}` })),
});

test('counts passed and failed tests over all files', () => {
  const report = { testResults: [file('passed', 'failed'), file('passed')] };
  expect(countReport(report, 1)).toEqual({ passed: 2, failed: 1, notes: [] });
});

test.each(['skipped', 'pending', 'todo', 'disabled'])('a %s test counts as failed', (status) => {
  const report = { testResults: [file('passed', status)] };
  expect(countReport(report, 0)).toEqual({
    passed: 1,
    failed: 1,
    notes: [`not run (${status}): test 1`],
  });
});

test('a file that could not start counts as failed', () => {
  const broken = { ...file(), status: 'failed' };
  expect(countReport({ testResults: [file('passed'), broken] }, 1)).toMatchObject({
    passed: 1,
    failed: 1,
  });
  // A hook that failed after its tests passed.
  const after = { ...file('passed'), status: 'failed' };
  expect(countReport({ testResults: [after] }, 1)).toMatchObject({ passed: 1, failed: 1 });
});

test('no tests, no report and an error outside the tests each count as failed', () => {
  expect(countReport({ testResults: [] }, 0)).toEqual({
    passed: 0,
    failed: 1,
    notes: ['no tests'],
  });
  expect(countReport(undefined, 1)).toMatchObject({ passed: 0, failed: 1 });
  expect(countReport({ testResults: [file('passed')] }, 1)).toMatchObject({ passed: 1, failed: 1 });
});

test('a test that passed only at the second try is named, with its first error', () => {
  const [first, second] = file('passed', 'passed').assertionResults;
  const again = { ...second, failureMessages: ['AssertionError: expected 1 to be 2\n    at …'] };
  const report = { testResults: [{ ...file(), assertionResults: [first, again] }] };
  expect(countReport(report, 0)).toEqual({
    passed: 2,
    failed: 0,
    notes: ['passed at the second try: test 1, after AssertionError: expected 1 to be 2'],
  });
});
