// @vitest-environment jsdom
// The drawer on what was learned: its figures by kind of token, the passages that it asks for, and
// what both models expect in a token's place.

import { act, cleanup, configure, render, screen, waitFor, within } from '@testing-library/react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { stepView } from '../../../src/app/charts/x-axis';
import LearnedPanel from '../../../src/app/learned/LearnedPanel';
import { useExpected, usePassages } from '../../../src/app/learned/store';
import { useRun } from '../../../src/app/run/store';
import { useShownRun } from '../../../src/app/run/use-shown-run';
import { evaluationAt } from '../../../src/app/states/measurements';
import type { EvaluationRecord, Passage, RunEvent } from '../../../src/worker/protocol';
import { asked, freshStore, receive, reject, resolve, status, stubBrowser } from './support';

configure({ defaultHidden: true });

function Panel() {
  const run = useShownRun();
  return run && <LearnedPanel run={run} x={stepView(200)} />;
}

const id = () => useRun.getState().run?.id ?? '';
const hear = (event: RunEvent) => act(() => receive(event));
const evaluation = (record: EvaluationRecord) => hear({ type: 'evaluation', runId: id(), record });
const button = (name: string) => screen.getByRole('button', { name });
const rows = (name: string) =>
  within(screen.getByRole('region', { name }))
    .getAllByRole('row')
    .map((row) => [...row.children].map((cell) => cell.textContent));
/** The page draws new reports a few times a second. */
const shows = (name: string, expected: string[][]) =>
  waitFor(() => expect(rows(name)).toEqual(expected));

const passage = (mean: number, kl: number[]): Passage => ({
  ids: [7, 8, 9],
  from: 1,
  before: 'Call',
  texts: [' me', ' Ishmael'],
  kl,
  mean,
});
const WORST = passage(3, [2, 4]);
const EXPECTATION = {
  choices: [
    { text: ' Ishmael', student: 0.02, teacher: 0.9 },
    { text: ' it', student: 0.3, teacher: 0.01 },
  ],
  said: 0,
  kl: 4,
};

beforeEach(() => {
  stubBrowser();
  act(() => useRun.getState().start());
  render(<Panel />);
});
afterEach(() => {
  cleanup();
  freshStore();
  usePassages.getState().drop();
  useExpected.getState().drop();
  vi.unstubAllGlobals();
});

test('shows KL by kind of token and the calibration, now and at the start', async () => {
  screen.getByText('Nothing is measured yet. The first evaluation does it.');
  const record = (step: number, part: Partial<EvaluationRecord>): EvaluationRecord => ({
    ...evaluationAt(step),
    klByPosition: [[4, 7, 10, 2.5]],
    klByFrequency: [[0, 0, 3, 5]],
    calibration: [[0.7, 0.8, 12, 0.74, 0.5]],
    ...part,
  });
  evaluation(record(0, {}));
  await shows('KL by place in the context', [
    ['tokens before', 'tokens', 'KL'],
    ['4–7', '10', '2.500'],
  ]);
  evaluation(record(20, { klByPosition: [[4, 7, 10, 1.25]] }));
  await shows('KL by place in the context', [
    ['tokens before', 'tokens', 'KL', 'step 0'],
    ['4–7', '10', '1.250', '2.500'],
  ]);
  expect(rows('KL by how common the token is')[1]).toEqual(['never', '3', '5.000', '5.000']);
  expect(rows('Calibration')[1]).toEqual(['70–80%', '12', '74%', '50%']);
  screen.getByRole('heading', { name: /^Likely tokens in common/ });
  screen.getByRole('heading', { name: /^Entropy/ });
  // What was not measured is left out: a cache of the top k has KL alone.
  cleanup();
  act(() => useRun.getState().start());
  render(<Panel />);
  const { overlap, calibration, klByFrequency, ...cached } = record(0, {});
  evaluation(cached);
  await shows('KL by place in the context', [
    ['tokens before', 'tokens', 'KL'],
    ['4–7', '10', '2.500'],
  ]);
  for (const absent of ['Calibration', 'KL by how common the token is'])
    expect(screen.queryByText(absent)).toBeNull();
});

test('asks for passages, and at once about the token that is furthest off', async () => {
  expect(button('Find the passages')).toHaveProperty('disabled', true);
  hear(status('running'));
  screen.getByText('Training waits meanwhile.');
  act(() => button('Find the passages').click());
  expect(asked('passages')).toEqual([expect.objectContaining({ runId: id() })]);
  await act(() => resolve('passages', { step: 40, worst: [WORST], best: [passage(1, [1, 1])] }));
  screen.getByText('The student as it was after step 40.');
  expect(asked('expect')[0]).toMatchObject({ runId: id(), before: [7, 8], token: 9 });
  screen.getByText('Asking both models.');
  await act(() => resolve('expect', EXPECTATION));
  expect(rows('Both in the passage').slice(1)).toEqual([
    ['␣Ishmael, in the text', '2.0%', '90%'],
    ['␣it', '30%', '1.0%'],
  ]);
  screen.getByText(/^After “Call me”/);

  const list = screen.getByRole('listbox', {
    name: 'Furthest from the teacher, KL 3.00 nats a token',
  });
  const [first, last] = within(list).getAllByRole('option');
  expect(last.getAttribute('aria-selected')).toBe('true');
  act(() => first.focus());
  expect(asked('expect')[1]).toMatchObject({ before: [7], token: 8 });
  await act(() => reject('expect', { operation: 'ask', message: 'It is gone.', kind: 'internal' }));
  screen.getByText(/^Could not ask\. It is gone\./);
});

test('says why there are no passages', async () => {
  hear(status('paused'));
  act(() => button('Find the passages').click());
  screen.getByText('Looking. It takes as long as an evaluation.');
  await act(() =>
    reject('passages', { operation: 'look', message: 'Not finite.', kind: 'internal' }),
  );
  screen.getByText(/^Could not look\. Not finite\./);
  expect(asked('expect')).toEqual([]);
});
