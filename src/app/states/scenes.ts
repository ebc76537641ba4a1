// The scenes of the designed states: each a phase of a run.

import { DEFAULTS, WITHOUT_TEACHER } from '../../config';
import { RunHistory } from '../charts/history';
import type { RunMessage } from '../run/reduce';
import {
  adapter,
  diagnosis,
  earlierRun,
  failed,
  lost,
  opening,
  RUN,
  ready,
  recorded,
  STEPS,
  start,
  status,
  trained,
  withExperts,
  withTwin,
  withTwoVocabularies,
} from './events';
import { DAMAGED, REFUSED } from './failures';
import { opensGhost } from './ghosts';
import { evaluationAt } from './measurements';
import { MIDWAY, SLOW } from './verdicts';

export interface Scene {
  title: string;
  messages(): RunMessage[];
}

const before = (): RunMessage[] => [recorded(), adapter];

export const SCENES = {
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
  experts: {
    title: 'Paused, a student with experts',
    messages: () => [
      ...before(),
      start(),
      ...[...opening, ...trained(MIDWAY)].map(withExperts),
      status('paused', MIDWAY),
    ],
  },
  'two-vocabularies': {
    title: 'Finished, a student with another vocabulary',
    messages: () => [
      ...before(),
      { type: 'field', name: 'loss', text: 'gold' },
      start(),
      ...[...opening, ...trained(STEPS)].map(withTwoVocabularies),
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
          stood: [SLOW],
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

export type SceneName = keyof typeof SCENES;
