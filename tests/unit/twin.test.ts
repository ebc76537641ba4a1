// The twin's setting: what it may change, and what the difference came to, in words.

import { describe, expect, test } from 'vitest';
import {
  checkConfig,
  DEFAULTS,
  twinChange,
  twinConfig,
  twinStep,
  WITHOUT_TEACHER,
} from '../../src/config';
import { formatLink, parseLink } from '../../src/link';
import { gainOverSeeds } from '../../src/runs/twin-seeds';
import { equalTimePace, paceSentence, twinSentence } from '../../src/twin-worth';

const problems = (changes: Partial<typeof DEFAULTS>) => checkConfig({ ...DEFAULTS, ...changes });

describe('the setting', () => {
  test('without it there is no twin, and a link does not mention it', () => {
    expect(twinConfig(DEFAULTS)).toBeUndefined();
    expect(formatLink(DEFAULTS)).toBe('v=1');
  });

  test('changes one setting of the run, and travels in a link', () => {
    const config = { ...DEFAULTS, twin: WITHOUT_TEACHER };
    expect(checkConfig(config)).toEqual([]);
    expect(twinConfig(config)).toEqual({ ...DEFAULTS, loss: 'ce', twin: '' });
    expect(twinChange({ twin: 'student_lr=0.003' })).toEqual({ student_lr: 0.003 });
    expect(formatLink(config)).toBe('v=1&twin=loss%3Dce');
    expect(parseLink(formatLink(config))).toEqual({ config });
  });

  test('a live change reaches the twin, unless it is what differs', () => {
    const twin = twinConfig({ ...DEFAULTS, twin: 'alpha=0.2', alpha: 0.9, temperature: 3 });
    expect([twin?.alpha, twin?.temperature]).toEqual([0.2, 3]);
  });

  test.each([
    [
      { twin: 'seed=3' },
      /^twin is "seed=3"\. A twin may differ in loss, kd_loss, .* or train_only_router\.$/,
    ],
    [{ twin: 'constructor=3' }, /^twin is "constructor=3"\. A twin may differ in/],
    [{ twin: 'alpha=7' }, /^twin is "alpha=7"\. alpha must be a number from 0 to 1\.$/],
    [{ twin: 'alpha= ' }, /alpha must be a number from 0 to 1\.$/],
    [{ twin: 'loss=best' }, /loss must be one of mixed, ce,/],
    [
      { twin: 'alpha=0.7' },
      /which is the run’s own value\. Give another one, or leave it empty\.$/,
    ],
    [{ twin: WITHOUT_TEACHER, loss: 'ce' as const }, /the run’s own value/],
    [
      { twin: 'temperature=4', teacher_cache: 'on' as const },
      /serves one temperature, 2\. Use cache_top_k=0/,
    ],
    [{ twin: 'ce' }, /^twin is "ce"\. It must be empty, or a setting and its value/],
  ])('%o is refused with what is allowed', (changes, message) => {
    const found = problems(changes);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(message);
  });
});

