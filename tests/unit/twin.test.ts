// The twin's setting: what it may change, and what the difference came to, in words.

import { describe, expect, test } from 'vitest';
import { checkConfig, DEFAULTS, twinChange, twinConfig, WITHOUT_TEACHER } from '../../src/config';
import { formatLink, parseLink } from '../../src/link';
import { twinSentence } from '../../src/twin-worth';

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
      /^twin is "seed=3"\. A twin may differ in loss, kd_loss, .* or max_grad_norm\.$/,
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
