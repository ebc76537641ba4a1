// The lines that the command line prints for a run: the story's format, and n/a for missing
// numbers.

import { expect, test } from 'vitest';
import {
  evaluationLine,
  expertLines,
  figure,
  loadedText,
  memoryText,
  Pace,
  stepLine,
} from '../../src/cli/progress';
import type { EvaluationRecord, StepRecord } from '../../src/distill/records';

const step: StepRecord = {
  step: 20,
  loss: 6.12344,
  ce: 7,
  kd: 1,
  gradNorm: 1,
  learningRate: 1e-3,
  lossScale: 65536,
  applied: true,
  appliedTotal: 20,
  skippedTotal: 0,
  tokens: 512,
};
const evaluation: EvaluationRecord = {
  step: 20,
  tried: 4,
  succeeded: 4,
  failed: 0,
  tokens: 2000,
  studentPerplexity: 812.4,
  path: 'strided',
  bytesCopied: 0,
  milliseconds: 12,
};

/** 20 of 478 steps of 512 tokens, in 8.3 s. */
function paced(): Pace {
  const pace = new Pace(512, 478);
  for (let i = 0; i <= 20; i++) pace.tick(1000 + i * 415);
  return pace;
}

test('an evaluation prints the story’s line', () => {
  expect(evaluationLine(evaluation, step, paced().at(20))).toBe(
    'Step 20: Loss=6.1234, PPL=812.40, Success=1.000 (4 of 4), 1,234 tok/s, 03:10 left',
  );
});

test('a student with experts has a line for each layer that has them', () => {
  expect(expertLines(evaluation)).toEqual([]);
  const experts = [
    { layer: 0, chosen: 1, load: [0.26, 0.24, 0.25, 0.25], entropy: 1.317 },
    { layer: 2, chosen: 1, load: [0, 0.996, 0.004, 0], entropy: 0.0693 },
  ];
  expect(expertLines({ ...evaluation, experts })).toEqual([
    '  Layer 0: experts take 26%, 24%, 25%, 25% of the choices; router entropy 0.95 of ln 4.',
    '  Layer 2: experts take 0%, 100%, 0.4%, 0% of the choices; router entropy 0.05 of ln 4; ' +
      'experts 0 and 3 are dead.',
  ]);
});

test('a student with experts prints its routers’ losses', () => {
  const routed = { ...step, routerBalance: 2.03125, routerZ: 1.5 };
  expect(evaluationLine(evaluation, routed, '')).toContain(
    'PPL=812.40, RouterBalance=2.0313, RouterZ=1.5000, Success=',
  );
});

test('missing numbers are n/a, a large perplexity is not clamped, skips are counted', () => {
  const failed = {
    ...evaluation,
    succeeded: 0,
    failed: 4,
    tokens: 0,
    studentPerplexity: undefined,
  };
  expect(
    evaluationLine(
      failed,
      { ...step, loss: Number.NaN, skippedTotal: 3 },
      new Pace(512, 100).at(20),
    ),
  ).toBe(
    'Step 20: Loss=n/a, PPL=n/a (0 valid tokens), Success=0.000 (0 of 4), ' +
      '3 skipped, n/a tok/s, n/a left',
  );
  expect(
    evaluationLine({ ...evaluation, step: 0, studentPerplexity: 51_234.56 }, undefined, ''),
  ).toContain('Step 0: Loss=n/a, PPL=51234.56,');
  expect(evaluationLine({ ...evaluation, tried: 0, succeeded: 0 }, step, '')).toContain(
    'Success=n/a (0 of 0)',
  );
  expect(
    [undefined, null, Number.NaN, Number.POSITIVE_INFINITY].map((value) => figure(value, 2)),
  ).toEqual(['n/a', 'n/a', 'n/a', 'Infinity']);
});

test('a step prints its loss and whether it was skipped', () => {
  expect(stepLine(step, 'x')).toBe('Step 20: Loss=6.1234, x');
  expect(stepLine({ ...step, applied: false }, 'x')).toBe('Step 20: Loss=6.1234 (skipped), x');
});

test('the pace is that of the last steps, and n/a before the first', () => {
  const pace = new Pace(100, 7221);
  pace.tick(0);
  expect(pace.at(0)).toBe('n/a tok/s, n/a left');
  pace.tick(1000);
  expect(pace.at(1)).toBe('100 tok/s, 2:00:20 left');
  // After 20 steps of half a second each, the slow first one no longer counts.
  for (let i = 1; i <= 20; i++) pace.tick(1000 + i * 500);
  expect(pace.at(21)).toBe('200 tok/s, 1:00:00 left');
});

test('memory is printed by purpose, largest first, in fitting units', () => {
  expect(memoryText({ data: 4500, weights: 1_610_000_000, teacher: 709_600_000 })).toBe(
    '2.32 GB: weights 1.61 GB, teacher 709.6 MB, data 4.5 kB',
  );
  expect(loadedText('model.safetensors', 'distilgpt2', 120_500_000, 352_800_000)).toBe(
    'model.safetensors of distilgpt2: 120.5 MB of 352.8 MB',
  );
  expect(loadedText('a', 'b', 1000, undefined)).toBe('a of b: 1.0 kB');
});
