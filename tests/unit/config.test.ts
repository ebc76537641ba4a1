// The table of settings: its rows hold together, and a value that is not allowed is named with what is.

import { describe, expect, test } from 'vitest';
import type { Config, Field, FieldName } from '../../src/config';
import { allowed, checkConfig, checkField, DEFAULTS, FIELDS, isFieldName, shown } from '../../src/config';

const names = Object.keys(FIELDS) as FieldName[];
const withNumbers = names.filter((name) => ['number', 'integer'].includes(FIELDS[name].type));

test('the defaults are valid', () => {
  expect(checkConfig(DEFAULTS)).toEqual([]);
  expect(Object.keys(DEFAULTS)).toEqual(names);
});

test('every row says its ends and its help', () => {
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

describe('checkField', () => {
  test('takes both ends of a range, and nothing beyond', () => {
    for (const name of withNumbers) {
      const { min, max } = FIELDS[name] as { min: number; max: number };
      expect(checkField(name, min)).toBeUndefined();
      expect(checkField(name, max)).toBeUndefined();
      for (const value of [min - 1, max + 1]) {
        expect(checkField(name, value)).toBe(`${name} is ${value}. It takes ${allowed(name)}.`);
      }
    }
  });

  test('takes no text, nothing and no NaN for a number', () => {
    for (const name of withNumbers) {
      for (const value of ['1', '', null, undefined, Number.NaN, Number.POSITIVE_INFINITY, [1], {}, true, 1n]) {
        expect(checkField(name, value), `${name} ${shown(value)}`).toContain(`${name} is `);
      }
    }
  });

  test('says the field, the value and what is allowed', () => {
    expect(checkField('train_steps', 2.5)).toBe('train_steps is 2.5. It takes a whole number from 1 to 100000.');
    expect(checkField('student_lr', 1)).toBe('student_lr is 1. It takes a number from 1e-7 to 0.1.');
    expect(checkField('lr_schedule', 'step')).toBe('lr_schedule is "step". It takes one of constant, linear, cosine.');
    expect(checkField('lr_schedule', 'toString')).toContain('It takes one of');
    expect(checkField('teacher_model', 7)).toBe('teacher_model is 7. It takes only moby-teacher.');
    expect(checkField('prompt', 'a'.repeat(201))).toBe(
      'prompt has 201 characters. It takes text of at most 200 characters.',
    );
    expect(checkField('prompt', 3)).toBe('prompt is 3. It takes text of at most 200 characters.');
    expect(checkField('prompt', '🐋'.slice(1))).toContain('inside a character');
    expect(checkField('prompt', '🐋 🐋')).toBeUndefined();
    expect(checkField('prompt', '')).toBeUndefined();
  });
});

describe('checkConfig', () => {
  const changed = (changes: Partial<Config>) => checkConfig({ ...DEFAULTS, ...changes });

  test('lists every field that is wrong', () => {
    expect(changed({ alpha: 2, temperature: 0 })).toEqual([
      'alpha is 2. It takes a number from 0 to 1.',
      'temperature is 0. It takes a number from 0.25 to 16.',
    ]);
  });

  test('says what a config from elsewhere leaves out', () => {
    expect(checkConfig({} as Config).length).toBe(names.length);
  });

  test('wants a width that the heads can share, and names the nearest', () => {
    expect(changed({ student_width: 60, student_heads: 2 })).toEqual([
      'student_width is 60 and student_heads 2. The width must be a multiple of 4 × heads = 8, such as 56 or 64.',
    ]);
    expect(changed({ student_width: 16, student_heads: 12 })[0]).toMatch(/such as 48\.$/);
    expect(changed({ student_width: 768, student_heads: 11 })[0]).toMatch(/such as 748\.$/);
  });

  test('lets a warm-up be longer than the run', () => {
    expect(changed({ train_steps: 10, warmup_steps: 20 })).toEqual([]);
  });
});

test('only the table’s own names are fields', () => {
  for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty', '', 'v', 'Alpha']) {
    expect(isFieldName(name), name).toBe(false);
  }
  expect(names.every(isFieldName)).toBe(true);
});

test('a value is shown on one line and shortened', () => {
  expect(shown('a\nb')).toBe('"a\\nb"');
  expect(shown('x'.repeat(100_000))).toBe(`"${'x'.repeat(39)}…"`);
  expect(shown('x'.repeat(40))).toBe(`"${'x'.repeat(40)}"`);
  expect(shown(Object.create(null))).toBe('an object');
  expect(shown(null)).toBe('null');
});
