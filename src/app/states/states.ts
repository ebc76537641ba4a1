// Every designed state of the page: a scene (a phase of the run), alone or with a notice. The
// page's reducer makes each from the messages that would lead to it, so none shows what cannot
// happen.

import { DEFAULTS, WITHOUT_TEACHER } from '../../config';
import type { Verdict } from '../../doctor/examine';
import type { Failure, KeptRuns, RunEvent } from '../../worker/protocol';
import { RunHistory } from '../charts/history';
import type { Connection } from '../offline/store';
import type { RunMessage, RunState } from '../run/reduce';
import { INITIAL, reduce } from '../run/reduce';
import type { ShownRun } from '../run/shown-run';
import { record } from '../run/shown-run';
import { DAMAGED, REFUSED } from './failures';
import { GHOST_NOTICES, opensGhost } from './ghosts';
import { keptNotices } from './kept';
import { type Learning, learningNotices } from './learnings';
import {
  ADAPTER,
  evaluationAt,
  failedEvaluationAt,
  MILLISECONDS_PER_STEP,
  REPORT,
  sampleAt,
  statusAt,
  stepsBetween,
} from './measurements';
import { answered, answering, type Saying, silenced } from './sayings';
import { type Swept, sweepNotices } from './sweeps';
import { MIDWAY, SLOW, UNUSUAL } from './verdicts';

export interface DesignedState {
  /** As the address has it: `scene` or `scene,notice`. */
  name: string;
  title: string;
  make(): RunState;
  /** The box in which people try the result is open, and its request stands here. */
  saying?: Saying;
  /** The drawer on what was learned is open, and its requests stand here. */
  learning?: Learning;
  /** Online, with nothing new, unless it says otherwise. */
  connection?: Partial<Connection>;
  sweep?: Swept;
  /** The runs that are kept; unknown unless given. */
  kept?: KeptRuns;
}

const RUN = 'run-2';
const EARLIER = 'run-1';
const STEPS = DEFAULTS.train_steps;
const EVALUATION_STEPS = 20;

function recordedRun(): ShownRun {
  const history = new RunHistory(STEPS);
  history.append(stepsBetween(0, STEPS));
  for (let step = 0; step <= STEPS; step += EVALUATION_STEPS)
    history.appendEvaluation(evaluationAt(step));
  return {
    id: '',
    source: 'recorded',
    config: { ...DEFAULTS },
    history,
    marks: [],
    events: [],
    adapter: ADAPTER,
    report: REPORT,
    date: '2026-11-23T00:00:00Z',
  };
}

const recorded = (): RunMessage => ({ type: 'recording', run: recordedRun() });
const adapter: RunMessage = { type: 'adapter', adapter: ADAPTER };
const start = () => ({ type: 'start' as const, runId: RUN, history: new RunHistory(STEPS) });
const ready: RunEvent = { type: 'ready', runId: RUN, adapter: ADAPTER, run: REPORT };
const status = (state: 'running' | 'paused' | 'finished', step: number): RunEvent => ({
  type: 'status',
  runId: RUN,
  status: statusAt(step, state),
});
const lost = (resumeStep?: number, failure?: Failure): RunEvent => ({
  type: 'lost',
  runId: RUN,
  message: 'The driver was reset.',
  resumeStep,
  failure,
});
const failed = (failure: Failure): RunEvent => ({ type: 'failed', runId: RUN, failure });

/** What the Doctor says of the scenes' runs. */
const diagnosis = (step: number, ...verdicts: Verdict[]): RunEvent => ({
  type: 'diagnosis',
  runId: RUN,
  step,
  line:
    'Healthy: a step moved the weights by at most 0.0081 of their size, ' +
    'KL fell from 3.2 to 1.15 in ' +
    `${step} steps, 0 steps skipped.`,
  verdicts,
  fresh: verdicts,
});
const opening: RunEvent[] = [
  ready,
  status('running', 0),
  { type: 'evaluation', runId: RUN, record: evaluationAt(0) },
];

/**
 * What a run reports between two evaluations, the first at `from` and the last at `to`, with losses
 * and perplexities `worse` times as large.
 */
function trained(to: number, from = 0, worse = 1): RunEvent[] {
  const events: RunEvent[] = [];
  for (let step = from; step < to; step += EVALUATION_STEPS) {
    const end = step + EVALUATION_STEPS;
    events.push({ type: 'steps', runId: RUN, records: stepsBetween(step, end, worse) });
    events.push({ type: 'evaluation', runId: RUN, record: evaluationAt(end, worse) });
    events.push(status('running', end));
  }
  return events;
}

