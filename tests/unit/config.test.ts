// The table of settings: its rows are consistent, and an error names the field, the value and the
// allowed values.

import { describe, expect, test } from 'vitest';
import type { Config, Field, FieldName } from '../../src/config';
import {
  allowed,
  checkConfig,
  checkField,
  DEFAULTS,
  FIELDS,
  isFieldName,
  isLive,
  shown,
} from '../../src/config';
import { modelReference } from '../../src/model-reference';

const names = Object.keys(FIELDS) as FieldName[];
const withNumbers = names.filter((name) => ['number', 'integer'].includes(FIELDS[name].type));

test('the defaults are valid', () => {
  expect(checkConfig(DEFAULTS)).toEqual([]);
  expect(Object.keys(DEFAULTS)).toEqual(names);
});

test('every row has a range and a help sentence', () => {
  for (const name of names) {
    const field: Field = FIELDS[name];
    expect(field.help, name).toMatch(/\.$/);
    if (field.type === 'number' || field.type === 'integer') {
      expect(field.min, name).toBeLessThan(field.max);
      if (field.scale === 'log') expect(field.min, name).toBeGreaterThan(0);
      expect(allowed(name)).toContain(`from ${field.min} to ${field.max}`);
    }
  }
});

test('a live field that training feels has a symbol, which marks its changes', () => {
  // The prompt changes no curve.
  const live = names.filter(isLive).filter((name) => name !== 'prompt');
  expect(live.length).toBeGreaterThan(0);
  for (const name of live) expect((FIELDS[name] as Field).symbol, name).toMatch(/^\p{L}{1,2}$/u);
});

describe('checkField', () => {
  test('accepts both ends of a range and nothing beyond', () => {
    for (const name of withNumbers) {
      const { min, max } = FIELDS[name] as { min: number; max: number };
      expect(checkField(name, min)).toBeUndefined();
      expect(checkField(name, max)).toBeUndefined();
      for (const value of [min - 1, max + 1]) {
        expect(checkField(name, value)).toBe(`${name} is ${value}. It must be ${allowed(name)}.`);
      }
    }
  });

  test('accepts nothing but a number for a number', () => {
    for (const name of withNumbers) {
      for (const value of [
        '1',
        '',
        null,
        undefined,
        Number.NaN,
        Number.POSITIVE_INFINITY,
        [1],
        {},
        true,
        1n,
      ]) {
        expect(checkField(name, value), `${name} ${shown(value)}`).toContain(`${name} is `);
      }
    }
  });

  test('names the field, the value and the allowed values', () => {
    expect(checkField('train_steps', 2.5)).toBe(
      'train_steps is 2.5. It must be a whole number from 1 to 100000.',
    );
    expect(checkField('student_lr', 1)).toBe(
      'student_lr is 1. It must be a number from 1e-7 to 0.1.',
    );
    expect(checkField('lr_schedule', 'step')).toBe(
      'lr_schedule is "step". It must be one of constant, linear, cosine.',
    );
    expect(checkField('lr_schedule', 'toString')).toContain('It must be one of');
    expect(checkField('teacher_model', 7)).toMatch(
      /^teacher_model is 7\. It must be austen-teacher, moby-teacher, sorting-teacher, files, or /,
    );
    expect(checkField('prompt', 'a'.repeat(201))).toBe(
      'prompt has 201 characters. It must have at most 200.',
    );
    expect(checkField('prompt', 3)).toBe('prompt is 3. It must be text of at most 200 characters.');
    expect(checkField('prompt', '🐋'.slice(1))).toContain('half of a character pair');
    expect(checkField('prompt', '🐋 🐋')).toBeUndefined();
    expect(checkField('prompt', '')).toBeUndefined();
  });
});

