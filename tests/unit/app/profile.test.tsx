// @vitest-environment jsdom
// Where a step goes, the drawer: when it can measure, what it asks for, the table that comes back,
// and what it says about rounded timestamps and failures.

import { act, cleanup, configure, fireEvent, render, screen, within } from '@testing-library/react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ProfileDrawer } from '../../../src/app/run/ProfileDrawer';
import { useRun } from '../../../src/app/run/store';
import type { AdapterReport, Figures, ProfileReport, RunEvent } from '../../../src/worker/protocol';
import {
  asked,
  crash,
  freshStore,
  receive,
  reject,
  resolve,
  sent,
  status,
  stubBrowser,
} from './support';

// In jsdom a closed <details> hides nothing.
configure({ defaultHidden: true });

const id = () => useRun.getState().run?.id ?? '';
const say = (event: RunEvent) => act(() => receive(event));
const profiled = (report: ProfileReport, text = '', request?: number) =>
  act(() => resolve('profile', { report, text }, request));
const button = (name: string | RegExp) => screen.getByRole('button', { name });
const cells = () =>
  within(screen.getByRole('region', { name: 'Kernels of a step, table' }))
    .getAllByRole('row')
    .slice(1)
    .map((row) => [...row.children].map((cell) => cell.textContent));

const figures = (
  name: string,
  dispatches: number,
  nanoseconds: number,
  flops = 0,
  bytes = 0,
): Figures => ({
  name,
  dispatches,
  nanoseconds,
  flops,
  bytes,
});
const REPORT: ProfileReport = {
  ...figures('step', 9, 20e6, 80e6, 5e6),
  phases: [
    {
      ...figures('teacher', 1, 10e6),
      wallClock: true,
      kernels: [{ ...figures('teacher', 1, 10e6), kinds: [] }],
    },
    {
      ...figures('student', 8, 10e6, 80e6, 5e6),
      wallClock: false,
      kernels: [
        {
          ...figures('matmul', 6, 8e6, 80e6, 4e6),
          kinds: [figures('mlp.c_fc', 4, 6e6, 60e6, 3e6), figures('head', 2, 2e6, 20e6, 1e6)],
        },
        { ...figures('copy', 2, 0, 0, 1e6), kinds: [figures('copy', 2, 0, 0, 1e6)] },
      ],
    },
  ],
  stepMilliseconds: 25,
  repetitions: 12,
  roofline: { flopsPerSecond: 40e9, bytesPerSecond: 10e9 },
};
const ADAPTER: AdapterReport = {
  name: 'Some GPU',
  vendor: 'some',
  software: false,
  f16: true,
  subgroupSize: 32,
  timestamps: true,
  maxBindingBytes: 2 ** 27,
};

beforeEach(async () => {
  stubBrowser();
  render(<ProfileDrawer />);
  const drawer = screen.getByRole('group') as HTMLDetailsElement;
  drawer.open = true;
  fireEvent(drawer, new Event('toggle'));
  // The panel is a chunk of its own. Within act, it has also subscribed to the store.
  await act(async () => {
    await import('../../../src/app/run/ProfilePanel');
  });
});
afterEach(() => {
  cleanup();
  freshStore();
  vi.unstubAllGlobals();
});

function paused(): void {
  act(() => useRun.getState().start());
  say(status('running'));
  say(status('paused', 3));
}

test('a run that stands still can be measured; otherwise it says why not', async () => {
  const reads = (text: RegExp) => {
    expect(screen.getByRole('status').textContent).toMatch(text);
    expect(button('Measure')).toHaveProperty('disabled', true);
  };
  reads(/paused or finished run can be measured\. Start a run first/);
  act(() => useRun.getState().start());
  reads(/The run is loading/);
  say(status('running'));
  reads(/the run is training.*Pause it, then measure/);
  say(status('paused', 3));
  expect(button('Measure')).toHaveProperty('disabled', false);
  expect(screen.getByRole('status').textContent).toBe('');
  await act(async () => {
    void useRun.getState().probe();
    await resolve('probe', { ...ADAPTER, timestamps: false });
  });
  reads(/no timestamp-query.*Chrome and Edge/);
});

