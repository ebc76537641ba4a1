// A ghost in a link: small, exact to its quantum, and refused if anything of it is missing or
// changed.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Config, DEFAULTS } from '../../src/config';
import type { EvaluationRecord } from '../../src/distill/records';
import { crc32 } from '../../src/files/crc32';
import { formatLink, parseLink } from '../../src/link';
import { formatGhost, type Ghost, ghostOf, parseGhost } from '../../src/runs/ghost';

const facts = {
  name: 'amber heron',
  adapter: 'NVIDIA GeForce RTX 4070',
  own: false,
  changed: false,
};
const step = (at: number) => ({
  step: at,
  loss: 3 + 4 * Math.exp(-at / 40) + 0.1 * Math.sin(at),
  ce: 5 + 2 * Math.exp(-at / 40) + 0.1 * Math.sin(at),
  kd: 0.4 + Math.exp(-at / 40),
  seconds: 0.3 + at * 0.041,
  tokens: 512,
});
const evaluation = (at: number) =>
  ({
    step: at,
    studentPerplexity: 40 + 2000 * Math.exp(-at / 40),
    kl: 0.5 + 3 * Math.exp(-at / 40),
    agreement: 0.4 - 0.39 * Math.exp(-at / 40),
  }) as EvaluationRecord;

/** The ghost of a run of so many steps. */
function runGhost(steps: number, every: number): Ghost {
  const evaluations = Array.from({ length: steps / every + 1 }, (_, i) => evaluation(i * every));
  return ghostOf(
    facts,
    Array.from({ length: steps }, (_, i) => step(i + 1)),
    evaluations,
  );
}

const open = (text: string, config: Config = DEFAULTS) => {
  const answer = parseGhost(text, config);
  if ('problem' in answer) throw new Error(answer.problem);
  return answer;
};
const problemOf = (text: string) => {
  const answer = parseGhost(text, DEFAULTS);
  return 'problem' in answer ? answer.problem : undefined;
};

/** Within half a quantum of the format, as its header has it. */
const same = (a: number | undefined, b: number | undefined, scale: number) =>
  Number.isFinite(b)
    ? Math.abs((a as number) - (b as number)) <= ((b as number) + 1e-4) * Math.expm1(0.5001 / scale)
    : !Number.isFinite(a);

const measure = fc.oneof(
  fc.double({ min: 0, max: 1e6, noNaN: true }),
  fc.constant(Number.NaN),
  fc.constant(0),
);
const optional = fc.option(fc.double({ min: 0, max: 1e9, noNaN: true }), { nil: undefined });
const steps = fc
  .uniqueArray(fc.integer({ min: 0, max: 100_000 }), { maxLength: 36 })
  .map((list) => list.sort((a, b) => a - b));
const name = fc.string({ maxLength: 30, unit: fc.constantFrom(...'aZ9 é鶴🐋-’') });
const ghosts: fc.Arbitrary<Ghost> = fc.record({
  name: name.map((text) => text.trim()),
  adapter: name.map((text) => text.trim()),
  own: fc.boolean(),
  changed: fc.boolean(),
  targets: fc.integer({ min: 0, max: 2 ** 24 }),
  curve: steps.chain((list) =>
    fc.tuple(
      ...list.map((step) =>
        fc.record({
          step: fc.constant(step),
          loss: measure,
          ce: measure,
          kd: measure,
          seconds: optional,
        }),
      ),
    ),
  ),
  evaluations: steps.chain((list) =>
    fc.tuple(
      ...list.map((step) =>
        fc.record({
          step: fc.constant(step),
          studentPerplexity: optional,
          kl: optional,
          agreement: optional,
        }),
      ),
    ),
  ),
});

type Figures = Record<string, number | undefined>;

