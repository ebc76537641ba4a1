// @vitest-environment jsdom
// A sweep on the page: typed, started, stopped, continued after a reload, and what it shows.

import { act, cleanup, fireEvent, render, screen } from '@testing-library/react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { useRun } from '../../../src/app/run/store';
import { ContinueNotice } from '../../../src/app/runs/ContinueNotice';
import { useRuns } from '../../../src/app/runs/store';
import { useFolds } from '../../../src/app/shared/Fold';
import { SweepPanel } from '../../../src/app/sweep/SweepPanel';
import { SWEEP, SweepPlan } from '../../../src/app/sweep/SweepPlan';
import { useSweep } from '../../../src/app/sweep/store';
import type { RunRow } from '../../../src/runs/row';
import type { Sweep } from '../../../src/runs/sweep';
import type { KeptRuns, RunCommand } from '../../../src/worker/protocol';
import {
  asked,
  evaluationRecord,
  freshStore,
  receive,
  resolve,
  sent,
  status,
  stubBrowser,
} from './support';

beforeEach(() => {
  stubBrowser();
  useFolds.setState({ [SWEEP]: true });
  render(
    <>
      <ContinueNotice />
      <SweepPanel />
      <SweepPlan />
    </>,
  );
});
afterEach(() => {
  cleanup();
  freshStore();
  useRuns.setState(useRuns.getInitialState(), true);
  vi.unstubAllGlobals();
});

const press = (name: string) => act(async () => screen.getByRole('button', { name }).click());
const starts = () =>
  sent().filter(
    (message): message is Extract<RunCommand, { type: 'start' }> => message.type === 'start',
  );
const lastKept = () => asked('keep-sweep').at(-1)?.sweep as Sweep;

/** What the worker answers. */
const kept = (rows: Partial<RunRow>[], sweeps: Sweep[] = [lastKept()]): KeptRuns => ({
  rows: rows.map((row) => ({ label: {}, time: '', curve: [], name: row.id, ...row }) as RunRow),
  sweeps,
  lasting: true,
  persisted: true,
  bytes: 0,
  budget: 1e9,
});

/** The run that was started reports its last evaluation and its end. */
async function finish(perplexity: number): Promise<void> {
  const { runId } = starts().at(-1) as { runId: string };
  const record = evaluationRecord(200, { studentPerplexity: perplexity });
  await act(async () => {
    receive({ type: 'evaluation', runId, record });
    receive(status('running', 199));
    receive(status('finished', 200));
  });
}

async function plan(values: string): Promise<void> {
  fireEvent.change(screen.getByLabelText('Values'), { target: { value: values } });
  await act(async () => {});
}

test('runs one after another, names the best, and leaves the last run’s settings', async () => {
  await plan('0.001, 0.002, nought');
  expect(screen.getByText(/student_lr is "nought"\. It must be a number/)).toBeTruthy();
  await plan('0.001, 0.002');
  expect(screen.getByText(/2 runs: lr 0.001; lr 0.002\./)).toBeTruthy();
  await press('Start 2 runs');
  await act(() => resolve('keep-sweep', kept([])));
  expect(starts().map(({ config }) => config.student_lr)).toEqual([0.001]);
  expect(screen.getByText(/run 1 of 2: lr 0.001/)).toBeTruthy();
  await finish(60);
  expect(lastKept().runs[0].outcome).toMatchObject({ step: 0, perplexity: 60 });
  await act(() => resolve('keep-sweep', kept([])));
  expect(starts().map(({ runId }) => runId)).toEqual(lastKept().runs.map(({ id }) => id));
  await finish(50);
  await act(() => resolve('keep-sweep', kept([])));
  await act(() => resolve('keep-sweep', kept([])));
  expect(starts()).toHaveLength(2);
  expect(screen.getByTestId('sweep-sentence').textContent).toMatch(/^Best is lr 0.002: .* 50\.0/);
  expect(useRun.getState().config.student_lr).toBe(0.002);
  await press('Close');
  expect(screen.queryByTestId('sweep-sentence')).toBeNull();
});

test('stops, and goes on after a reload where it was cut off', async () => {
  await plan('0.001, 0.002, 0.003');
  await press('Start 3 runs');
  await act(() => resolve('keep-sweep', kept([])));
  await finish(60);
  await act(() => resolve('keep-sweep', kept([])));
  await act(async () => receive(status('running', 7)));
  await press('Stop the sweep');
  expect(sent().at(-1)).toMatchObject({ type: 'pause' });
  await act(async () => receive(status('paused', 8)));
  await press('Continue the sweep');
  await act(() => resolve('keep-sweep', kept([])));
  expect(sent().at(-1)).toMatchObject({ type: 'resume' });
  // A run that somebody starts ends the sweep's turn.
  await act(async () => receive(status('running', 9)));
  act(() => useRun.getState().reset());
  expect(useSweep.getState().running).toBe(false);

  const sweep = lastKept();
  const { id, config } = sweep.runs[1];
  freshStore();
  stubBrowser();
  const rows: Partial<RunRow>[] = [
    { id: sweep.runs[0].id, state: 'finished', step: 200 },
    { id, config, state: 'stopped', step: 9, checkpoint: 8, open: false },
  ];
  act(() => useRuns.setState({ kept: kept(rows, [sweep]) }));
  expect(screen.getByText('Your sweep of lr has 1 of 3 runs done.')).toBeTruthy();
  await press('Continue the sweep');
  await act(() => resolve('keep-sweep', kept(rows)));
  expect(starts()).toEqual([expect.objectContaining({ runId: id, continues: true })]);
});

test('goes on past a run that failed, but not past what stops every run', async () => {
  await plan('0.001, 0.002');
  await press('Start 2 runs');
  await act(() => resolve('keep-sweep', kept([])));
  const fail = (kind: 'internal' | 'network', message: string) =>
    act(async () => {
      const { runId } = starts().at(-1) as { runId: string };
      receive({ type: 'failed', runId, failure: { operation: 'train', message, kind } });
    });
  await fail('internal', 'The loss is not finite.');
  await act(() => resolve('keep-sweep', kept([])));
  expect(starts()).toHaveLength(2);
  await fail('network', 'The server did not answer.');
  expect(useSweep.getState()).toMatchObject({
    running: false,
    problem: 'The server did not answer.',
  });
  expect(lastKept().runs.map(({ outcome }) => outcome?.problem)).toEqual([
    'The loss is not finite.',
    undefined,
  ]);
});