test('asks the worker once, and shows parts, kernels and, unfolded, their uses', async () => {
  paused();
  act(() => button('Measure').click());
  expect(sent().at(-1)).toEqual({
    type: 'profile',
    id: asked('profile')[0].id,
    runId: id(),
  });
  expect(button('Measure')).toHaveProperty('disabled', true);
  expect(screen.getByRole('status').textContent).toMatch(/^Measuring/);
  await profiled(REPORT, 'the table as text');
  const rows = [
    ['Teacher, wall time', '10.0', '50.0%', 'n/a', 'n/a'],
    // 80 million operations and 5 million bytes in 10 ms.
    ['Student, forward and backward', '10.0', '50.0%', '8.00 (20%)', '0.500 (5%)'],
    ['matmul', '8.000', '40.0%', '10.0 (25%)', '0.500 (5%)'],
    ['copy', '0.000', '0.0%', 'n/a', 'n/a'],
  ];
  expect(cells()).toEqual(rows);
  const fold = button('matmul');
  expect(fold.getAttribute('aria-expanded')).toBe('false');
  act(() => fold.click());
  expect(fold.getAttribute('aria-expanded')).toBe('true');
  expect(cells()).toEqual([
    ...rows.slice(0, 3),
    ['mlp.c_fc', '6.000', '30.0%', '10.0 (25%)', '0.500 (5%)'],
    ['head', '2.000', '10.0%', '10.0 (25%)', '0.500 (5%)'],
    rows[3],
  ]);
  // What it controls is there by that name.
  const controlled = (fold.getAttribute('aria-controls') ?? '').split(' ');
  expect(
    controlled.map((row) => document.getElementById(row)?.firstElementChild?.textContent),
  ).toEqual(['mlp.c_fc', 'head']);
  const text = document.body.textContent;
  expect(text).toContain(
    'A step takes 25.0 ms of wall time; its parts, timed one kernel at a time, take 20.0 ms.',
  );
  expect(text).toContain(
    '40.0 GFLOP/s in a large matrix product, and 10.0 GB/s, read and written, in a copy',
  );
  expect(text).toContain('Its time is wall time');
  expect(text).not.toContain('rounds timestamps');
  expect(button('Copy as text')).toBeTruthy();
  expect(button('Measure again')).toHaveProperty('disabled', false);
});

test('rounded timestamps are told, with what makes them exact', async () => {
  paused();
  act(() => button('Measure').click());
  await profiled({ ...REPORT, quantum: 65_536 });
  expect(document.body.textContent).toMatch(
    /rounds timestamps to 66 µs.*mean of 12 measurements.*chrome:\/\/flags/,
  );
});

test('a failure says what to do; a dead worker, a lost device or another run ends it', async () => {
  paused();
  act(() => button('Measure').click());
  const failure = {
    operation: 'measure a step',
    message: 'No room.',
    hint: 'Close pages.',
    kind: 'limits' as const,
  };
  await act(() => reject('profile', failure));
  expect(screen.getByRole('alert').textContent).toBe(
    'Could not measure the step. No room. Close pages.',
  );
  expect(button('Measure')).toHaveProperty('disabled', false);

  act(() => button('Measure').click());
  expect(screen.queryByRole('alert')).toBeNull();
  say({ type: 'lost', runId: id(), message: 'gone' });
  expect(screen.getByRole('status').textContent).toMatch(/paused or finished/);

  paused();
  act(() => button('Measure').click());
  await act(() => crash('It went away.'));
  expect(screen.getByRole('alert').textContent).toContain('It went away.');

  paused();
  expect(screen.queryByRole('alert')).toBeNull();
  act(() => button('Measure').click());
  paused();
  await profiled(REPORT);
  expect(screen.queryByRole('table')).toBeNull();
});
