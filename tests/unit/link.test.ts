// Links: every valid config survives the round trip, and a malformed link is refused as a whole,
// with a message that helps.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Config, Field, FieldName } from '../../src/config';
import { allowed, checkConfig, DEFAULTS, FIELDS } from '../../src/config';
import { ALIGNED_NAMES, alignedLossOf, DIVERGENCE_NAMES } from '../../src/divergences';
import { formatLink, parseLink } from '../../src/link';

const KD_LOSSES = [...DIVERGENCE_NAMES, ...ALIGNED_NAMES];

const names = Object.keys(FIELDS) as FieldName[];

function arbitraryValue(field: Field): fc.Arbitrary<string | number> {
  switch (field.type) {
    case 'choice':
      return fc.constantFrom(...field.choices);
    case 'text':
      return fc
        .string({ unit: 'binary', maxLength: field.maxLength })
        .filter((text) => text.length <= field.maxLength);
    case 'integer':
      return fc.integer({ min: field.min, max: field.max });
    case 'number':
      return fc.double({ min: field.min, max: field.max, noNaN: true });
  }
}

/** Valid configs; any field may differ from its default. */
const configs = fc
  .record(
    {
      ...Object.fromEntries(names.map((name) => [name, arbitraryValue(FIELDS[name])])),
      // Any text would hardly ever be one.
      teacher_model: fc.constantFrom('austen-teacher', 'files', 'org/name@v1.0'),
      student_model: fc.constantFrom('', 'teacher', 'org/student'),
      twin: fc.constantFrom('', 'loss=ce', 'alpha=0.25', 'student_lr=1e-3'),
      lora_targets: fc.constantFrom('all-linear', 'q_proj,v_proj', 'mlp.c_proj'),
    },
    { requiredKeys: [] },
  )
  .map((fields): Config => {
    const config = { ...DEFAULTS, ...fields } as Config;
    const unit = 4 * config.student_heads;
    const experts = config.student_experts;
    // A new student has nothing to keep frozen, and experts train themselves.
    const rank = config.student_model === '' || experts > 0 ? 0 : config.lora_rank;
    return {
      ...config,
      student_from_layers: config.student_model === 'teacher' ? '0,11' : '',
      lora_rank: rank,
      base_weights: rank > 0 ? config.base_weights : 'full',
      teacher_dtype: config.teacher_engine === 'stillhouse' ? 'auto' : config.teacher_dtype,
      ...(experts > 0 && { experts_per_token: Math.min(config.experts_per_token, experts) }),
      // A loss that compares groups reads neither a cache nor slices.
      ...(alignedLossOf(config) && { teacher_cache: 'off', train_loss_path: 'labels' }),
      student_width: Math.max(1, Math.floor(config.student_width / unit)) * unit,
    };
  })
  .filter((config) => checkConfig(config).length === 0);

function problemsOf(hash: string): string[] {
  const parsed = parseLink(hash);
  if ('config' in parsed) throw new Error(`${hash.slice(0, 80)} was accepted`);
  expect(parsed.problems.length).toBeGreaterThan(0);
  // The whole message fits on a small screen.
  expect(parsed.problems.join('\n').length).toBeLessThan(1500);
  return parsed.problems;
}

/** The fields that a link sets. */
function changesOf(hash: string): Partial<Config> {
  const parsed = parseLink(hash);
  if ('problems' in parsed) throw new Error(parsed.problems.join(' '));
  return Object.fromEntries(
    names.filter((n) => parsed.config[n] !== DEFAULTS[n]).map((n) => [n, parsed.config[n]]),
  );
}

test('every valid config comes back from its link', () => {
  fc.assert(
    fc.property(configs, (config) => {
      const link = formatLink(config);
      expect(parseLink(link)).toEqual({ config });
      expect(parseLink(`#${link}`)).toEqual({ config });
      // Nor does it matter what the URL class does to its fragment.
      const url = new URL('https://example.org/');
      url.hash = link;
      expect(parseLink(url.hash)).toEqual({ config });
    }),
    { numRuns: 300 },
  );
});