describe('the sentence', () => {
  const first = { step: 200, studentPerplexity: 180, kl: 0.9, agreement: 0.37 };
  const twin = { step: 200, studentPerplexity: 225, kl: 1.25, agreement: 0.31 };
  const config = { ...DEFAULTS, twin: WITHOUT_TEACHER };

  test('says what the teacher was worth, with all figures', () => {
    expect(twinSentence(config, first, twin)).toBe(
      'After step 200, the teacher lowered perplexity by 20%: perplexity 180.0 with the teacher, ' +
        '225.0 without; KL to the teacher 0.900 and 1.250; agreement 37% and 31%. ' +
        'This is one seed: another may differ by a few per cent.',
    );
  });

  test('says what several seeds gained, and when that may be chance', () => {
    const row = (seed: number, perplexity: number, twinPerplexity: number, values = {}) => ({
      config: { ...config, seed, ...values },
      state: 'finished' as const,
      data: 'book',
      perplexity,
      twinPerplexity,
    });
    const run = row(1, 41.4, 52);
    const others = [
      row(2, 41, 51.2),
      row(2, 9, 99),
      row(3, 41.2, 52.2, { prompt: 'Call me' }),
      row(4, 9, 99, { alpha: 0.2 }),
      { ...row(5, 9, 99), state: 'stopped' as const },
      { ...row(6, 9, 99), data: 'another' },
    ];
    const over = gainOverSeeds(run, others);
    expect(over).toMatchObject({ seeds: 3, mean: expect.closeTo(10.6) });
    expect(twinSentence(config, first, twin, over)).toMatch(
      / 31%\. Over 3 seeds the gain over the twin was 10\.6 ± 0\.4 \(mean and .* deviation\)\.$/,
    );
    expect(gainOverSeeds(run, [])).toBeUndefined();
    const chance = gainOverSeeds(run, [row(2, 52, 51)]);
    expect(twinSentence(config, first, twin, chance)).toMatch(
      /the gain over the twin was 4\.8 ± 8\.2 .*: it may be chance\.$/,
    );
  });

  test('compares at the same time, when the twin has a pace of its own', () => {
    const paced = { ...config, twin_pace: 1.64 };
    expect(twinStep(paced, 200)).toBe(328);
    expect(twinSentence(paced, first, { ...twin, step: 328 })).toMatch(
      /^After step 200 and the twin’s 328, the teacher lowered perplexity by 20%/,
    );
    expect(twinSentence(paced, first, twin)).toBeUndefined();
    expect(twinConfig(paced)).toMatchObject({ train_steps: 328, loss: 'ce', twin_pace: 1 });
    expect(twinStep({ twin_pace: 1.15 }, 100)).toBe(115);
    // 200 steps at every pace, and never one twice or left out.
    for (const twin_pace of [0.1, 0.37, 1, 1.1, 1.64, 10]) {
      const taken = Array.from({ length: 201 }, (_, step) => twinStep({ twin_pace }, step));
      const increments = taken.slice(1).map((step, i) => step - taken[i]);
      expect(Math.max(...increments)).toBeLessThanOrEqual(Math.ceil(twin_pace));
      expect(Math.min(...increments)).toBeGreaterThanOrEqual(Math.floor(twin_pace));
    }
  });

  test('what equal time would be is named, unless the twin has it', () => {
    expect(paceSentence(config, 1.638)).toBe(
      'On this machine a step of the run took 1.6 times as long as one of its twin: with ' +
        'twin_pace=1.6, 320 steps to 200, both train for equal time.',
    );
    expect(equalTimePace({ twin_pace: 1.6 }, 1.9)).toBeUndefined();
    expect(equalTimePace({ twin_pace: 1.6 }, 3.2)).toBe(3.2);
    expect(equalTimePace(config, 1.02)).toBeUndefined();
    expect(equalTimePace(config, undefined)).toBeUndefined();
    expect(equalTimePace(config, 100)).toBe(10);
  });

  test('is as ready to say that the teacher did harm, or nothing', () => {
    expect(twinSentence(config, twin, first)).toContain('the teacher raised perplexity by 25%');
    expect(twinSentence(config, first, { ...twin, studentPerplexity: 180.5 })).toContain(
      'the teacher made no difference',
    );
  });

  test('names another setting and both values', () => {
    expect(twinSentence({ ...DEFAULTS, twin: 'alpha=0.2' }, first, twin)).toContain(
      'α 0.7 lowered perplexity by 20%: perplexity 180.0 at α 0.7, 225.0 at 0.2;',
    );
  });

  test('compares nothing without both perplexities at the same step', () => {
    expect(twinSentence(config, first, undefined)).toBeUndefined();
    expect(twinSentence(config, { ...first, step: 180 }, twin)).toBeUndefined();
    expect(twinSentence(config, { ...first, studentPerplexity: undefined }, twin)).toBeUndefined();
    expect(twinSentence(DEFAULTS, first, twin)).toBeUndefined();
  });
});
