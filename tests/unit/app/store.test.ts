// @vitest-environment jsdom
// The page's store: what it sends to the worker, when React sees a change, and what is refused. The
// state machine itself is in reduce.test.ts.

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { logLines } from '../../../src/app/run/log';
import { prepareWhileReading } from '../../../src/app/run/prepare';
import type { ShownRun } from '../../../src/app/run/shown-run';
import { useRun } from '../../../src/app/run/store';
import { useRoom } from '../../../src/app/shared/rooms';
import { DEFAULTS } from '../../../src/config';
import { PRESETS } from '../../../src/presets';
import type { AdapterReport } from '../../../src/worker/protocol';
import {
  evaluationRecord,
  FakeWorker,
  failedEvaluation,
  freshStore,
  receive,
  reject,
  sent,
  status,
  stepRecord,
  stubBrowser,
} from './support';

const store = () => useRun.getState();
const run = () => store().run as ShownRun;
const runId = () => run().id;

function started(): void {
  store().start();
  receive(status('running'));
}

beforeEach(() => {
  vi.useFakeTimers();
  stubBrowser();
});
afterEach(() => {
  freshStore();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

describe('a run', () => {
  test('makes no worker before it needs one, and sends the settings as shown', () => {
    expect(FakeWorker.made).toHaveLength(0);
    store().setField('alpha', '0.25');
    store().start();
    expect(store().phase).toBe('loading');
    expect(sent()).toEqual([
      { type: 'start', runId: runId(), config: { ...DEFAULTS, alpha: 0.25 } },
    ]);
  });

  test('its phases follow the worker, not the buttons', () => {
    started();
    expect(store().phase).toBe('running');
    store().pause();
    expect(store()).toMatchObject({ phase: 'running', requested: 'pause' });
    receive(status('running', 3));
    vi.advanceTimersByTime(300);
    expect(store().requested).toBe('pause');
    receive(status('paused', 4));
    expect(store()).toMatchObject({ phase: 'paused', requested: undefined });
    store().step();
    store().resume();
    receive(status('running', 5));
    receive(status('finished', 200));
    expect(store().phase).toBe('finished');
    expect(sent().map((message) => message.type)).toEqual(['start', 'pause', 'step', 'resume']);
  });

  test('messages of a run that is over are ignored', () => {
    started();
    const old = runId();
    store().start();
    expect(sent().map((message) => message.type)).toEqual(['start', 'reset', 'start']);
    receive({ type: 'steps', runId: old, records: [stepRecord(1)] });
    receive({ type: 'evaluation', runId: old, record: evaluationRecord(0) });
    receive({
      type: 'failed',
      runId: old,
      failure: { operation: 'x', message: 'y', kind: 'internal' },
    });
    expect(store().phase).toBe('loading');
    expect(run().history.length).toBe(0);
    expect(run().history.evaluations).toEqual([]);
  });

  test('React sees a change at most five times a second, and nothing is lost', () => {
    started();
    let told = 0;
    const stop = useRun.subscribe(() => told++);
    for (let step = 1; step <= 100; step++) {
      receive({ type: 'steps', runId: runId(), records: [stepRecord(step)] });
      receive({
        type: 'status',
        runId: runId(),
        status: {
          state: 'running',
          step,
          tokensPerSecond: step,
          submissionsPerStep: 1,
          memory: {},
        },
      });
      vi.advanceTimersByTime(10);
    }
    vi.advanceTimersByTime(200);
    stop();
    expect(told).toBeLessThanOrEqual(6);
    expect(told).toBeGreaterThan(2);
    expect(run().history.length).toBe(100);
    expect(store().status?.step).toBe(100);
  });

  test('reset shows the recorded run again and ends the worker’s run', () => {
    started();
    const id = runId();
    store().reset();
    expect(store()).toMatchObject({ phase: 'idle', run: undefined });
    expect(sent().at(-1)).toEqual({ type: 'reset', runId: id });
    receive({
      type: 'status',
      runId: id,
      status: { state: 'running', step: 1, tokensPerSecond: 1, submissionsPerStep: 1, memory: {} },
    });
    expect(store().phase).toBe('idle');
  });

  test('a lost device offers the last evaluation’s step, and goes on from there', () => {
    started();
    receive({
      type: 'steps',
      runId: runId(),
      records: Array.from({ length: 70 }, (_, index) => stepRecord(index + 1)),
    });
    receive({ type: 'lost', runId: runId(), message: 'device lost', resumeStep: 60 });
    expect(store()).toMatchObject({ phase: 'lost', lost: { resumeStep: 60 } });
    store().recover();
    expect(sent().at(-1)).toEqual({ type: 'recover', runId: runId() });
    expect(store().phase).toBe('loading');
    receive(status('running', 60));
    receive({ type: 'steps', runId: runId(), records: [stepRecord(61)] });
    expect(run().history.lastStep).toBe(61);
  });

  test('a failure keeps the curves and says what happened', () => {
    started();
    receive({ type: 'steps', runId: runId(), records: [stepRecord(1)] });
    const failure = {
      operation: 'load the teacher',
      message: '1.9 of 4.1 MB',
      hint: 'Try again.',
      kind: 'model' as const,
    };
    receive({ type: 'failed', runId: runId(), failure });
    expect(store()).toMatchObject({ phase: 'failed', failure });
    expect(run().history.length).toBe(1);
  });

  test('a worker that does not load is a failure, and the next start makes a new one', () => {
    store().start();
    const first = FakeWorker.made[0];
    first.onerror?.({});
    expect(store().phase).toBe('failed');
    expect(store().failure?.message).toContain('did not load');
    expect(first.terminated).toBe(true);
    store().start();
    expect(FakeWorker.made).toHaveLength(2);
    expect(store().phase).toBe('loading');
  });

  test('a probe that fails starts nothing and stays apart from runs', async () => {
    void store().probe();
    await reject('probe', { operation: 'open the GPU', message: 'none', kind: 'no-webgpu' });
    expect(store()).toMatchObject({ phase: 'idle', unavailable: { kind: 'no-webgpu' } });
    expect(store().failure).toBeUndefined();
  });

  test('after a hidden tab returns, it says what happened meanwhile', () => {
    started();
    receive({ type: 'steps', runId: runId(), records: [stepRecord(1)] });
    store().setHidden(true);
    vi.advanceTimersByTime(65_000);
    receive({ type: 'steps', runId: runId(), records: [stepRecord(2), stepRecord(3)] });
    store().setHidden(false);
    expect(store().hiddenNote).toBe('In 65 s the run went from step 1 to step 3.');
  });

  test('an hour in a hidden tab, whose timers rest: nothing is lost, nor drawn meanwhile', () => {
    started();
    store().setHidden(true);
    const { commits } = store();
    const now = performance.now();
    // The worker reports five times a second; the page's own timers are throttled to nothing.
    for (let step = 1; step <= DEFAULTS.train_steps; step++)
      receive({ type: 'steps', runId: runId(), records: [stepRecord(step)] });
    expect(store().commits).toBe(commits);
    const clock = vi.spyOn(performance, 'now').mockReturnValue(now + 3_600_000);
    receive(status('finished', DEFAULTS.train_steps));
    store().setHidden(false);
    clock.mockRestore();
    expect(store().phase).toBe('finished');
    expect(run().history.length).toBe(DEFAULTS.train_steps);
    expect(store().hiddenNote).toBe('In 3600 s the run went from step 0 to step 200.');
  });

  test('training time leaves out pauses', () => {
    started();
    vi.advanceTimersByTime(5000);
    receive(status('paused', 1));
    vi.advanceTimersByTime(60_000);
    receive(status('running', 1));
    vi.advanceTimersByTime(2000);
    receive(status('finished', 200));
    expect(store().trainedMilliseconds).toBeCloseTo(7000, -1);
  });
});

describe('settings', () => {
  test('an invalid value stays a draft, with the field’s message, and prevents a start', () => {
    store().setField('train_steps', '0');
    expect(store().config.train_steps).toBe(DEFAULTS.train_steps);
    expect(store().drafts.train_steps).toMatchObject({ text: '0' });
    expect(store().drafts.train_steps?.problem).toContain('train_steps is 0');
    expect(() => store().start()).toThrow('train_steps');
    store().setField('train_steps', 'many');
    expect(store().drafts.train_steps?.problem).toContain('"many"');
    store().restoreDefault('train_steps');
    expect(store().drafts).toEqual({});
  });

  test('live ones are sent once a slider rests, and marked where they took effect', () => {
    started();
    for (const text of ['2.5', '3', '4']) store().setField('temperature', text);
    expect(sent()).toHaveLength(1);
    vi.advanceTimersByTime(200);
    expect(sent().slice(1)).toEqual([
      { type: 'change', runId: runId(), changes: { temperature: 4 } },
    ]);
    receive({ type: 'changed', runId: runId(), step: 12, changes: { temperature: 4 } });
    expect(run().marks).toEqual([{ step: 12, text: 'T 2 → 4' }]);
  });

  test('the other settings are fixed during a run', () => {
    started();
    expect(() => store().setField('seed', '2')).toThrow('seed cannot change. Fixed during a run.');
    receive(status('finished', 200));
    store().setField('seed', '2');
    expect(store().config.seed).toBe(2);
  });

  test('a link sets them, but is refused with a reason during a run', () => {
    store().openLink({ config: { ...DEFAULTS, alpha: 0.1 } });
    expect(store().config.alpha).toBe(0.1);
    store().openLink({ problems: ['alpha is 7. It must be a number from 0 to 1.'] });
    expect(store().config.alpha).toBe(0.1);
    expect(store().linkProblems).toHaveLength(1);
    started();
    store().openLink({ config: { ...DEFAULTS } });
    expect(store().config.alpha).toBe(0.1);
    expect(store().linkProblems[0]).toContain('A run is active');
    expect(sent().map((message) => message.type)).toEqual(['start']);
  });
});

describe('the log', () => {
  const texts = () => logLines(run()).map((line) => line.text);

  test('it follows the script’s style, with the true success rate', () => {
    started();
    receive({ type: 'evaluation', runId: runId(), record: evaluationRecord(0) });
    receive({
      type: 'steps',
      runId: runId(),
      records: Array.from({ length: 10 }, (_, index) => stepRecord(index + 1)),
    });
    receive({ type: 'evaluation', runId: runId(), record: failedEvaluation(10) });
    expect(texts()).toEqual([
      'Step 0: Loss=n/a, PPL=2,000, Success=1.000 (4 of 4)',
      'Step 10: Loss=0.8000, PPL=n/a (0 valid tokens), Success=0.000 (0 of 4)',
    ]);
  });

  test('an evaluation that arrives before its step waits for the loss', () => {
    started();
    receive({ type: 'evaluation', runId: runId(), record: evaluationRecord(2) });
    expect(texts()[0]).toContain('Loss=…');
    receive({ type: 'steps', runId: runId(), records: [stepRecord(1), stepRecord(2)] });
    expect(texts()[0]).toContain('Loss=4.0000');
  });

  test('names skipped steps, changes and what ended the run, in order', () => {
    started();
    receive({ type: 'changed', runId: runId(), step: 2, changes: { alpha: 0.5 } });
    receive({
      type: 'steps',
      runId: runId(),
      records: [stepRecord(1), stepRecord(2, { applied: false, loss: NaN, skippedTotal: 1 })],
    });
    receive({
      type: 'failed',
      runId: runId(),
      failure: { operation: 'train', message: 'no more', kind: 'internal' },
    });
    receive({ type: 'evaluation', runId: runId(), record: evaluationRecord(2) });
    expect(texts().map((text) => text.slice(0, 16))).toEqual([
      'Step 2: skipped,',
      'Step 2: α 0.7 → ',
      'Step 2: Loss=NaN',
      'Stopped: train: ',
    ]);
  });
});

test('a link to a preset shows the preset’s recorded run', async () => {
  const asked: string[] = [];
  vi.stubGlobal('fetch', async (address: string) => {
    asked.push(new URL(address).pathname);
    return new Response('', { status: 404 });
  });
  const sorting = PRESETS.find(({ teacher }) => teacher === 'sorting-teacher')!;
  store().openLink({ config: { ...sorting.config } });
  store().openLink({ config: { ...sorting.config, alpha: 0.123 } });
  expect(asked).toEqual([`/${sorting.recording}`]);
});

describe('while somebody reads', () => {
  const adapter = { name: 'a GPU' } as AdapterReport;
  const prepared = () =>
    sent().flatMap((each) => (each.type === 'prepare' ? [each.config.train_steps] : []));
  const reads = () => vi.advanceTimersByTime(1000);

  test('the worker builds the preset that is shown, once, and no other settings', () => {
    const [first, second] = PRESETS;
    store().choosePreset({ config: first.config });
    const stop = prepareWhileReading();
    reads();
    expect(prepared()).toEqual([]);
    useRun.setState({ adapter });
    reads();
    store().welcome();
    reads();
    expect(prepared()).toEqual([first.config.train_steps]);
    store().setField('train_steps', '77');
    reads();
    // On the way to other settings, these do not go together.
    store().setField('base_weights', 'int8');
    reads();
    store().choosePreset({ config: second.config });
    store().choosePreset({ config: first.config });
    store().choosePreset({ config: second.config });
    reads();
    expect(prepared()).toEqual([first, second].map(({ config }) => config.train_steps));
    stop?.();
  });

  test('it builds nothing beside a run, in another room, or over a connection that costs', () => {
    store().choosePreset({ config: PRESETS[0].config });
    useRun.setState({ adapter });
    useRoom.setState({ room: 'strideLab' });
    const stop = prepareWhileReading();
    reads();
    useRoom.setState({ room: 'distil' });
    store().start();
    receive(status('running'));
    reads();
    expect(prepared()).toEqual([]);
    store().reset();
    reads();
    expect(prepared()).toEqual([PRESETS[0].config.train_steps]);
    stop?.();
    vi.stubGlobal('navigator', { connection: { saveData: true } });
    expect(prepareWhileReading()).toBeUndefined();
  });
});
