// Made-up measurements for the designed states: smooth curves with a little noise, the same each
// time.

import { DEFAULTS } from '../../config';
import type {
  AdapterReport,
  EvaluationRecord,
  ExpertUse,
  RunReport,
  RunStatus,
  SampleRecord,
  StepRecord,
} from '../../worker/protocol';

import { groupsOf } from './learnings';

const STEPS = DEFAULTS.train_steps;
export const MILLISECONDS_PER_STEP = 41;

/** From 0 to 1, without a pattern that the eye would see. */
function noise(step: number): number {
  const value = Math.sin(step * 12.9898) * 43758.5453;
  return value - Math.floor(value);
}

/** From `first` towards `last`, most of the way in the first third of a run. */
const decay = (step: number, first: number, last: number) =>
  last + (first - last) * Math.exp((-6 * step) / STEPS);

function stepAt(step: number, worse: number): StepRecord {
  const ce = decay(step, 7.6, 5.1 * worse) * (0.98 + 0.04 * noise(step));
  const kd = decay(step, 1.3, 0.45 * worse) * (0.96 + 0.08 * noise(step + 0.5));
  const { alpha, temperature, student_lr } = DEFAULTS;
  return {
    step,
    ce,
    kd,
    loss: alpha * temperature ** 2 * kd + (1 - alpha) * ce,
    gradNorm: decay(step, 2.4, 0.7) * (0.9 + 0.2 * noise(step + 0.25)),
    learningRate: student_lr * Math.min(1, step / 20) * Math.cos((Math.PI * step) / (3 * STEPS)),
    lossScale: 65_536,
    applied: true,
    appliedTotal: step,
    skippedTotal: 0,
    tokens: 512,
    seconds: (step * MILLISECONDS_PER_STEP) / 1000,
  };
}

/** The records of the steps after `from`, up to `to`. */
export const stepsBetween = (from: number, to: number, worse = 1): StepRecord[] =>
  Array.from({ length: to - from }, (_, index) => stepAt(from + index + 1, worse));

export function evaluationAt(step: number, worse = 1): EvaluationRecord {
  return {
    step,
    tried: 8,
    succeeded: 8,
    failed: 0,
    tokens: 4032,
    studentPerplexity: decay(step, 2040, 185 * worse),
    teacherPerplexity: 68.9,
    kl: decay(step, 3.2, 0.9 * worse),
    teacherEntropy: 2.9,
    studentEntropy: decay(step, 7.5, 3.6 * worse),
    overlap: 0.5 - decay(step, 0.49, 0.02 * worse),
    overlapMass: 0.58 - decay(step, 0.57, 0.02 * worse),
    ...groupsOf(decay(step, 3.2, 0.9 * worse)),
    agreement: 0.42 - decay(step, 0.41, 0.04 * worse),
    path: 'strided',
    bytesCopied: 0,
    milliseconds: 900,
    sample: {
      prompt: DEFAULTS.prompt,
      teacher:
        ' was seen to windward, and the boats were lowered. “There she blows!” cried the mate',
      student: saidAfter(step),
    },
  };
}

/** In the first layer four experts share the work; in the second one of them takes it all. */
export function expertsAt(step: number): ExpertUse[] {
  const even = [0, 1, 2, 3].map((expert) => 0.25 + 0.06 * (noise(step + expert / 8) - 0.5));
  const idle = [0.03, 0.01, 0.004].map((rest) => Math.max(0, decay(step, 0.25, -rest)));
  return [even, [idle[0], 0, idle[1], idle[2]]].map((load, layer) => {
    const others = load.reduce((a, b) => a + b);
    const shares =
      layer === 0
        ? load.map((share) => share / others)
        : load.map((share, expert) => (expert === 1 ? 1 - others : share));
    return { layer, chosen: 1, load: shares, entropy: decay(step, 1.36, layer === 0 ? 0.9 : 0.06) };
  });
}

/** What the student says, better and better. */
const SAID: readonly [step: number, text: string][] = [
  [0, ' thole mast,brit oar the; the wh lamp ing'],
  [1, ' the the, of the the oar, the'],
  [10, ' the and, of the sea, and the the whale the'],
  [60, ' was the whale, and the sea of the ship, and the'],
  [STEPS, ' was the sea, and the ship was a man of the whale, and the sea'],
];

const saidAfter = (step: number) => (SAID.findLast(([from]) => from <= step) ?? SAID[0])[1];

export const sampleAt = (step: number, prompt: string): SampleRecord => ({
  step,
  sample: { prompt, teacher: ' rose and fell, and the masts with it', student: saidAfter(step) },
});

/** As many batches as were tried fail, each with the same error. */
export function failedEvaluationAt(step: number): EvaluationRecord {
  const { studentPerplexity, teacherPerplexity, kl, agreement, sample, ...counts } =
    evaluationAt(step);
  return {
    ...counts,
    succeeded: 0,
    failed: counts.tried,
    tokens: 0,
    path: 'view',
    firstError:
      'view size is not compatible with input tensor’s size and stride (at least one dimension ' +
      'spans across two contiguous subspaces). Use .reshape(...) instead.\n' +
      'view([-1, 2048]) on sizes [8, 63, 2048], strides [131072, 2048, 1], offset 0',
  };
}

export const ADAPTER: AdapterReport = {
  name: 'NVIDIA GeForce RTX 4070',
  vendor: 'nvidia',
  software: false,
  f16: true,
  subgroupSize: 32,
  timestamps: true,
  maxBindingBytes: 2 ** 31,
};

export const REPORT: RunReport = {
  dtype: 'float16',
  teacherParameters: 941_000,
  studentParameters: 171_000,
  vocabularySize: 2048,
  tokensPerStep: 512,
  trainTokens: 389_000,
  heldOutTokens: 20_500,
  dispatchesPerStep: 66,
  submissionsPerStep: 1,
};

export function statusAt(step: number, state: RunStatus['state']): RunStatus {
  const speed = step === 0 || state === 'paused' ? 0 : 12_400;
  return {
    state,
    step,
    tokensPerSecond: speed,
    secondsLeft: speed > 0 ? ((STEPS - step) * 512) / speed : undefined,
    submissionsPerStep: 1,
    memory: {
      weights: 684_000,
      optimiser: 2_050_000,
      activations: 14_800_000,
      teacher: 22_300_000,
      logits: 8_390_000,
    },
  };
}
