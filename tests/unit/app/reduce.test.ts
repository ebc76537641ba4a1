// The page's state machine: what every message does in every phase, without a browser or a worker.

import { describe, expect, test } from 'vitest';
import { RunHistory } from '../../../src/app/charts/history';
import type { RunMessage, RunState } from '../../../src/app/run/reduce';
import { INITIAL, isCurrent, reduce } from '../../../src/app/run/reduce';
import type { Phase, ShownRun } from '../../../src/app/run/shown-run';
import { DEFAULTS } from '../../../src/config';
import type { AdapterReport, RunEvent, RunReport, RunStatus } from '../../../src/worker/protocol';
import { evaluationRecord, failedEvaluation, stepRecord } from './support';

const adapter: AdapterReport = {
  name: 'Test GPU',
  vendor: 'none',
  software: false,
  f16: true,
  subgroupSize: 32,
  timestamps: true,
  maxBindingBytes: 2 ** 27,
};
const report: RunReport = {
  dtype: 'float16',
  studentParameters: 240_000,
  vocabularySize: 2048,
  tokensPerStep: 512,
  trainTokens: 300_000,
  heldOutTokens: 16_000,
  dispatchesPerStep: 96,
  submissionsPerStep: 1,
};
const failure = { operation: 'train', message: 'No room.', kind: 'internal' as const };
const recorded: ShownRun = {
  id: '',
  source: 'recorded',
  config: DEFAULTS,
  history: new RunHistory(1),
  marks: [],
  events: [],
};

const runId = 'run-1';
const start: RunMessage = { type: 'start', runId, history: new RunHistory(10) };
const lost: RunMessage = { type: 'lost', runId, message: 'gone', resumeStep: 4 };
const status = (state: RunStatus['state'], step = 0): RunMessage => ({
  type: 'status',
  runId,
  status: { state, step, tokensPerSecond: 1, submissionsPerStep: 1, memory: {} },
});

/** The state after these messages, a second apart. */
const stateAfter = (...messages: RunMessage[]): RunState =>
  messages.reduce((state, message, second) => reduce(state, message, 1000 * second), INITIAL);

const TO_PHASE: Record<Phase, RunMessage[]> = {
  idle: [],
  loading: [start],
  running: [start, status('running')],
  paused: [start, status('running'), status('paused', 3)],
  finished: [start, status('running'), status('finished', 10)],
  failed: [start, status('running'), { type: 'failed', runId, failure }],
  lost: [start, status('running'), lost],
};
const PHASES = Object.keys(TO_PHASE) as Phase[];
const inPhase = (phase: Phase) => stateAfter(...TO_PHASE[phase]);
const next = (state: RunState, message: RunMessage, now = 60_000) => reduce(state, message, now);

/** Freezes the state, so that a change in place throws. Histories are not part of it. */
function freeze<Value>(value: Value): Value {
  if (typeof value !== 'object' || value === null || value instanceof RunHistory) return value;
  for (const inner of Object.values(value)) freeze(inner);
  return Object.freeze(value);
}

const EVENTS: RunEvent[] = [
  { type: 'loading', runId, stage: 'teacher', detail: 'model.onnx', loaded: 1, total: 2 },
  { type: 'note', runId, text: 'Something else.' },
  { type: 'ready', runId, adapter, run: report },
  { type: 'steps', runId, records: [stepRecord(1), stepRecord(2, { applied: false })] },
  { type: 'evaluation', runId, record: evaluationRecord(0) },
  status('running', 1) as RunEvent,
  { type: 'changed', runId, step: 2, changes: { alpha: 0.5 } },
  { type: 'failed', runId, failure },
  lost as RunEvent,
];
const PAGE_MESSAGES: RunMessage[] = [
  { type: 'adapter', adapter },
  { type: 'unavailable', failure },
  { type: 'recording', run: recorded },
  start,
  { type: 'ask', for: 'pause' },
  { type: 'reset' },
  { type: 'recover' },
  { type: 'field', name: 'alpha', text: '0.5' },
  { type: 'field', name: 'alpha', text: 'x' },
  { type: 'corpus' },
  { type: 'link', link: { config: { ...DEFAULTS, seed: 2 } } },
  { type: 'welcome' },
  { type: 'dismiss', notice: 'link' },
  { type: 'visibility', hidden: true },
  { type: 'visibility', hidden: false },
];