describe('model references', () => {
  test('a model is built in, dropped or on Hugging Face', () => {
    expect(modelReference('moby-teacher')).toEqual({ kind: 'built-in', name: 'moby-teacher' });
    expect(modelReference('files')).toEqual({ kind: 'files' });
    expect(modelReference('distilgpt2')).toEqual({
      kind: 'hub',
      id: 'distilgpt2',
      revision: undefined,
    });
    const id = 'microsoft/DialoGPT-medium';
    expect(modelReference(`${id}@refs/pr/1`)).toEqual({ kind: 'hub', id, revision: 'refs/pr/1' });
  });

  test('no address, no path and nothing that a web server could read as one', () => {
    const others = [
      '',
      '/',
      'a/b/c',
      '../gpt2',
      'org/..',
      'org/na..me',
      'org/',
      '/name',
      'org/name@',
      'org/name@../x',
    ];
    const addresses = [
      'https://example.com/x',
      '//example.com/x',
      'example.com:80/x',
      'org\\name',
      'org/name?x',
      'org/name#x',
    ];
    for (const text of [
      ...others,
      ...addresses,
      'org/na me',
      'org/name%2f',
      'órg/name',
      'a@b@c',
      '-a',
      '.a',
      'a\n',
    ])
      expect([text, modelReference(text)]).toEqual([text, undefined]);
  });

  test('a student is new, a checkpoint or a copy of layers', () => {
    for (const value of ['', 'teacher', 'files', 'distilgpt2', 'moby-teacher'])
      expect(checkField('student_model', value), value).toBeUndefined();
    expect(checkField('student_model', 'https://x')).toContain(
      'It must be empty for a new student',
    );
    for (const value of ['', '0', '0,2,4,7,9,11'])
      expect(checkField('student_from_layers', value)).toBeUndefined();
    for (const value of [',', '0,', '0, 2', '-1', 'a', '0.5', '1e3', '9999']) {
      expect(checkField('student_from_layers', value)).toContain(
        'It must be layer numbers separated by commas',
      );
    }
  });
});

describe('checkConfig', () => {
  const changed = (changes: Partial<Config>) => checkConfig({ ...DEFAULTS, ...changes });

  test('lists every invalid field', () => {
    expect(changed({ alpha: 2, temperature: 0 })).toEqual([
      'alpha is 2. It must be a number from 0 to 1.',
      'temperature is 0. It must be a number from 0.25 to 16.',
    ]);
  });

  test('reports each field that is missing', () => {
    expect(checkConfig({} as Config).length).toBe(names.length);
  });

  test('requires a width that the heads can share, and suggests the nearest', () => {
    expect(changed({ student_width: 60, student_heads: 2 })).toEqual([
      'student_width is 60 and student_heads is 2. ' +
        'The width must be a multiple of 4 × heads = 8, such as 56 or 64.',
    ]);
    expect(changed({ student_width: 16, student_heads: 12 })[0]).toMatch(/such as 48\.$/);
    expect(changed({ student_width: 768, student_heads: 11 })[0]).toMatch(/such as 748\.$/);
  });

  test('requires layers with student_model=teacher only; sizes are for a new student', () => {
    expect(changed({ student_model: 'teacher' })).toEqual([
      'student_model is teacher, but student_from_layers is empty. List the layers, such as 0,1.',
    ]);
    expect(changed({ student_from_layers: '0,1' })[0]).toContain(
      'Layers are copied only with student_model=teacher.',
    );
    expect(
      changed({ student_model: 'teacher', student_from_layers: '0,2', student_width: 60 }),
    ).toEqual([]);
  });

  test('requires as many experts as a token chooses, and no adapters beside them', () => {
    expect(changed({ student_experts: 4 })).toEqual([]);
    expect(changed({ student_experts: 4, experts_per_token: 5 })).toEqual([
      'experts_per_token is 5, but student_experts is 4. ' +
        'Use experts_per_token=4 at most, or more experts.',
    ]);
    const adapters = { student_model: 'files', lora_rank: 8 };
    expect(changed({ ...adapters, student_experts: 4 })[0]).toContain(
      'Use student_experts=0 or lora_rank=0.',
    );
    expect(changed(adapters)).toEqual([]);
  });

  test('allows a warm-up longer than the run', () => {
    expect(changed({ train_steps: 10, warmup_steps: 20 })).toEqual([]);
  });
});

test('only the names in the table are fields', () => {
  for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty', '', 'v', 'Alpha']) {
    expect(isFieldName(name), name).toBe(false);
  }
  expect(names.every(isFieldName)).toBe(true);
});

test('messages show a value on one line, shortened', () => {
  expect(shown('a\nb')).toBe('"a\\nb"');
  expect(shown('x'.repeat(100_000))).toBe(`"${'x'.repeat(39)}…"`);
  expect(shown('x'.repeat(40))).toBe(`"${'x'.repeat(40)}"`);
  expect(shown(Object.create(null))).toBe('an object');
  expect(shown(null)).toBe('null');
});
