// Made-up reports of the Bug Lab's experiments, for tests of what the page shows of them.

import type { BugLabColumn, BugLabReport, Cause, StepAttempt } from '../../../src/worker/protocol';
import { evaluationRecord, failedEvaluation, stepRecord } from './records';

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

/** The four causes, each with what gives it away. */
export function causeReports(): BugLabReport[] {
  const flat = { gradNorm: 0.7, loss: 6.9, ce: 6.9 };
  const two = (values: Parameters<typeof stepRecord>[1]) =>
    [1, 2].map((step) => attempt(step, { record: stepRecord(step, values) }));
  const steps: Record<Cause, StepAttempt[]> = {
    view: two({}),
    skipped: two({ ...flat, applied: false, lossScale: 2 ** 40 }),
    'half-weights': two(flat),
    detached: two({ ...flat, gradNorm: 0 }),
  };
  return (Object.keys(steps) as Cause[]).flatMap((cause) =>
    columnReports(cause, {
      steps: steps[cause],
      failing: cause === 'view',
      weightChange: cause === 'view' ? 0.03 : 0,
    }),
  );
}

/** Two models whose heads attend to all tokens so far alike. T tokens, H heads. */
export function headReports(T: number, H: number): BugLabReport[] {
  const tokens = Array.from({ length: T }, (_, i) => ` ${i}`);
  const head = tokens.flatMap((_, query) =>
    tokens.map((_, key) => (key <= query ? 1 / (query + 1) : 0)),
  );
  const picture = { layer: 0, tokens, heads: Array.from({ length: H }, () => head) };
  return (['transposed', 'reshaped'] as const).flatMap((column) => [
    { kind: 'attention' as const, column, picture },
    ...columnReports(column),
  ]);
}
