// Made-up records of a run, for tests of what the page shows of them.

import type { EvaluationRecord, StepRecord } from '../../../src/worker/protocol';

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
