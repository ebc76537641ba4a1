// @vitest-environment jsdom
// A cached teacher on the page: what is kept and lost, over which tokens its KL is, and which
// setting is then fixed.

import { act, cleanup, render, screen } from '@testing-library/react';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { App } from '../../../src/app/App';
import { evaluationsCsv } from '../../../src/app/run/evaluation';
import { lockReason } from '../../../src/app/run/shown-run';
import { useRun } from '../../../src/app/run/store';
import type {
  AdapterReport,
  CacheReport,
  FromWorker,
  RunReport,
} from '../../../src/worker/protocol';
import { evaluationRecord, freshStore, receive, status, stubBrowser } from './support';

const adapter: AdapterReport = {
  name: 'Test GPU',
  vendor: '',
  software: false,
  f16: true,
  subgroupSize: 32,
  timestamps: false,
  maxBindingBytes: 2 ** 27,
};
const report: RunReport = {
  dtype: 'float16',
  teacherParameters: 3_400_000,
  studentParameters: 240_000,
  vocabularySize: 2048,
  tokensPerStep: 512,
  trainTokens: 300_000,
  heldOutTokens: 16_000,
  dispatchesPerStep: 96,
  submissionsPerStep: 1,
};
const some: CacheReport = {
  V: 2048,
  k: 64,
  bytesPerPosition: 260,
  bytes: 12_345_678,
  seconds: 72,
  found: false,
  kl: { full: 3.2, kept: 3.04 },
};
const all: CacheReport = { ...some, k: 2048, bytesPerPosition: 4096, kl: undefined, found: true };

const say = (message: FromWorker) => act(() => receive(message));
const id = () => useRun.getState().run?.id ?? '';

/** A run that trains, with this cache. */
async function running(cache?: CacheReport): Promise<void> {
  act(() => screen.getByRole('button', { name: 'Distil' }).click());
  say({ type: 'ready', runId: id(), adapter, run: { ...report, cache } });
  say({
    type: 'evaluation',
    runId: id(),
    record: evaluationRecord(0, cache && cache.k < cache.V ? { klWords: 64 } : {}),
  });
  say(status('running'));
  await act(() => new Promise((done) => setTimeout(done, 260)));
}

const temperature = () => screen.getByTestId('field-temperature');
const disabled = () => temperature().querySelector('input')?.disabled;

beforeEach(() => {
  stubBrowser();
  history.replaceState(null, '', '/');
  render(<App />);
});
afterEach(() => {
  cleanup();
  freshStore();
  vi.unstubAllGlobals();
});

test('without a cache the page mentions none, and the temperature is live', async () => {
  await running();
  expect(screen.queryByTestId('cache')).toBeNull();
  expect(disabled()).toBe(false);
});

/** The row of the result's table; the word has its definition beside it. */
const klHeader = () => screen.getByRole('rowheader', { name: /^KL/ }).textContent;

describe('64 tokens kept', () => {
  test('the page says how large the cache is, and how much KL it loses', async () => {
    await running(some);
    expect(screen.getByTestId('cache').textContent).toBe(
      'The teacher is cached and off the GPU: the top 64 of 2,048 tokens, 260 bytes per ' +
        'position, ' +
        '12.3 MB in total, written in 01:12.' +
        'Before training, KL was 3.200 over all tokens and 3.040 over the top 64 and the tail: ' +
        '0.160 less (5.0%). KD and KL of this run use the top tokens and the tail.',
    );
    expect(klHeader()).toContain('KL, top 64 tokens and tail, nats');
  });

  test('the temperature is fixed, with the reason beside it; a change is refused', async () => {
    await running(some);
    expect(disabled()).toBe(true);
    expect(temperature().querySelector('.locked-note')?.textContent).toContain(
      'Fixed during this run: the tail in the teacher’s cache',
    );
    expect(() => useRun.getState().setField('temperature', '3')).toThrow(
      'temperature cannot change. Fixed during this run: the tail in the teacher’s cache',
    );
    act(() => useRun.getState().setField('alpha', '0.3'));
    expect(useRun.getState().config.alpha).toBe(0.3);
  });

  test('it can change again when the run is over', async () => {
    await running(some);
    const { run } = useRun.getState();
    expect(lockReason('finished', 'temperature', run)).toBeUndefined();
    expect(lockReason('paused', 'temperature', run)).toBeDefined();
    expect(lockReason('loading', 'temperature', run)).toContain('Reset the run to change it');
  });
});

test('a cache of all tokens serves every temperature; a reused one says so', async () => {
  await running(all);
  expect(disabled()).toBe(false);
  expect(screen.getByTestId('cache').textContent).toBe(
    'The teacher is cached and off the GPU: all 2,048 tokens, 4,096 bytes per position, ' +
      '12.3 MB in total, from an earlier run that wrote it in 01:12.',
  );
  expect(klHeader()).toContain('KL, nats');
});

test('the CSV says over how many tokens KL is', () => {
  const { kl, ...without } = evaluationRecord(2);
  const csv = evaluationsCsv([evaluationRecord(0), evaluationRecord(1, { klWords: 64 }), without]);
  const [head, ...lines] = csv
    .trim()
    .split('\n')
    .map((line) => line.split(','));
  expect(lines.map((cells) => cells[head.indexOf('klWords')])).toEqual(['all', '64', 'n/a']);
});