describe('formatLink', () => {
  test('contains only the fields that differ, readable and in the table’s order', () => {
    expect(formatLink(DEFAULTS)).toBe('v=1');
    expect(formatLink({ ...DEFAULTS, student_lr: 0.0001, alpha: 0.5, loss: 'ce' })).toBe(
      'v=1&loss=ce&alpha=0.5&student_lr=0.0001',
    );
    expect(formatLink({ ...DEFAULTS, prompt: 'Call me' })).toBe('v=1&prompt=Call%20me');
  });

  test('never ends in a character that chat programs cut off', () => {
    for (const end of ['.', '!', ')', "'", '*', '~', ',', ';', '?']) {
      expect(formatLink({ ...DEFAULTS, prompt: `The sea${end}` })).toMatch(/[\w]$/);
    }
  });

  test('refuses a config that is not valid', () => {
    expect(() => formatLink({ ...DEFAULTS, alpha: 2 })).toThrow(
      'alpha is 2. It must be a number from 0 to 1.',
    );
  });
});

describe('parseLink accepts', () => {
  test('an empty link and a version alone: a new copy of the defaults each time', () => {
    for (const hash of ['', '#', 'v=1', '#v=1'])
      expect(parseLink(hash)).toEqual({ config: DEFAULTS });
    const parsed = parseLink('');
    expect('config' in parsed && parsed.config).not.toBe(DEFAULTS);
  });

  test('numbers and texts as people write them', () => {
    expect(changesOf('v=1&train_steps=1e3')).toEqual({ train_steps: 1000 });
    expect(changesOf('train_steps=300.0&v=1')).toEqual({ train_steps: 300 });
    expect(changesOf('v=1&&alpha=.5&')).toEqual({ alpha: 0.5 });
    expect(changesOf('v=1&student_lr=1E-4')).toEqual({ student_lr: 1e-4 });
    expect(changesOf('v=1&prompt=1+1=2')).toEqual({ prompt: '1+1=2' });
    expect(changesOf('v=1&prompt=')).toEqual({ prompt: '' });
    expect(changesOf('v=1&alpha=0.7')).toEqual({});
  });
});

