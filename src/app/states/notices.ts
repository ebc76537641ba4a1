// What can stand in a scene of the designed states: notices, verdicts, open boxes and drawers.

import { DEFAULTS } from '../../config';
import type { Failure, KeptRuns, RunEvent } from '../../worker/protocol';
import type { Connection } from '../offline/store';
import type { RunMessage } from '../run/reduce';
import { diagnosis, EVALUATION_STEPS, failed, RUN, ready, STEPS, trained } from './events';
import { GHOST_NOTICES } from './ghosts';
import { keptNotices } from './kept';
import { type Learning, learningNotices } from './learnings';
import { ADAPTER, failedEvaluationAt, REPORT, sampleAt, stepsBetween } from './measurements';
import { answered, answering, type Saying, silenced } from './sayings';
import { SCENES, type SceneName } from './scenes';
import { type Swept, sweepNotices } from './sweeps';
import { COLLAPSED, MIDWAY, SLOW, UNUSUAL } from './verdicts';

export interface Notice {
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

export const ALL = Object.keys(SCENES) as SceneName[];
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

export const NOTICES = {
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
  collapsed: {
    title: 'one expert takes all',
    scenes: ['experts'],
    messages: [diagnosis(MIDWAY, COLLAPSED)],
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
