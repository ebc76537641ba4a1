// What the Bug Lab's tests share: the store as the page finds it, and made-up reports that arrive
// as the worker sends them.

import { act } from '@testing-library/react';
import { useBug } from '../../../src/app/bug/store';
import { useRoom } from '../../../src/app/shared/rooms';
import type {
  BugLabColumn,
  BugLabReport,
  FromWorker,
  StepAttempt,
} from '../../../src/worker/protocol';
import { evaluationRecord, FakeWorker, failedEvaluation, freshStore, stepRecord } from './support';

export function freshLab(): void {
  freshStore();
  useRoom.setState({ room: 'bugLab', strideLab: '', bugLab: '' });
  useBug.setState(useBug.getInitialState(), true);
}

/** From the worker to everybody who listens. */
export const say = (message: FromWorker) =>
  act(() => FakeWorker.made.at(-1)?.onmessage?.({ data: message }));

export const report = (value: BugLabReport) => say({ type: 'bug-lab-report', report: value });

/** Ends the experiment; what was reported is then committed. */
export const done = () => say({ type: 'bug-lab-done' });

export function attempt(step: number, values: Partial<StepAttempt> = {}): StepAttempt {
  return { step, record: stepRecord(step), bytesCopied: 0, milliseconds: 10 + step, ...values };
}

/** The exception as the engine words it. */
export const VIEW_ERROR =
  "view size is not compatible with input tensor's size and stride (at least one dimension spans across two contiguous " +
  'subspaces). Use .reshape(...) instead.\nview([-1, 1024]) on sizes [4, 31, 1024], strides [32768, 1024, 1], offset 0';

interface Shape {
  /** Evaluations fail. */
  failing?: boolean;
  /** Bytes that each evaluation copies. */
  bytesCopied?: number;
  steps?: StepAttempt[];
  weightChange?: number;
}

/** An evaluation before the steps, the steps, an evaluation after them, the end. */
export function columnReports(column: BugLabColumn, shape: Shape = {}): BugLabReport[] {
  const {
    failing = false,
    bytesCopied = 0,
    steps = [attempt(1), attempt(2)],
    weightChange = 0.03,
  } = shape;
  const evaluation = (step: number): BugLabReport => ({
    kind: 'evaluation',
    column,
    record: failing
      ? { ...failedEvaluation(step), firstError: VIEW_ERROR }
      : { ...evaluationRecord(step), bytesCopied },
    weightChange: step === 0 ? 0 : weightChange,
  });
  return [
    evaluation(0),
    ...steps.map((taken): BugLabReport => ({ kind: 'step', column, attempt: taken })),
    evaluation(steps.length),
    { kind: 'ended', column },
  ];
}