describe.each(PHASES)('in phase %s', (phase) => {
  const messages = [...EVENTS, ...PAGE_MESSAGES];
  test.each(messages.map((message) => [message.type, message] as const))(
    '%s changes nothing in place, and the same state gives the same next',
    (_, message) => {
      const state = freeze(inPhase(phase));
      expect(next(state, message)).toEqual(next(state, message));
    },
  );

  test('events of another run change nothing', () => {
    const state = inPhase(phase);
    for (const event of EVENTS) {
      expect(next(state, { ...event, runId: 'run-0' })).toBe(state);
      expect(isCurrent(state, { ...event, runId: 'run-0' })).toBe(false);
    }
  });

  test('start begins a run with the current settings, and clears the last one’s remains', () => {
    const state = next({ ...inPhase(phase), hiddenNote: 'old', lastStep: 7 }, start);
    expect(state).toMatchObject({
      phase: 'loading',
      loading: { stage: 'device' },
      run: { id: runId, source: 'live', config: state.config, marks: [], events: [] },
      lastStep: 0,
      trainedMilliseconds: 0,
    });
    for (const key of ['status', 'failure', 'lost', 'hiddenNote', 'requested'] as const)
      expect(state[key]).toBeUndefined();
  });

  test('reset shows the recorded run', () => {
    const state = next({ ...inPhase(phase), recording: recorded }, { type: 'reset' });
    expect(state).toMatchObject({ phase: 'idle', run: recorded, trainedMilliseconds: 0 });
    expect([state.status, state.failure, state.lost]).toEqual([undefined, undefined, undefined]);
  });

  test('an adapter makes runs possible, a missing GPU does not; neither touches the run', () => {
    const without = next(inPhase(phase), { type: 'unavailable', failure });
    expect(without).toEqual({ ...inPhase(phase), unavailable: failure });
    expect(next(without, { type: 'adapter', adapter })).toEqual({
      ...inPhase(phase),
      adapter,
      unavailable: undefined,
    });
  });

  test('a link that cannot be read changes no setting', () => {
    const problems = ['alpha is 7.'];
    const state = next(inPhase(phase), { type: 'link', link: { problems } });
    expect(state).toEqual({ ...inPhase(phase), linkProblems: problems });
    expect(next(state, { type: 'dismiss', notice: 'link' })).toEqual(inPhase(phase));
  });

  const locked = ['loading', 'running', 'paused', 'lost'].includes(phase);
  test(`a link is ${locked ? 'refused while the run exists' : 'opened'}`, () => {
    const config = { ...DEFAULTS, seed: 2 };
    const state = next(inPhase(phase), { type: 'link', link: { config } });
    expect(state.config).toEqual(locked ? DEFAULTS : config);
    expect(state.linkProblems).toHaveLength(locked ? 1 : 0);
  });

  test(`a setting that is fixed in a run ${locked ? 'keeps its value' : 'changes'}`, () => {
    const state = next(inPhase(phase), { type: 'field', name: 'seed', text: '2' });
    expect(state.config.seed).toBe(locked ? DEFAULTS.seed : 2);
  });

  const lockedLive = phase === 'loading' || phase === 'lost';
  test(`a live setting ${lockedLive ? 'keeps its value' : 'changes'}`, () => {
    const state = next(inPhase(phase), { type: 'field', name: 'alpha', text: '0.5' });
    expect(state.config.alpha).toBe(lockedLive ? DEFAULTS.alpha : 0.5);
    // The run's own settings follow when the worker says that it took the change.
    if (state.run) expect(state.run.config.alpha).toBe(DEFAULTS.alpha);
  });
});