/** A run's report, and the same of its twin, which does worse. */
function withTwin(event: RunEvent): RunEvent[] {
  if (event.type === 'steps') {
    const [from, to] = [event.records[0].step - 1, event.records.at(-1)?.step ?? 0];
    return [event, { type: 'twin-steps', runId: RUN, records: stepsBetween(from, to, 1.1) }];
  }
  if (event.type !== 'evaluation') return [event];
  const record = { ...evaluationAt(event.record.step, 1.2), equalTimePace: 1.64 };
  return [event, { type: 'twin-evaluation', runId: RUN, record }];
}

/** A whole run before the one that is shown. */
function earlierRun(): RunMessage[] {
  const as = (event: RunMessage): RunMessage =>
    'runId' in event ? { ...event, runId: EARLIER } : event;
  return [
    { type: 'field', name: 'alpha', text: '0.2' },
    ...[start(), ...opening, ...trained(STEPS, 0, 1.15), status('finished', STEPS)].map(as),
    { type: 'field', name: 'alpha', text: String(DEFAULTS.alpha) },
  ];
}

interface Scene {
  title: string;
  messages(): RunMessage[];
}

const before = (): RunMessage[] => [recorded(), adapter];

const SCENES = {
  idle: { title: 'Nothing loaded, the recorded run', messages: before },
  'no-recording': {
    title: 'Nothing loaded, no recorded run',
    messages: () => [{ type: 'recording', run: null }, adapter],
  },
  loading: {
    title: 'Loading',
    messages: () => [
      ...before(),
      start(),
      {
        type: 'loading',
        runId: RUN,
        stage: 'teacher',
        detail: 'onnx/model_fp16.onnx of moby-teacher',
        loaded: 1_900_000,
        total: 4_100_000,
      },
    ],
  },
  compiling: {
    title: 'Compiling shaders',
    messages: () => [
      ...before(),
      start(),
      {
        type: 'loading',
        runId: RUN,
        stage: 'compile',
        detail: 'compiling kernels',
        loaded: 12,
        total: 41,
        unit: 'kernels',
      },
    ],
  },
  evaluating: {
    title: 'The first evaluation',
    messages: () => [
      ...before(),
      start(),
      ready,
      status('running', 0),
      {
        type: 'loading',
        runId: RUN,
        stage: 'evaluate',
        detail: 'before training',
        loaded: 1,
        total: 4,
        unit: 'batches',
      },
    ],
  },
  running: {
    title: 'Running',
    messages: () => [...before(), start(), ...opening, ...trained(MIDWAY)],
  },
  again: {
    title: 'Running, an earlier run behind',
    messages: () => [...before(), ...earlierRun(), start(), ...opening, ...trained(MIDWAY)],
  },
  twin: {
    title: 'Running, with a twin',
    messages: () => [
      ...before(),
      { type: 'field', name: 'twin', text: WITHOUT_TEACHER },
      { ...start(), twin: new RunHistory(STEPS) },
      ...opening,
      ...trained(MIDWAY).flatMap(withTwin),
    ],
  },
  race: {
    title: 'Finished, the run of a link behind',
    messages: () => [
      ...before(),
      opensGhost,
      start(),
      ...opening,
      ...trained(STEPS),
      status('finished', STEPS),
    ],
  },
  'twin-done': {
    title: 'Finished, with a twin',
    messages: () => [
      ...before(),
      { type: 'field', name: 'twin', text: WITHOUT_TEACHER },
      { ...start(), twin: new RunHistory(STEPS) },
      ...opening,
      ...trained(STEPS).flatMap(withTwin),
      status('finished', STEPS),
    ],
  },
  paused: {
    title: 'Paused',
    messages: () => [
      ...before(),
      start(),
      ...opening,
      ...trained(MIDWAY),
      status('paused', MIDWAY),
    ],
  },
  finished: {
    title: 'Finished',
    messages: () => [
      ...before(),
      start(),
      ...opening,
      ...trained(STEPS),
      status('finished', STEPS),
    ],
  },
  cured: {
    title: 'A cure that worked',
    messages: () => [
      ...before(),
      {
        type: 'start',
        runId: RUN,
        history: new RunHistory(STEPS),
        trial: {
          verdict: SLOW,
          difference: 'lr 0.000005 → 0.00012',
          config: { ...DEFAULTS },
          evaluations: [evaluationAt(0), { ...evaluationAt(MIDWAY), studentPerplexity: 1980 }],
        },
      },
      ...opening,
      ...trained(MIDWAY),
      diagnosis(MIDWAY),
    ],
  },
  failed: {
    title: 'Failed while loading',
    messages: () => [...before(), start(), failed(DAMAGED)],
  },
  lost: {
    title: 'The device was lost',
    messages: () => [...before(), start(), ...opening, ...trained(MIDWAY), lost(MIDWAY)],
  },
  'lost-again': {
    title: 'The device was lost and another one refused',
    messages: () => [...before(), start(), ...opening, ...trained(MIDWAY), lost(MIDWAY, REFUSED)],
  },
  'lost-early': {
    title: 'The device was lost before an evaluation',
    messages: () => [...before(), start(), ready, status('running', 0), lost()],
  },
} as const satisfies Record<string, Scene>;

