// @vitest-environment jsdom
// Check my GPU, the drawer: what it asks the worker for, the table that comes back, and what it
// says when it cannot check.

import { act, cleanup, configure, render, screen, within } from '@testing-library/react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { CheckDrawer } from '../../../src/app/run/CheckDrawer';
import { useRun } from '../../../src/app/run/store';
import type { CheckRow } from '../../../src/worker/protocol';
import {
  asked,
  crash,
  freshStore,
  receive,
  reject,
  report,
  resolve,
  sent,
  status,
  stubBrowser,
} from './support';

configure({ defaultHidden: true });

const ROW: CheckRow = {
  kernel: 'gelu',
  sizes: '1009',
  layout: 'contiguous',
  dtype: 'f32',
  output: 'out',
  error: 8.7e-8,
  tolerance: 3e-5,
  reason: 'tanh may be off by 1e-5.',
  passed: true,
};
const { error: _, ...NEVER_RAN } = ROW;
const BROKEN: CheckRow = {
  ...NEVER_RAN,
  kernel: 'copy',
  passed: false,
  message: 'copy.wgsl:20: no such type',
};

const row = (value: CheckRow) => act(() => report('check', value));
const done = (text: string) => act(() => resolve('check', text));
const button = (name: string) => screen.getByRole('button', { name });
const cells = () =>
  within(screen.getByRole('region', { name: 'Kernels, table' }))
    .getAllByRole('row')
    .slice(1)
    .map((row) => [...row.children].map((cell) => cell.textContent));

beforeEach(() => {
  stubBrowser();
  render(<CheckDrawer />);
});
afterEach(() => {
  cleanup();
  freshStore();
  vi.unstubAllGlobals();
});

test('asks the worker once, shows each row as it comes, and copies the text', async () => {
  act(() => button('Check every kernel').click());
  expect(sent()).toEqual([{ type: 'check', id: asked('check')[0].id }]);
  expect(button('Check every kernel')).toHaveProperty('disabled', true);
  row(ROW);
  expect(screen.getByRole('status').textContent).toBe('checking, 1 row so far');
  row({ ...ROW, layout: 'transposed', error: 0, tolerance: 0 });
  expect(cells()).toEqual([
    ['gelu', 'f32', 'passed', '8.7e-8', '3.0e-5', 'contiguous', '1009', 'out'],
    ['gelu', 'f32', 'passed', '0', '0', 'transposed', '1009', 'out'],
  ]);
  expect(screen.queryByRole('button', { name: 'Copy as text' })).toBeNull();
  await done('the whole table');
  expect(screen.getByRole('status').textContent).toBe('all 2 passed');

  const writeText = vi.fn(async () => {});
  vi.stubGlobal('navigator', { ...navigator, clipboard: { writeText } });
  await act(async () => button('Copy as text').click());
  expect(writeText).toHaveBeenCalledWith('the whole table');
  expect(button('Copied')).toBeTruthy();

  act(() => button('Check again').click());
  expect(sent()).toHaveLength(2);
  expect(screen.queryByRole('table')).toBeNull();
});

test('a kernel that did not compile is a failed row with the compiler’s message', async () => {
  act(() => button('Check every kernel').click());
  row(ROW);
  row(BROKEN);
  await done('table');
  expect(screen.getByRole('status').textContent).toBe('1 of 2 failed');
  expect(cells()[1]).toEqual([
    'copycopy.wgsl:20: no such type',
    ...['f32', 'failed', 'n/a', '3.0e-5', 'contiguous', '1009', 'out'],
  ]);
});

test('it refuses while a run loads or trains, and says what to do', () => {
  act(() => useRun.getState().start());
  expect(button('Check every kernel')).toHaveProperty('disabled', true);
  expect(screen.getByText(/a run is loading.*Pause or reset it first/)).toBeTruthy();
  act(() => receive(status('running')));
  expect(screen.getByText(/a run is training/)).toBeTruthy();
  act(() => receive(status('paused')));
  expect(button('Check every kernel')).toHaveProperty('disabled', false);
});

test('a check that stops says why, and can be tried again', async () => {
  act(() => button('Check every kernel').click());
  const failure = {
    operation: 'check the GPU',
    message: 'No adapter.',
    hint: 'Look here.',
    kind: 'no-adapter' as const,
  };
  await act(() => reject('check', failure));
  expect(screen.getByRole('alert').textContent).toBe('The check stopped: No adapter. Look here.');
  expect(button('Check again')).toHaveProperty('disabled', false);
});

test('a worker that dies ends the check and keeps its rows', async () => {
  act(() => button('Check every kernel').click());
  row(ROW);
  await act(() => crash('It went away.'));
  expect(screen.getByRole('alert').textContent).toContain('It went away.');
  expect(cells()).toHaveLength(1);
});