describe.each(PHASES.filter((phase) => phase !== 'idle'))('a run in phase %s', (phase) => {
  test('a failure ends it and keeps its curves', () => {
    const { history } = inPhase(phase).run as ShownRun;
    const state = next(inPhase(phase), { type: 'failed', runId, failure });
    expect(state).toMatchObject({ phase: 'failed', failure, run: { history } });
    expect(state.run?.events.at(-1)).toEqual({
      step: 0,
      kind: 'stopped',
      text: 'Stopped: train: No room.',
    });
  });

  test('a lost device keeps the step to resume from', () => {
    const state = next(inPhase(phase), lost);
    expect(state).toMatchObject({ phase: 'lost', lost: { message: 'gone', resumeStep: 4 } });
    expect(state.run?.events.at(-1)?.text).toBe('GPU device lost: gone');
  });

  test('what it is ready with, its notes and its changes are recorded', () => {
    const state = [
      { type: 'ready', runId, adapter, run: report } as const,
      { type: 'note', runId, text: 'Something else.' } as const,
      { type: 'changed', runId, step: 2, changes: { alpha: 0.5 } } as const,
    ].reduce((before, event) => next(before, event), inPhase(phase));
    expect(state).toMatchObject({
      phase,
      adapter,
      run: { adapter, report, config: { alpha: 0.5 }, marks: [{ step: 2, text: 'α 0.7 → 0.5' }] },
    });
    expect(state.run?.events.slice(-2).map(({ text }) => text)).toEqual([
      'Something else.',
      'Step 2: α 0.7 → 0.5',
    ]);
  });

  test('steps move the last step and log those that were skipped, with the reason', () => {
    const records = [
      stepRecord(1),
      stepRecord(2, { applied: false, loss: NaN }),
      stepRecord(3, { applied: false, tokens: 0, loss: 0 }),
    ];
    const state = next(inPhase(phase), { type: 'steps', runId, records });
    expect(state.lastStep).toBe(3);
    expect(state.run?.events.slice(-2).map(({ text }) => text)).toEqual([
      'Step 2: skipped, a gradient was not finite (Loss=NaN, loss scale 1024)',
      'Step 3: skipped, no valid targets (Loss=0.0000, loss scale 1024)',
    ]);
  });

  test('an evaluation is announced with its figures and failures', () => {
    const announced = (record: ReturnType<typeof evaluationRecord>) =>
      next(inPhase(phase), { type: 'evaluation', runId, record }).announcement;
    expect(announced(evaluationRecord(1))).toBe(
      'Evaluation at step 1: perplexity 1,000, agreement 25%.',
    );
    expect(announced(failedEvaluation(1))).toBe(
      'Evaluation at step 1: perplexity n/a, agreement n/a, 4 of 4 batches failed.',
    );
  });
});

describe('phases', () => {
  test('follow the worker’s status from where a run can go on', () => {
    for (const phase of ['loading', 'running', 'paused', 'finished'] as const) {
      for (const state of ['running', 'paused', 'finished'] as const)
        expect(next(inPhase(phase), status(state, 5))).toMatchObject({ phase: state });
    }
  });

  test('stay where a run has stopped, whatever status is still on its way', () => {
    for (const phase of ['failed', 'lost'] as const)
      expect(next(inPhase(phase), status('running', 5))).toEqual(inPhase(phase));
  });

  test('a command waits until the worker confirms it', () => {
    const pausing = next(inPhase('running'), { type: 'ask', for: 'pause' });
    expect(pausing).toMatchObject({ phase: 'running', requested: 'pause' });
    expect(next(pausing, status('running', 2)).requested).toBe('pause');
    expect(next(pausing, status('paused', 2)).requested).toBeUndefined();
    const resuming = next(inPhase('paused'), { type: 'ask', for: 'resume' });
    expect(next(resuming, status('paused', 3)).requested).toBe('resume');
    expect(next(resuming, status('running', 3)).requested).toBeUndefined();
  });

  test('each is announced', () => {
    expect(stateAfter(start).announcement).toBe('Loading.');
    expect(inPhase('running').announcement).toBe('Training.');
    expect(inPhase('paused').announcement).toBe('Paused after step 3.');
    expect(inPhase('finished').announcement).toBe('Finished after 10 steps.');
    expect(next(inPhase('paused'), { type: 'reset' }).announcement).toMatch(/^The run is closed/);
  });

  test('training time leaves out loading and pauses', () => {
    const state = stateAfter(
      start, // 0 s
      status('running'), // 1 s
      status('running', 1),
      status('paused', 2), // 3 s
      status('running', 2), // 4 s
      status('finished', 3), // 5 s
    );
    expect(state.trainedMilliseconds).toBe(3000);
    expect(state.trainingSince).toBeUndefined();
  });

  test('a lost run goes on from its last evaluation', () => {
    const state = next(inPhase('lost'), { type: 'recover' });
    expect(state).toMatchObject({ phase: 'loading', lost: undefined });
    expect(state.run?.events.at(-1)?.text).toBe('Recovering from step 4');
    expect(next(state, status('running', 4)).phase).toBe('running');
  });
});

describe('loading', () => {
  const loading: RunMessage = { type: 'loading', runId, stage: 'evaluate', detail: '' };
  test('shows what is loaded, and ends with the first measurement or the next phase', () => {
    const state = next(inPhase('running'), loading);
    expect(state.loading).toEqual({ stage: 'evaluate', detail: '' });
    const ends: RunMessage[] = [
      { type: 'evaluation', runId, record: evaluationRecord(0) },
      { type: 'steps', runId, records: [stepRecord(1)] },
      status('paused'),
      { type: 'failed', runId, failure },
    ];
    for (const message of ends) expect(next(state, message).loading).toBeUndefined();
    expect(next(state, status('running', 1)).loading).toBeDefined();
  });
});

