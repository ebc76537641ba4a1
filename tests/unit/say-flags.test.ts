// The command line of `npm run say`.

import { expect, test } from 'vitest';
import { parseSayFlags, sayHelp } from '../../src/cli/say-flags';
import { SAY_DEFAULTS, SAY_FIELDS } from '../../src/say-settings';

test('a folder and a prompt are enough', () => {
  expect(parseSayFlags(['out', 'The whale'])).toEqual({
    model: 'out',
    prompt: 'The whale',
    settings: SAY_DEFAULTS,
    model_dtype: 'auto',
    teacher_engine: 'auto',
    teacher_dtype: 'auto',
  });
  expect(parseSayFlags(['out'])).toMatchObject({ prompt: '' });
});

test('flags may stand anywhere, in both forms', () => {
  const flags = parseSayFlags(
    '--temperature 0 out --top_k=5 hello --model_dtype float32 --seed=7'.split(' '),
  );
  expect(flags).toMatchObject({
    model: 'out',
    prompt: 'hello',
    settings: { ...SAY_DEFAULTS, temperature: 0, top_k: 5, seed: 7 },
    model_dtype: 'float32',
  });
});

test.each([
  ['', 'FOLDER is missing'],
  ['out a b', '"b" follows the prompt. Put a prompt with spaces in quotes.'],
  ['out --temprature 1', '--temprature is not a flag. Did you mean --temperature?'],
  ['out --top_p 0', '--top_p is 0. It must be a number from 0.01 to 1.'],
  ['out --tokens many', '--tokens is "many". It must be a whole number from 1 to 1024.'],
  ['out --seed 1.5', '--seed is 1.5. It must be a whole number from 0 to 2147483647.'],
  ['out --top_k', '--top_k needs a value: a whole number from 0 to 1000000.'],
  ['out --model_dtype f16', '--model_dtype is "f16". It must be one of auto, float16, float32.'],
])('%j is refused: %s', (line, problem) => {
  const flags = parseSayFlags(line ? line.split(' ') : []);
  expect(flags).toHaveProperty('problems');
  expect((flags as { problems: string[] }).problems.join('\n')).toContain(problem);
});

test('--help lists every setting', () => {
  expect(parseSayFlags(['--help'])).toBe('help');
  for (const name of Object.keys(SAY_FIELDS)) expect(sayHelp()).toContain(`--${name}  `);
});