type SceneName = keyof typeof SCENES;

interface Notice {
  title: string;
  /** The scenes that it can stand in. */
  scenes: readonly SceneName[];
  messages: readonly RunMessage[];
  /** The scene's adapter is not there. */
  noAdapter?: boolean;
  /** The box in which people try the result is open. */
  saying?: Saying;
  /** The drawer on what was learned is open. */
  learning?: Learning;
  connection?: Partial<Connection>;
  sweep?: Swept;
  kept?: KeptRuns;
}

const ALL = Object.keys(SCENES) as SceneName[];
const TRAINED: readonly SceneName[] = ['running', 'paused'];
const next = stepsBetween(MIDWAY, MIDWAY + 4);

const unavailable = (kind: Failure['kind'], message: string, hint: string): RunMessage => ({
  type: 'unavailable',
  failure: { operation: 'open the GPU', message, hint, kind },
});

const cached: RunEvent = {
  ...ready,
  run: {
    ...REPORT,
    cache: {
      V: 2048,
      k: 64,
      bytesPerPosition: 260,
      bytes: 12_345_678,
      seconds: 72,
      found: false,
      kl: { full: 3.2, kept: 3.04 },
    },
  },
};

const NOTICES = {
  ...keptNotices(RUN),
  welcome: {
    title: 'a first visit',
    scenes: ['idle'],
    messages: [{ type: 'welcome' }],
  },
  'no-webgpu': {
    title: 'no WebGPU',
    scenes: ['idle', 'no-recording'],
    noAdapter: true,
    messages: [
      unavailable(
        'no-webgpu',
        'This browser has no WebGPU.',
        'Use Chrome or Edge 113 or newer, or Safari 26.',
      ),
    ],
  },
  'no-adapter': {
    title: 'no usable GPU',
    scenes: ['idle', 'no-recording'],
    noAdapter: true,
    messages: [
      unavailable(
        'no-adapter',
        'This browser supports WebGPU but found no usable GPU.',
        'Turn hardware acceleration on, then restart the browser.',
      ),
    ],
  },
  software: {
    title: 'a software adapter',
    scenes: ALL,
    messages: [
      {
        type: 'adapter',
        adapter: { ...ADAPTER, name: 'SwiftShader', vendor: 'google', software: true, f16: false },
      },
    ],
  },
  link: {
    title: 'a link that cannot be read',
    scenes: ALL,
    messages: [
      {
        type: 'link',
        link: {
          problems: [
            'alpha is 7. It takes a number from 0 to 1.',
            'train_steps is "many". It takes a whole number from 1 to 100,000.',
          ],
        },
      },
    ],
  },
  ...GHOST_NOTICES,
  wrong: {
    title: 'a GPU that computes wrong results',
    scenes: ['loading'],
    messages: [
      failed({
        operation: 'start the run',
        message:
          'NVIDIA GeForce RTX 4070 computes wrong results in float16 with 1 kernel: layernorm.',
        hint:
          'A run would train on wrong numbers, so it does not start. Set the precision to ' +
          'float32, or update the graphics driver or the browser.',
        kind: 'limits',
        table:
          'kernel     sizes     layout      dtype  result  error    tolerance  verdict\n' +
          'layernorm  (17, 36)  contiguous  f16    y       1.0e-2   1.1e-3     FAILED\n' +
          'gelu       (17, 36)  contiguous  f16    y       4.9e-4   1.1e-3     passed\n',
      }),
    ],
  },
  draft: {
    title: 'a setting that is out of range',
    scenes: ['idle', 'finished'],
    messages: [{ type: 'field', name: 'train_steps', text: '1.5' }],
  },
  evaluation: {
    title: 'a failed evaluation',
    scenes: [...TRAINED, 'lost'],
    messages: [{ type: 'evaluation', runId: RUN, record: failedEvaluationAt(MIDWAY) }],
  },
  loss: {
    title: 'a loss that is not finite',
    scenes: TRAINED,
    messages: [
      {
        type: 'steps',
        runId: RUN,
        records: next.map((step, index) => ({
          ...step,
          loss: NaN,
          ce: NaN,
          kd: NaN,
          applied: false,
          appliedTotal: MIDWAY,
          skippedTotal: index + 1,
        })),
      },
    ],
  },
  skipped: {
    title: 'skipped steps',
    scenes: TRAINED,
    messages: [
      {
        type: 'steps',
        runId: RUN,
        records: next.map((step, index) => ({
          ...step,
          applied: false,
          gradNorm: Infinity,
          lossScale: 65_536 / 2 ** index,
          appliedTotal: MIDWAY,
          skippedTotal: index + 1,
        })),
      },
    ],
  },
  healthy: {
    title: 'a healthy run',
    scenes: [...TRAINED, 'finished'],
    messages: [diagnosis(MIDWAY)],
  },
  verdict: {
    title: 'two verdicts of the Doctor',
    scenes: [...TRAINED, 'finished'],
    messages: [diagnosis(MIDWAY, SLOW, UNUSUAL)],
  },
  change: {
    title: 'a live change',
    scenes: TRAINED,
    messages: [
      { type: 'field', name: 'alpha', text: '0.4' },
      { type: 'changed', runId: RUN, step: MIDWAY, changes: { alpha: 0.4 } },
    ],
  },
  prompt: {
    title: 'a new prompt',
    scenes: TRAINED,
    messages: [
      { type: 'field', name: 'prompt', text: 'The sea' },
      { type: 'changed', runId: RUN, step: MIDWAY, changes: { prompt: 'The sea' } },
      { type: 'sample', runId: RUN, record: sampleAt(MIDWAY + 1, 'The sea') },
    ],
  },
  cache: {
    title: 'a cached teacher',
    scenes: TRAINED,
    messages: [cached],
  },
  saying: {
    title: 'both answer',
    scenes: ['running'],
    messages: [],
    saying: answering(RUN, DEFAULTS.prompt),
  },
  said: {
    title: 'both have answered',
    scenes: ['paused', 'finished'],
    messages: [],
    saying: answered(RUN, DEFAULTS.prompt, MIDWAY),
  },
  'said-alone': {
    title: 'the student has answered, the teacher is cached',
    scenes: ['finished'],
    messages: [cached],
    saying: answered(RUN, DEFAULTS.prompt, STEPS, true),
  },
  silent: {
    title: 'an answer failed',
    scenes: ['paused', 'lost'],
    messages: [],
    saying: silenced(RUN, DEFAULTS.prompt, {
      operation: 'answer',
      message: 'say: the logit of token 0 is NaN after 2 tokens.',
      hint: 'The model’s weights or activations are not finite.',
      kind: 'internal',
    }),
  },
  ...learningNotices(RUN, MIDWAY),
  offline: {
    title: 'offline',
    scenes: ['idle', 'finished'],
    messages: [],
    connection: { offline: true, models: ['moby-teacher'] },
  },
  'offline-bare': {
    title: 'offline, and no model was used',
    scenes: ['idle'],
    messages: [],
    connection: { offline: true },
  },
  update: {
    title: 'a new version of the page',
    scenes: ['idle', 'running', 'finished'],
    messages: [],
    connection: { update: () => {} },
  },
  ...sweepNotices(RUN),
  hidden: {
    title: 'a tab that was hidden',
    scenes: ['running'],
    messages: [
      { type: 'visibility', hidden: true },
      ...trained(MIDWAY + EVALUATION_STEPS, MIDWAY),
      { type: 'visibility', hidden: false },
    ],
  },
} as const satisfies Record<string, Notice>;

