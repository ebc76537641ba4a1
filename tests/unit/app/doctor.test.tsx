// @vitest-environment jsdom
// The Doctor on the page: a quiet line, a verdict with its evidence, a cure that starts the changed
// run, and what became of it.

import { act, cleanup, configure, fireEvent, render, screen } from '@testing-library/react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { DoctorPanel } from '../../../src/app/run/DoctorPanel';
import { useRun } from '../../../src/app/run/store';
import type { Verdict } from '../../../src/doctor/examine';
import { RULES } from '../../../src/doctor/rules';
import type { Failure } from '../../../src/worker/protocol';
import { evaluationRecord, freshStore, receive, sent, status, stubBrowser } from './support';

configure({ defaultHidden: true });

const { title, severity, caveat } = RULES['learning-rate-low'];
const SLOW: Verdict = {
  rule: 'learning-rate-low',
  title,
  severity,
  caveat,
  text: 'In 40 steps perplexity went from 1,160 to 1,140.',
  advice: 'Raise the learning rate.',
  change: { student_lr: 0.004 },
  region: { chart: 'perplexity', from: 0, to: 40 },
};
const store = () => useRun.getState();
const runId = () => store().run?.id as string;
const diagnosed = (step: number, ...verdicts: Verdict[]) =>
  receive({
    type: 'diagnosis',
    runId: runId(),
    step,
    line: 'Healthy: all is well.',
    verdicts,
    fresh: verdicts,
  });
const evaluated = (step: number, studentPerplexity: number) => {
  const record = { ...evaluationRecord(step), studentPerplexity };
  receive({ type: 'evaluation', runId: runId(), record });
};

beforeEach(() => {
  vi.useFakeTimers();
  stubBrowser();
  render(<DoctorPanel />);
});
afterEach(() => {
  cleanup();
  freshStore();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

test('one quiet line while all is well', () => {
  expect(screen.queryByRole('region')).toBe(null);
  act(() => {
    store().start();
    receive(status('running'));
    diagnosed(0);
  });
  expect(screen.getByRole('region', { name: 'Doctor' }).textContent).toBe('Healthy: all is well.');
});

test('a verdict is announced and logged; its cure starts the changed run and is judged', () => {
  act(() => {
    store().setField('student_lr', '0.000005');
    store().start();
    receive(status('running'));
    evaluated(0, 1160);
    evaluated(40, 1140);
    diagnosed(40, SLOW);
  });
  expect(store().announcement).toBe(`Doctor: ${SLOW.title}. ${SLOW.text}`);
  expect(store().run?.events.at(-1)).toMatchObject({ step: 40, text: store().announcement });
  expect(screen.getByText(`${SLOW.text} ${SLOW.advice}`)).toBeTruthy();
  expect(screen.getByText(`What this does not say: ${caveat}`)).toBeTruthy();

  const first = runId();
  act(() => {
    fireEvent.click(screen.getByRole('button', { name: 'Try it: lr 0.000005 → 0.004' }));
  });
  const [reset, started] = sent().slice(-2);
  expect(reset).toEqual({ type: 'reset', runId: first });
  expect(started).toMatchObject({ type: 'start', config: { student_lr: 0.004 } });
  expect(store().config.student_lr).toBe(0.004);
  // While it loads, too.
  expect(screen.getByText(/^Trying lr 0.000005 → 0.004.*shows at step 40, where the/)).toBeTruthy();

  act(() => {
    receive(status('running'));
    evaluated(0, 1160);
    diagnosed(0);
  });
  expect(screen.getByText(/^Trying lr 0.000005 → 0.004/)).toBeTruthy();
  act(() => {
    evaluated(40, 420);
    diagnosed(40);
  });
  const cured = /cured it.*Perplexity is 420 at step 40; before, it was 1,140/;
  expect(screen.getByText(cured)).toBeTruthy();
  // Said once, and kept in the log.
  expect(store().announcement).toMatch(cured);
  act(() => {
    evaluated(60, 300);
    diagnosed(60);
  });
  expect(store().run?.events.filter(({ text }) => /cured it/.test(text))).toHaveLength(1);
});

test('a changed run that an error stops has shown nothing of its cure', () => {
  act(() => {
    store().start();
    receive(status('running'));
    evaluated(0, 1160);
    evaluated(40, 1140);
    diagnosed(40, SLOW);
  });
  act(() => store().tryCure(SLOW));
  act(() => {
    const failure = { operation: 'train', message: 'No more memory.', hint: '', kind: 'memory' };
    receive({ type: 'failed', runId: runId(), failure: failure as Failure });
  });
  expect(screen.getByText(/^The run with .* stopped before step 40, which would/)).toBeTruthy();
});