describe('a ghost', () => {
  test('of any figures comes back within the quantum', () => {
    fc.assert(
      fc.property(ghosts, (ghost) => {
        const { ghost: read, fits } = open(formatGhost(ghost, DEFAULTS));
        const { curve, evaluations, ...rest } = ghost;
        expect(fits).toBe(true);
        expect(read).toMatchObject(rest);
        expect(read.curve.map(({ step }) => step)).toEqual(curve.map(({ step }) => step));
        const pairs = [
          ...curve.map((point, i) => [read.curve[i], point, 512]),
          ...evaluations.map((point, i) => [read.evaluations[i], point, 8192]),
        ] as [Figures, Figures, number][];
        for (const [after, before, scale] of pairs)
          for (const key of Object.keys(before))
            expect(same(after[key], before[key], scale)).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  test('has at most 400 characters for the default run, and 600 for the longest', () => {
    expect(formatGhost(runGhost(200, 20), DEFAULTS).length).toBeLessThanOrEqual(400);
    expect(formatGhost(runGhost(100_000, 20), DEFAULTS).length).toBeLessThanOrEqual(600);
  });

  test('keeps the first and the last evaluation, and means of the loss between its points', () => {
    const { curve, evaluations, targets } = runGhost(20_000, 20);
    expect([evaluations[0].step, curve[0].step]).toEqual([0, 1]);
    expect(evaluations.at(-1)?.step).toBe(20_000);
    expect(targets).toBe(512);
    const [before, last] = curve.slice(-2);
    const between = Array.from({ length: last.step - before.step }, (_, i) => {
      return step(before.step + 1 + i).loss;
    });
    expect(last.step).toBe(20_000);
    expect(last.loss).toBeCloseTo(between.reduce((sum, x) => sum + x, 0) / between.length, 12);
    for (const { step } of evaluations.slice(1))
      expect(curve.some((point) => point.step === step)).toBe(true);
  });

  test('has short names without what cannot be seen', () => {
    const { name, adapter } = ghostOf(
      { ...facts, name: 'a\u202Eb\u0000c\n', adapter: `NVIDIA: 580.159.04${'x'.repeat(100)}` },
      [],
      [],
    );
    expect([name, adapter]).toEqual(['abc', 'NVIDIA']);
  });

  test('says if the settings are not those of its run', () => {
    const text = formatGhost(runGhost(200, 20), DEFAULTS);
    expect(open(text).fits).toBe(true);
    expect(open(text, { ...DEFAULTS, alpha: 0.5 }).fits).toBe(false);
  });
});

describe('a damaged ghost is refused', () => {
  const whole = formatGhost(runGhost(200, 20), DEFAULTS);

  test('with any character changed', () => {
    const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.%&= é';
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.constantFrom(...letters), (at, letter) => {
        fc.pre(whole[at] !== letter);
        const changed = whole.slice(0, at) + letter + whole.slice(at + 1);
        expect(problemOf(changed)).toContain('damaged');
      }),
      { numRuns: 2000 },
    );
  });

  test('with any bit of its last character changed, also one that no byte takes', () => {
    const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    for (const text of [whole, formatGhost({ ...runGhost(200, 20), name: 'ab' }, DEFAULTS)])
      for (const letter of letters)
        if (!text.endsWith(letter)) expect(problemOf(text.slice(0, -1) + letter)).toBeDefined();
  });

  test('if its end, or its beginning, is missing', () => {
    for (let length = 0; length < whole.length; length++) {
      expect(problemOf(whole.slice(0, length)), `${length} characters`).toContain('damaged');
      expect(problemOf(whole.slice(whole.length - length)), `last ${length}`).toContain('damaged');
    }
  });

  test('if it is longer than any ghost', () => {
    expect(problemOf(whole.repeat(100))).toContain('damaged');
  });

  test('if only its checksum is right', () => {
    const withCheck = (bytes: readonly number[]) => {
      const sum = crc32(Uint8Array.from(bytes));
      const all = [...bytes, ...[0, 8, 16, 24].map((shift) => (sum >>> shift) & 255)];
      return btoa(String.fromCharCode(...all)).replaceAll(/[+/=]/g, (letter) => {
        return { '+': '-', '/': '_' }[letter] ?? '';
      });
    };
    fc.assert(
      fc.property(fc.array(fc.nat(255), { maxLength: 60 }), (bytes) => {
        const answer = parseGhost(withCheck([1, ...bytes]), DEFAULTS);
        if ('problem' in answer) return;
        for (const { step, loss } of answer.ghost.curve) {
          expect(step).toBeLessThanOrEqual(100_000);
          expect(loss).not.toBe(Number.POSITIVE_INFINITY);
        }
      }),
      { numRuns: 2000 },
    );
    expect(problemOf(withCheck([2, 0, 0]))).toContain('made by a newer Stillhouse');
  });
});

describe('in a link', () => {
  test('a ghost follows the settings, and changes nothing in them', () => {
    const config = { ...DEFAULTS, alpha: 0.5 };
    expect(formatLink(config, 'abc_')).toBe('v=1&alpha=0.5&ghost=abc%5F');
    expect(parseLink('#v=1&alpha=0.5&ghost=abc%5F')).toEqual({ config, ghost: 'abc_' });
    expect(parseLink('#v=1&ghost=%E0%A4&alpha=0.5')).toEqual({ config, ghost: '' });
    expect(parseLink('#v=1&alpha=0.5&ghost')).toEqual({ config, ghost: '' });
    expect(parseLink('#v=1&alpha=0.5')).toEqual({ config });
  });

  test('two ghosts are none', () => {
    expect(parseLink('#v=1&ghost=abc&ghost=abc')).toEqual({ config: DEFAULTS, ghost: '' });
  });
});