/** The state after these messages. Only a step takes time. */
function play(messages: readonly RunMessage[]): RunState {
  let state = INITIAL;
  let now = 0;
  for (const message of messages) {
    if (message.type === 'steps') now += message.records.length * MILLISECONDS_PER_STEP;
    // Long enough for the notice.
    if (message.type === 'visibility' && !message.hidden) now += 65_000;
    if ('runId' in message && message.type !== 'start' && state.run) record(state.run, message);
    state = reduce(state, message, now);
  }
  return state;
}

/** Every scene alone, then with each notice that can stand in it. */
export const STATES: readonly DesignedState[] = ALL.flatMap((name) => {
  const scene: Scene = SCENES[name];
  const notices = Object.entries<Notice>(NOTICES).filter(([, { scenes }]) => scenes.includes(name));
  return [
    { name, title: scene.title, make: () => play(scene.messages()) },
    ...notices.map(([notice, { title, messages, noAdapter, ...rest }]) => ({
      saying: rest.saying,
      learning: rest.learning,
      connection: rest.connection,
      sweep: rest.sweep,
      kept: rest.kept,
      name: `${name},${notice}`,
      title: `${scene.title}: ${title}`,
      make: () => {
        const before = scene.messages().filter(({ type }) => !noAdapter || type !== 'adapter');
        return play([...before, ...messages]);
      },
    })),
  ];
});
