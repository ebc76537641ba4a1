// The Doctor's rules, the most fundamental first. To add one, add a row and a run that shows it, in
// tests/doctor/cases.ts.

import type { Rule } from './rule';
import * as data from './rules/data';
import * as evaluation from './rules/evaluation';
import * as experts from './rules/experts';
import * as settings from './rules/settings';
import * as student from './rules/student';
import * as teacher from './rules/teacher';
import * as updates from './rules/updates';

export const RULES = {
  'training-path-fails': evaluation.trainingPathFails,
  'skipped-steps': updates.skippedSteps,
  'disconnected-loss': updates.disconnectedLoss,
  'lost-updates': updates.lostUpdates,
  'evaluation-fails': evaluation.evaluationFails,
  'no-measurement': evaluation.noMeasurement,
  'teacher-unfit': teacher.teacherUnfit,
  'start-unfit': teacher.startUnfit,
  'batch-repeats': data.batchRepeats,
  'learning-rate-high': updates.learningRateHigh,
  'learning-rate-low': updates.learningRateLow,
  'memory-grows': settings.memoryGrows,
  'loss-scale-collapses': updates.lossScaleCollapses,
  'tokenizer-unfit': data.tokenizerUnfit,
  'one-token-dominates': data.oneTokenDominates,
  'few-targets': data.fewTargets,
  'gradient-spikes': updates.gradientSpikes,
  'experts-collapse': experts.expertsCollapse,
  'held-out-differs': student.heldOutDiffers,
  overfitting: student.overfitting,
  'temperature-flat': teacher.temperatureFlat,
  'teacher-ignored': teacher.teacherIgnored,
  repeats: student.repeats,
  overconfident: student.overconfident,
  'unusual-learning-rate': settings.unusualLearningRate,
  'warm-up-too-long': settings.warmUpTooLong,
  'starts-as-teacher': teacher.startsAsTeacher,
  'always-clipped': updates.alwaysClipped,
  capacity: student.capacity,
  'short-documents': data.shortDocuments,
  'many-epochs': data.manyEpochs,
  'unusual-temperature': settings.unusualTemperature,
  'large-memory': settings.largeMemory,
} as const satisfies Record<string, Rule>;

export type RuleName = keyof typeof RULES;
export const RULE_NAMES = Object.keys(RULES) as RuleName[];