describe('the recorded run', () => {
  test('is shown only while nothing else is, and none is known as null', () => {
    expect(stateAfter({ type: 'recording', run: recorded })).toMatchObject({
      run: recorded,
      recording: recorded,
    });
    expect(stateAfter({ type: 'recording', run: null })).toMatchObject({ recording: null });
    expect(stateAfter(start, { type: 'recording', run: recorded }).run?.source).toBe('live');
  });
});

describe('fields', () => {
  const field = (state: RunState, text: string) =>
    next(state, { type: 'field', name: 'train_steps', text });
  test('text that is no value stays a draft with the reason, until it is one', () => {
    const draft = field(INITIAL, 'many');
    expect(draft.config.train_steps).toBe(DEFAULTS.train_steps);
    expect(draft.drafts.train_steps).toMatchObject({ text: 'many' });
    expect(draft.drafts.train_steps?.problem).toContain('"many"');
    expect(field(draft, '')).toMatchObject({ drafts: { train_steps: { text: '' } } });
    expect(field(draft, '20')).toMatchObject({ drafts: {}, config: { train_steps: 20 } });
  });

  test('the user’s data goes with the next run', () => {
    const corpus = { files: [], reading: { format: 'text' as const, columns: [] } };
    expect(stateAfter({ type: 'corpus', corpus }, start).run?.corpus).toBe(corpus);
    expect(stateAfter({ type: 'corpus', corpus }, { type: 'corpus' }, start).run?.corpus).toBe(
      undefined,
    );
  });
});

describe('a hidden tab', () => {
  const hide: RunMessage = { type: 'visibility', hidden: true };
  const show: RunMessage = { type: 'visibility', hidden: false };
  const steps = (...numbers: number[]): RunMessage => ({
    type: 'steps',
    runId,
    records: numbers.map((step) => stepRecord(step)),
  });

  test('is told how far the run went meanwhile', () => {
    const state = next(reduce(inPhase('running'), hide, 10_000), steps(1, 2));
    const shown = reduce(state, show, 75_000);
    expect(shown.hiddenNote).toBe('In 65 s the run went from step 0 to step 2.');
    expect(next(shown, { type: 'dismiss', notice: 'hidden' }).hiddenNote).toBeUndefined();
  });

  test('is told nothing after a glance elsewhere, nor when nothing trained', () => {
    expect(reduce(reduce(inPhase('running'), hide, 0), show, 9000).hiddenNote).toBeUndefined();
    for (const phase of PHASES.filter((name) => name !== 'running'))
      expect(reduce(reduce(inPhase(phase), hide, 0), show, 90_000).hiddenNote).toBeUndefined();
  });
});

test('the log keeps its newest lines', () => {
  let state = inPhase('running');
  for (let step = 1; step <= 600; step++)
    state = next(state, { type: 'note', runId, text: String(step) });
  expect(state.run?.events).toHaveLength(500);
  expect(state.run?.events.at(-1)?.text).toBe('600');
});

describe('earlier runs', () => {
  const measured = (id: string): RunMessage[] => {
    const history = new RunHistory(10);
    history.append([stepRecord(1)]);
    return [{ type: 'start', runId: id, history }];
  };
  const ids = (...messages: RunMessage[]) => stateAfter(...messages).earlier.map(({ id }) => id);

  test('a run that measured something is kept when another starts, or after a reset', () => {
    expect(ids(...measured('run-1'))).toEqual([]);
    expect(ids(...measured('run-1'), ...measured('run-2'))).toEqual(['run-1']);
    expect(ids(...measured('run-1'), { type: 'reset' })).toEqual(['run-1']);
    expect(ids(...measured('run-1'), { type: 'reset' }, ...measured('run-2'))).toEqual(['run-1']);
  });

  test('a run without measurements and the recording are not kept', () => {
    expect(ids(start, ...measured('run-2'))).toEqual([]);
    expect(ids({ type: 'recording', run: recorded }, { type: 'reset' }, start)).toEqual([]);
  });

  test('the oldest are forgotten', () => {
    const many = Array.from({ length: 12 }, (_, index) => measured(`run-${index + 1}`)).flat();
    expect(ids(...many)).toEqual([11, 10, 9, 8, 7, 6, 5, 4].map((number) => `run-${number}`));
  });
});
