// @vitest-environment jsdom
// The box in which people try the result: what it asks of the worker, the answers token by token,
// and when nobody can be asked.

import { act, cleanup, configure, fireEvent, render, screen, within } from '@testing-library/react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { useRun } from '../../../src/app/run/store';
import { TRY_IT, TryIt } from '../../../src/app/say/TryIt';
import { useFolds } from '../../../src/app/shared/Fold';
import { ADAPTER, REPORT } from '../../../src/app/states/measurements';
import { SAY_DEFAULTS } from '../../../src/say-settings';
import type { RunEvent, SaidToken } from '../../../src/worker/protocol';
import {
  asked,
  freshStore,
  receive,
  reject,
  report,
  resolve,
  sent,
  status,
  stubBrowser,
} from './support';

// In jsdom a closed <details> hides nothing.
configure({ defaultHidden: true });

const id = () => useRun.getState().run?.id ?? '';
const hear = (event: RunEvent) => act(() => receive(event));
const button = (name: string) => screen.getByRole('button', { name });
const field = (name: string) => screen.getByLabelText(name);
const rows = () =>
  within(screen.getByRole('region', { name: 'What both expected' }))
    .getAllByRole('row')
    .slice(1)
    .map((row) => [...row.children].map((cell) => cell.textContent));

const token = (author: SaidToken['author'], text: string, student: number): SaidToken => ({
  author,
  text,
  choices: [
    { text, student, teacher: 0.5 },
    { text: '\n', student: 0.0004, teacher: 0.25 },
  ],
  said: 0,
  kl: 1.25,
});

beforeEach(async () => {
  stubBrowser();
  useFolds.setState({ [TRY_IT]: true });
  render(<TryIt />);
  expect(screen.queryByText('Try it'), 'without a run there is nobody to ask').toBeNull();
  act(() => useRun.getState().start());
  // The box is a chunk of its own: a busy machine takes its time to import it.
  await screen.findByRole('button', { name: 'Ask both' }, { timeout: 20_000 });
  // It may be seen before its effects have run, and would miss what the store tells until then.
  await act(async () => {});
});
afterEach(() => {
  cleanup();
  freshStore();
  vi.unstubAllGlobals();
});

test('asks once, shows both answers, and by the arrow keys the table of each token', async () => {
  expect(button('Ask both')).toHaveProperty('disabled', true);
  hear(status('running'));
  fireEvent.change(field('Begin a text'), { target: { value: 'Call me' } });
  fireEvent.change(field('Temperature'), { target: { value: '0' } });
  act(() => button('Ask both').click());
  expect(asked('say')).toEqual([
    {
      type: 'say',
      id: asked('say')[0].id,
      runId: id(),
      prompt: 'Call me',
      settings: { ...SAY_DEFAULTS, temperature: 0 },
    },
  ]);
  act(() => {
    report('say', token('student', ' a', 0.12));
    report('say', token('student', ' whale', 0.031));
    report('say', token('teacher', ' Ishmael', 0.2));
  });
  const [student, teacher] = screen.getAllByRole('listbox');
  const names = (list: HTMLElement) =>
    within(list)
      .getAllByRole('option')
      .map((option) => option.getAttribute('aria-label'));
  expect(names(student)).toEqual([
    ' a, student 12%, teacher 50%',
    ' whale, student 3.1%, teacher 50%',
  ]);
  expect(names(teacher)).toEqual([' Ishmael, student 20%, teacher 50%']);
  // The newest token, until one is chosen.
  expect(rows()).toEqual([
    ['␣Ishmael, said', '20%', '50%'],
    ['↵', '<0.1%', '25%'],
  ]);
  act(() => within(student).getAllByRole('option')[1].focus());
  expect(screen.getByRole('heading').textContent).toBe('After “Call me a” KL 1.25 nats');
  fireEvent.keyDown(student, { key: 'ArrowLeft' });
  expect(screen.getByRole('heading').textContent).toBe('After “Call me” KL 1.25 nats');
  expect(within(student).getAllByRole('option')[0]).toBe(document.activeElement);

  act(() => button('Stop').click());
  expect(sent().at(-1)).toEqual({ type: 'say-stop' });
  await act(() => resolve('say', { step: 7, stopped: true }));
  expect(screen.getByRole('status').textContent).toBe('Stopped. The student spoke after step 7.');
});

test('a teacher with another vocabulary is not asked: the student answers alone', async () => {
  hear({ type: 'ready', runId: id(), adapter: ADAPTER, run: { ...REPORT, otherVocabulary: true } });
  hear(status('running'));
  expect(screen.getByText('ask the student')).toBeTruthy();
  act(() => button('Ask').click());
  const { kl: _, ...said } = token('student', ' a', 0.12);
  act(() => report('say', said));
  expect(screen.getAllByRole('listbox')).toHaveLength(1);
  const table = screen.getByRole('region', { name: 'What the student expected' });
  expect(within(table).getAllByRole('columnheader')).toHaveLength(2);
});

test('a setting out of range is refused by name', () => {
  hear(status('paused', 3));
  fireEvent.change(field('Top p'), { target: { value: '0' } });
  expect(screen.getByRole('alert').textContent).toBe(
    'Top p is 0. It must be a number from 0.01 to 1.',
  );
  expect(button('Ask both')).toHaveProperty('disabled', true);
  fireEvent.submit(field('Top p'));
  expect(asked('say')).toHaveLength(0);
});

test('a failure is shown, and another run begins with an empty box', async () => {
  hear(status('paused', 3));
  act(() => button('Ask both').click());
  await act(() =>
    reject('say', { operation: 'answer', message: 'It broke.', hint: 'Ask.', kind: 'internal' }),
  );
  expect(screen.getByRole('alert').textContent).toBe('Could not answer. It broke. Ask.');
  act(() => useRun.getState().start());
  expect(screen.queryByRole('alert')).toBeNull();
});