describe('parseLink refuses', () => {
  test('text in place of a number, and says what was expected', () => {
    for (const raw of [
      '',
      ' 5',
      '5 ',
      '%205',
      '0x10',
      'NaN',
      'Infinity',
      '-Infinity',
      '1e',
      '1,5',
      '1_0',
      '--1',
      '+1',
      '٣',
    ]) {
      const problems = problemsOf(`v=1&temperature=${raw}`);
      expect(problems).toEqual([
        `temperature is ${JSON.stringify(decodeURIComponent(raw))}. ` +
          `It must be ${allowed('temperature')}.`,
      ]);
    }
    expect(problemsOf('v=1&temperature')).toEqual([
      `temperature has no value. It must be ${allowed('temperature')}.`,
    ]);
    expect(problemsOf('v=1&temperature=1e999')).toEqual([
      `temperature is Infinity. It must be ${allowed('temperature')}.`,
    ]);
  });

  test('values out of range, fractions of a step and unknown choices', () => {
    expect(
      problemsOf('v=1&alpha=1.5&train_steps=2.5&loss=mse&teacher_model=../constructor'),
    ).toEqual([
      'alpha is 1.5. It must be a number from 0 to 1.',
      'train_steps is 2.5. It must be a whole number from 1 to 100000.',
      `loss is "mse". It must be one of mixed, ce, ${KD_LOSSES.join(', ')}.`,
      expect.stringContaining(
        'teacher_model is "../constructor". It must be austen-teacher, moby-teacher,',
      ),
    ]);
    expect(problemsOf('v=1&seed=-1')).toEqual([`seed is -1. It must be ${allowed('seed')}.`]);
    expect(problemsOf(`v=1&prompt=${'a'.repeat(201)}`)[0]).toContain('prompt has 201 characters.');
    expect(problemsOf('v=1&student_width=62')[0]).toContain('multiple of 4 × heads');
  });

  test('a field given twice, even with the same value or another spelling', () => {
    for (const hash of ['v=1&alpha=0.5&alpha=0.5', 'v=1&alpha=0.5&%61lpha=0.6']) {
      expect(problemsOf(hash)).toEqual(['alpha is given 2 times. Give it once.']);
    }
    expect(problemsOf('v=1&v=1')).toEqual(['v is given 2 times. Give it once.']);
  });

  test('unknown names, suggests the nearest and says where names are found', () => {
    const where = 'To see a setting’s name, change it on the page and look at the address.';
    for (const name of ['learning_rate', '__proto__', 'constructor', 'toString', 'prototype', '']) {
      expect(problemsOf(`v=1&${name}=1`)).toEqual([
        `${JSON.stringify(name)} is not a setting. ${where}`,
      ]);
    }
    for (const [name, guess] of [
      ['Alpha', 'alpha or lora_alpha'],
      [' alpha', 'alpha'],
      ['train-steps', 'train_steps'],
      ['steps', 'eval_steps, train_steps or warmup_steps'],
      ['student_lrr', 'student_lr or student_layers'],
    ]) {
      expect(problemsOf(`v=1&${name}=1`)).toEqual([
        `"${name}" is not a setting. Did you mean ${guess}? ${where}`,
      ]);
    }
    expect(problemsOf('v=1&a=1&b=1&c=1&d=1&e=1')).toEqual([
      `"a", "b", "c" and 2 more are not settings. ${where}`,
    ]);
    expect(problemsOf('v=1&alfa=1&sed=1')).toEqual([
      `"alfa", "sed" are not settings. Did you mean alpha or seed? ${where}`,
    ]);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
    expect(problemsOf('v=1&__proto__[polluted]=1&constructor.prototype.polluted=1')[0]).toContain(
      'are not settings',
    );
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });

  test('a missing version and an unknown one', () => {
    // One word is no link at all, and gets one sentence.
    expect(problemsOf('rubbish')).toEqual([
      '“rubbish” is not a link of this page. Its settings stay as they are.',
    ]);
    expect(problemsOf('alpha=0.5')).toEqual(['v is missing. A link starts with its version, v=1.']);
    for (const version of ['2', '10']) {
      // Fields may mean something else in a later version, so only the version is reported.
      const problems = problemsOf(`v=${version}&alpha=9&depth=3`);
      expect(problems).toEqual([
        `v is "${version}". It must be 1. The link was made by a newer Stillhouse. ` +
          'Reload the page to update it.',
      ]);
    }
    for (const version of ['', '0', '-1', '1.0', 'x', ' 1']) {
      expect(problemsOf(`v=${version}`)).toEqual([
        `v is ${JSON.stringify(version)}. It must be 1.`,
      ]);
    }
  });

  test('bad percent-encoding', () => {
    for (const raw of ['%', '%zz', '%E0%A4', '100%', '%C0%80']) {
      const [problem] = problemsOf(`v=1&prompt=${raw}`);
      expect(problem).toContain(`prompt is "${raw}", which is not percent-encoded UTF-8.`);
    }
    expect(problemsOf('v=1&%zz=1')[0]).toContain('"%zz" is not a setting.');
  });

  test('the whole link for a single problem', () => {
    const parsed = parseLink('v=1&alpha=0.5&temperature=0');
    expect(Object.keys(parsed)).toEqual(['problems']);
    expect(problemsOf('v=1&alpha=0.5&temperature=0')).toHaveLength(1);
  });

  test('100 KB of noise, quickly and with a short message', () => {
    const size = 100 * 1024;
    const repeated = (text: string) => text.repeat(Math.ceil(size / text.length)).slice(0, size);
    const noise: [string, RegExp][] = [
      [repeated('x'), /v is missing/],
      [repeated('&'), /v is missing/],
      [repeated('='), /v is missing/],
      [repeated('%'), /v is missing/],
      [repeated('&alpha=2'), /v is missing/],
      [`v=1&${repeated('a=1&')}`, /are not settings/],
      [`v=1&${repeated('alpha=2&')}`, /alpha is 2\./],
      [`v=1&alpha=${repeated('1')}`, /alpha is Infinity\./],
      [`v=1&alpha=${repeated('1')}x`, /alpha is "1+…"\. It must be a number from 0 to 1/],
      [`v=1&prompt=${'%41'.repeat(size / 3)}`, /prompt has \d+ characters/],
      [`v=1&prompt=${repeated('%')}`, /prompt is "%+…", which is not/],
      [`v=1&loss=${repeated('\u0000\n"')}`, /loss is ".{1,40}…"\. It must be one of/],
      [`v=${repeated('2')}`, /v is "2+…"\. It must be 1/],
    ];
    for (const [hash, message] of noise) {
      const start = performance.now();
      const problems = problemsOf(hash);
      // One pass takes milliseconds, on a busy machine a second; anything quadratic takes minutes.
      expect(performance.now() - start, hash.slice(0, 30)).toBeLessThan(10_000);
      expect(problems.join('\n')).toMatch(message);
    }
  });
});
