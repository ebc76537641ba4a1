// The presets: each can run and travels as a link.

import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { BUILT_IN_MODELS, textOf } from '../../src/built-in';
import { checkConfig } from '../../src/config';
import { formatLink, parseLink } from '../../src/link';
import { DURATIONS, PRESETS } from '../../src/presets';

test('every teacher has one preset of each duration, and the first is the page’s', () => {
  const rows = PRESETS.map(({ teacher, duration }) => `${teacher}, ${duration}`);
  const teachers = Object.keys(BUILT_IN_MODELS);
  expect([...rows].sort()).toEqual(
    teachers.flatMap((teacher) => DURATIONS.map((duration) => `${teacher}, ${duration}`)).sort(),
  );
  expect(rows[0]).toBe('austen-teacher, Half a minute');
});

test('a preset’s link gives its settings again', () => {
  for (const { config } of PRESETS) {
    expect(checkConfig(config)).toEqual([]);
    expect(parseLink(formatLink(config))).toEqual({ config });
  }
});

test('models, texts and recordings are in the project', () => {
  for (const { config, recording } of PRESETS) {
    expect(existsSync(`public/models/${config.teacher_model}/model.safetensors`)).toBe(true);
    expect(existsSync(`public/${textOf(config).file}`)).toBe(true);
    if (recording) expect(existsSync(`public/${recording}`), recording).toBe(true);
  }
});

test('what a built-in teacher reached is what its card says', () => {
  for (const [name, { bitsPerCharacter }] of Object.entries(BUILT_IN_MODELS)) {
    const card = readFileSync(`public/models/${name}/README.md`, 'utf8');
    const [, bits] = /\| bits per character \| ([\d.]+) \|/.exec(card) ?? [];
    expect(Number(bits).toFixed(2), name).toBe(bitsPerCharacter.toFixed(2));
  }
});

test('the text follows a built-in teacher; others get Moby-Dick, as older links mean', () => {
  const fileOf = (teacher_model: string, corpus: 'auto' | 'austen' = 'auto') =>
    textOf({ teacher_model, corpus }).file;
  expect(fileOf('austen-teacher')).toBe('corpus/austen.txt');
  expect(fileOf('distilgpt2')).toBe('corpus/moby-dick.txt');
  expect(fileOf('moby-teacher', 'austen')).toBe('corpus/austen.txt');
});
