// What the page's tests share: a worker that only listens, the browser parts that jsdom lacks, and
// made-up measurements.

import { vi } from 'vitest';
import { useData } from '../../../src/app/data/store';
import { useRun } from '../../../src/app/run/store';
import type {
  EvaluationRecord,
  FromWorker,
  RunStatus,
  StepRecord,
  ToWorker,
} from '../../../src/worker/protocol';

export class FakeWorker {
  static made: FakeWorker[] = [];
  onmessage?: (event: { data: FromWorker }) => void;
  onerror?: (event: { message?: string }) => void;
  sent: ToWorker[] = [];
  terminated = false;

  constructor() {
    FakeWorker.made.push(this);
  }

  postMessage(message: ToWorker): void {
    this.sent.push(structuredClone(message));
  }

  terminate(): void {
    this.terminated = true;
  }
}

/** All that was sent to any worker since the test began. */
export const sent = () => FakeWorker.made.flatMap((worker) => worker.sent);

/** Lets the page's store receive what a worker would send. */
export const receive = (message: FromWorker) => useRun.getState().receive(message);

/** Without `plots` every element has no size, so that charts draw nothing and tests are quick. */
export function stubBrowser({ wide = true, plots = false } = {}): void {
  FakeWorker.made = [];
  vi.stubGlobal('Worker', FakeWorker);
  vi.stubGlobal('matchMedia', (query: string) => ({
    matches: wide && query.includes('min-width'),
    addEventListener: () => {},
    removeEventListener: () => {},
  }));
  vi.stubGlobal(
    'ResizeObserver',
    class {
      constructor(
        private readonly observed: (
          entries: { contentRect: { width: number; height: number } }[],
        ) => void,
      ) {}
      observe() {
        this.observed([
          { contentRect: plots ? { width: 700, height: 200 } : { width: 0, height: 0 } },
        ]);
      }
      disconnect() {}
    },
  );
}

/** The store as the page finds it; its worker, too, is a new one. */
export function freshStore(): void {
  const made = FakeWorker.made.at(-1);
  made?.onerror?.({ message: 'end of the test' });
  useRun.setState(useRun.getInitialState(), true);
  useData.setState(useData.getInitialState(), true);
  FakeWorker.made = [];
}

export function stepRecord(step: number, values: Partial<StepRecord> = {}): StepRecord {
  return {
    step,
    loss: 8 / step,
    ce: 9 / step,
    kd: 2 / step,
    gradNorm: 1,
    learningRate: 1e-3,
    lossScale: 1024,
    applied: true,
    appliedTotal: step,
    skippedTotal: 0,
    tokens: 512,
    ...values,
  };
}

export function evaluationRecord(
  step: number,
  values: Partial<EvaluationRecord> = {},
): EvaluationRecord {
  return {
    step,
    tried: 4,
    succeeded: 4,
    failed: 0,
    tokens: 2016,
    studentPerplexity: 2000 / (step + 1),
    teacherPerplexity: 50,
    kl: 3 / (step + 1),
    agreement: 0.25,
    path: 'strided',
    bytesCopied: 0,
    milliseconds: 10,
    sample: { prompt: 'The whale', teacher: ' was white', student: ` said ${step}` },
    ...values,
  };
}

export function failedEvaluation(step: number): EvaluationRecord {
  const { studentPerplexity, teacherPerplexity, kl, agreement, ...rest } = evaluationRecord(step);
  return {
    ...rest,
    succeeded: 0,
    failed: 4,
    tokens: 0,
    firstError: 'view: sizes [8, 63, 2048], strides [131072, 2048, 1]',
  };
}

export const status = (state: RunStatus['state'], step = 0): FromWorker => ({
  type: 'status',
  runId: useRun.getState().run?.id ?? '',
  status: {
    state,
    step,
    tokensPerSecond: 12_400,
    secondsLeft: 190,
    submissionsPerStep: 3,
    memory: { weights: 12_000_000, teacher: 200_000_000 },
  },
});
