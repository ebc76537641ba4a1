// What the page says to somebody who is new: whether a result is good, and what to switch on where
// there is no GPU.

import { expect, test } from 'vitest';
import { RunHistory } from '../../../src/app/charts/history';
import { type BrowserFacts, gpuHelp } from '../../../src/app/run/gpu-help';
import type { ShownRun } from '../../../src/app/run/shown-run';
import { verdictOf } from '../../../src/app/run/verdict';
import { TOUR } from '../../../src/app/tour/steps';
import { DEFAULTS } from '../../../src/config';
import type { EvaluationRecord } from '../../../src/worker/protocol';
import { evaluationRecord, failedEvaluation } from './support';

function verdict(...evaluations: EvaluationRecord[]) {
  const history = new RunHistory(1);
  for (const record of evaluations) history.appendEvaluation(record);
  const report = { teacherParameters: 1_000_000, studentParameters: 200_000 } as ShownRun['report'];
  const run: ShownRun = {
    id: 'run-1',
    source: 'live',
    config: DEFAULTS,
    history,
    marks: [],
    events: [],
    report,
  };
  return verdictOf(run);
}

const student = (step: number, studentPerplexity: number) =>
  evaluationRecord(step, { studentPerplexity, teacherPerplexity: 50 });

test.each([
  [55, 'Very good'],
  [99, 'Good'],
  [101, 'Fair'],
  [300, 'Weak'],
  [2000, 'Not better than before'],
])('a student of perplexity %d beside a teacher of 50: %s', (perplexity, title) => {
  expect(verdict(student(0, 2000), student(200, perplexity))?.title).toBe(title);
});

test('the verdict has the numbers that it rests on', () => {
  // ln(2000 / 100) of ln(2000 / 50) nats are 81%.
  expect(verdict(student(0, 2000), student(200, 100))?.sentences.join(' ')).toContain(
    'The teacher’s is 50.0: the student’s is 2.0 times that. In nats it came 81% of the way from ' +
      'its start to its teacher, with 5.0 times fewer parameters.',
  );
  expect(verdict(student(0, 2000), student(200, 40))?.sentences.join(' ')).toContain(
    'better than its teacher',
  );
});

test('what was not measured is not judged', () => {
  expect(verdict()).toBeUndefined();
  expect(verdict(student(0, 2000), failedEvaluation(200))).toEqual({
    title: 'Finished',
    sentences: ['The student’s perplexity went from 2,000 to n/a (0 valid tokens).'],
  });
  // Of a teacher with another vocabulary there is no perplexity to compare with.
  const alone = (step: number, perplexity: number) => ({
    ...student(step, perplexity),
    teacherPerplexity: undefined,
  });
  expect(verdict(alone(0, 2000), alone(200, 100))?.title).toBe('Finished');
  expect(verdict(alone(0, 2000), alone(200, 2100))?.title).toBe('Not better than before');
});

const facts = (values: Partial<BrowserFacts>) =>
  gpuHelp({ engine: 'chromium', system: 'Windows', secure: true, hasWebGpu: false, ...values })
    .map(({ text, address = '' }) => `${text} ${address}`)
    .join('\n');

test('each browser is told what to switch on in it', () => {
  expect(facts({})).toContain('version 113');
  expect(facts({})).not.toContain('Linux');
  expect(facts({ system: 'Linux x86_64' })).toContain('chrome://flags/#enable-unsafe-webgpu');
  expect(facts({ hasWebGpu: true })).toContain('chrome://settings/system');
  expect(facts({ engine: 'firefox' })).toContain('about:config');
  expect(facts({ engine: 'safari' })).toContain('Safari 26');
  expect(facts({ engine: 'other' })).toContain('Chrome, Edge, Firefox and Safari');
});

test('a page over plain http is told that first, and nothing else', () => {
  expect(facts({ secure: false, engine: 'firefox' })).toMatch(
    /^This page came over plain http[^\n]+$/,
  );
});

test('the tour has at most five steps', () => {
  expect(TOUR.length).toBeLessThanOrEqual(5);
});
