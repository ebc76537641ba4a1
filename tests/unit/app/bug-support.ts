// Shared by the Bug Lab's tests: a fresh store, and made-up reports that arrive as messages from
// the worker.

import { act } from '@testing-library/react';
import { useBugLab } from '../../../src/app/bug/store';
import { useRoom } from '../../../src/app/shared/rooms';
import type {
  BugLabColumn,
  BugLabReport,
  Failure,
  StepAttempt,
} from '../../../src/worker/protocol';
import {
  evaluationRecord,
  failedEvaluation,
  freshStore,
  report as progress,
  reject,
  resolve,
  stepRecord,
} from './support';

export function freshBugLab(): void {
  freshStore();
  useRoom.setState({ room: 'bugLab', strideLab: '', bugLab: '' });
  useBugLab.setState(useBugLab.getInitialState(), true);
}

export const loading = (detail: string) => act(() => progress('bug-lab', { detail }));

export const report = (value: BugLabReport) => act(() => progress('bug-lab', { report: value }));

/** Ends the experiment, which commits all reports. */
export const finish = () => act(() => resolve('bug-lab', undefined));

export const fail = (failure: Failure) => act(() => reject('bug-lab', failure));

export function attempt(step: number, values: Partial<StepAttempt> = {}): StepAttempt {
  return { step, record: stepRecord(step), bytesCopied: 0, milliseconds: 10 + step, ...values };
}

/** The exception in the engine's words. */
export const VIEW_ERROR =
  "view size is not compatible with input tensor's size and stride (at least one dimension spans " +
  'across two contiguous ' +
  'subspaces). Use .reshape(...) instead.\nview([-1, 1024]) on sizes [4, 31, 1024], strides ' +
  '[32768, 1024, 1], offset 0';

interface ColumnShape {
  /** Every evaluation batch fails. */
  failing?: boolean;
  /** Bytes copied by each evaluation. */
  bytesCopied?: number;
  steps?: StepAttempt[];
  weightChange?: number;
}

/** An evaluation, the steps, another evaluation, the end. */
export function columnReports(column: BugLabColumn, shape: ColumnShape = {}): BugLabReport[] {
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
    ...steps.map((attempt): BugLabReport => {
      return { kind: 'step', column, attempt, totalSteps: steps.length };
    }),
    evaluation(steps.length),
    { kind: 'ended', column },
  ];
}
