// The lessons on distillation: their answers are true of what was recorded, the maths is the
// reference's, and every state is a link.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { makeLessons } from '../../../src/app/lessons/lessons';
import {
  bestOfBoth,
  bestOfMix,
  divergence,
  entropy,
  lossOf,
  sharesOf,
  sizeOf,
  softened,
  totalVariation,
} from '../../../src/app/lessons/maths';
import recorded from '../../../src/app/lessons/recorded.json';
import { percent, readable } from '../../../src/app/lessons/scene';
import { formatState, parseState } from '../../../src/app/lessons/state';
import { shares, TinyExperts } from '../../../src/app/lessons/tiny-experts';
import { type LessonFile, logProbabilities, packTable, unpack } from '../../../src/distributions';

const FILE = recorded as LessonFile;
const LESSONS = makeLessons(FILE);
const lessonOf = (id: string) => LESSONS.find((lesson) => lesson.id === id)!;
const first = (role: keyof LessonFile['tables']) => {
  const table = FILE.tables[role];
  const [place] = table.places;
  return { table, place, logP: unpack(table, place.logP.teacher) };
};
const total = (p: Float64Array) => p.reduce((a, b) => a + b, 0);

const logitRows = fc
  .integer({ min: 3, max: 12 })
  .chain((V) =>
    fc.tuple(
      ...Array.from({ length: 2 }, () =>
        fc
          .array(fc.double({ min: -5, max: 5, noNaN: true }), { minLength: V, maxLength: V })
          .map((row) => logProbabilities(row)),
      ),
    ),
  );

describe('the file', () => {
  test('has distributions over the whole vocabulary, of every model', () => {
    for (const table of Object.values(FILE.tables)) {
      for (const { text, next, logP } of table.places) {
        expect(text.length).toBeGreaterThan(10);
        expect(table.tokens[next]).toBeDefined();
        expect(Object.keys(logP)).toEqual(['teacher', ...Object.keys(FILE.byContext[0].kl)]);
        for (const row of Object.values(logP)) {
          const p = unpack(table, row).map(Math.exp);
          expect(p.length).toBe(FILE.vocabularySize);
          // Logarithms are stored to a thousandth.
          expect(total(p)).toBeCloseTo(1, 2);
        }
      }
    }
  });

  test('packing keeps entropy, KL and temperature within 2%, but for how a group shares', () => {
    // 600 tokens, most of them unlikely, and a student that is wrong by a nat here and there.
    const noise = (seed: number) => Math.sin(seed * 12.9898) * Math.sin(seed * 78.233);
    const y = Float64Array.from({ length: 600 }, (_, v) => -2 * Math.log(v + 1) + noise(v + 1));
    const z = y.map((value, v) => value + noise(v + 1000));
    const table = packTable(
      [
        {
          text: 'here',
          next: 5,
          logits: new Map([
            ['teacher', y],
            ['student', z],
          ]),
        },
      ],
      (id) => `token ${id}`,
    );
    const [place] = table.places;
    expect(table.tokens[place.next]).toBe('token 5');
    const [logP, logQ] = [place.logP.teacher, place.logP.student].map((row) => unpack(table, row));
    const [fullP, fullQ] = [y, z].map(logProbabilities);
    for (const T of [1, 2, 8]) {
      const short = entropy(softened(logP, T)) / entropy(softened(fullP, T));
      expect(short, `entropy at T = ${T}`).toBeGreaterThan(0.98);
      expect(short, `entropy at T = ${T}`).toBeLessThan(1.02);
    }
    const ratio = divergence('fkl', logQ, logP) / divergence('fkl', fullQ, fullP);
    expect(ratio).toBeGreaterThan(0.9);
    expect(ratio).toBeLessThanOrEqual(1.01);
  });
});

describe('the maths', () => {
  test('entropy is ln V − KL to the even distribution', () => {
    fc.assert(
      fc.property(logitRows, ([logP]) => {
        const even = logP.map(() => -Math.log(logP.length));
        const expected = Math.log(logP.length) - divergence('fkl', even, logP);
        expect(entropy(softened(logP, 1))).toBeCloseTo(expected, 9);
      }),
    );
  });

  test('the best student of α KL + (1 − α) CE has no gradient there', () => {
    fc.assert(
      fc.property(logitRows, fc.double({ min: 0.05, max: 1, noNaN: true }), ([logP], alpha) => {
        const q = bestOfMix(logP.map(Math.exp), 1, alpha).map(Math.log);
        const { gradient } = lossOf({ kind: 'mixed', alpha, temperature: 1 }, q, logP, 1);
        expect(sizeOf(gradient)).toBeLessThan(1e-9);
      }),
    );
  });

  test.each(['fkl', 'rkl'] as const)('the best student of two contexts by %s has none', (kind) => {
    fc.assert(
      fc.property(logitRows, fc.double({ min: 0.1, max: 0.9, noNaN: true }), ([a, b], w) => {
        const q = bestOfBoth(kind, a, b, w);
        const [ga, gb] = [a, b].map((logP) => lossOf({ kind }, q, logP).gradient);
        expect(sizeOf(ga.map((g, v) => w * g + (1 - w) * gb[v]))).toBeLessThan(1e-9);
      }),
    );
  });

  test('shares come nearer to the distribution as labels grow in number', () => {
    const { logP, place } = first('open');
    const p = softened(logP, 1);
    const apart = [1, 100, 10_000].map((n) => totalVariation(p, sharesOf(p, place.next, n)));
    expect(apart[0]).toBeGreaterThan(apart[1]);
    expect(apart[1]).toBeGreaterThan(apart[2]);
  });
});

describe('the true options are true of what was recorded', () => {
  test('soft: 1,000 labels are further away than 5%', () => {
    const { logP, place } = first('open');
    const p = softened(logP, 1);
    expect(totalVariation(p, sharesOf(p, place.next, 1000))).toBeGreaterThan(0.05);
    expect(lessonOf('soft').right).toBe(2);
  });

  test('temperature: the sure word has less than a tenth at T = 4', () => {
    const { logP } = first('sure');
    expect(Math.max(...softened(logP, 1))).toBeGreaterThan(0.3);
    expect(Math.max(...softened(logP, 4))).toBeLessThan(0.1);
  });

  test('square: T² keeps the gradient’s size within a factor of 3; else it falls to 1/30', () => {
    const facts = Object.fromEntries(lessonOf('square').scene(8).facts);
    expect(Number(facts['Of its size at T = 1'].slice(2))).toBeGreaterThan(30);
    const panel = lessonOf('square').scene(8).panels[0];
    if (panel.kind !== 'lines') throw new Error('The lesson shows no lines.');
    const [withSquare] = panel.lines;
    const ratio = withSquare.values[panel.x.values.indexOf(8)] / withSquare.values[0];
    expect(ratio).toBeGreaterThan(1 / 3);
    expect(ratio).toBeLessThan(3);
  });

  test('alpha: with α = 1 the best student is the teacher', () => {
    const { logP, place } = first('surprise');
    const p = softened(logP, 1);
    expect(bestOfMix(p, place.next, 1)).toEqual(p);
    expect(p[place.next]).toBeLessThan(0.03);
  });

  test('capacity: width is worth more where the context tells the teacher more', () => {
    const [little, much] = [FILE.byContext[0], FILE.byContext[FILE.byContext.length - 1]];
    const gap = ({ kl }: typeof little) => {
      const all = Object.values(kl);
      return all[0] - all[all.length - 1];
    };
    expect(gap(much)).toBeGreaterThan(1.5 * gap(little));
    expect(lessonOf('capacity').right).toBe(1);
  });

  test('direction: forward KL says the words of both, reverse KL drops one', () => {
    const { places } = FILE.tables.fork;
    const [a, b] = places.map(({ logP }) => unpack(FILE.tables.fork, logP.teacher));
    const top = (logP: Float64Array) => logP.indexOf(Math.max(...logP));
    expect(top(a)).not.toBe(top(b));
    const [forward, reverse] = (['fkl', 'rkl'] as const).map((kind) =>
      bestOfBoth(kind, a, b, 0.5).map(Math.exp),
    );
    for (const [own, word] of [
      [a, top(a)],
      [b, top(b)],
    ] as const)
      expect(forward[word]).toBeGreaterThan(Math.exp(own[word]) / 2 - 1e-9);
    const lost = Math.min(...[a, b].map((logP) => reverse[top(logP)] / forward[top(logP)]));
    expect(lost).toBeLessThan(0.5);
  });
});

describe('every state', () => {
  test.each(LESSONS)(
    '$id: each position of its slider is a link and a complete scene',
    (lesson) => {
      expect(lesson.options.length).toBeGreaterThan(1);
      expect(lesson.options[lesson.right]).toBeDefined();
      expect(lesson.control.values).toContain(lesson.control.start);
      const asked = { lesson, value: undefined };
      expect(parseState(formatState(asked), LESSONS)).toEqual({ lesson });
      for (const value of [undefined, ...lesson.control.values]) {
        if (value !== undefined)
          expect(parseState(formatState({ lesson, value }), LESSONS)).toEqual({ lesson, value });
        const { panels, facts } = lesson.scene(value);
        if (value !== undefined) {
          expect(panels.length > 0 || lesson.live).toBe(true);
          expect(facts.length).toBeGreaterThan(1);
          expect(new Set(facts.map(([name]) => name)).size).toBe(facts.length);
        }
        for (const [name, text] of facts) expect(`${name}: ${text}`).not.toMatch(/NaN|undefined/);
        for (const panel of panels) {
          const lines = panel.kind === 'bars' ? panel.rows : panel.lines;
          for (const number of lines.flatMap(({ values }) => values))
            expect(number).toBeGreaterThanOrEqual(0);
          if (panel.kind === 'lines') continue;
          expect(new Set(panel.rows.map(({ token }) => token)).size).toBe(panel.rows.length);
          for (const i of panel.series.keys())
            expect(panel.rows.reduce((sum, { values }) => sum + values[i], 0)).toBeCloseTo(1, 2);
        }
      }
      expect(`${lesson.setting} ${lesson.answer}`).not.toMatch(/NaN|undefined/);
    },
  );

  test('the answer is not on the page before the question is answered', () => {
    for (const lesson of LESSONS) {
      const { panels } = lesson.scene();
      for (const panel of panels) expect(panel.kind, lesson.id).toBe('bars');
    }
  });

  test.each([
    ['nothing', 'There is no lesson “nothing”. Choose one of: soft, temperature,'],
    ['temperature:3.3', 'T is “3.3”. It must be one of: 0.5, 0.75, 1,'],
    ['temperature:', 'T is “”. It must be one of:'],
    ['temperature:4:4', 'T is “4:4”. It must be one of:'],
    ['constructor', 'There is no lesson “constructor”.'],
  ])('%s cannot be opened', (text, problem) => {
    expect(parseState(text, LESSONS)).toEqual({ problem: expect.stringContaining(problem) });
  });

  test('an empty link is the first lesson', () => {
    expect(parseState('', LESSONS)).toEqual({ lesson: LESSONS[0] });
  });
});

test('a router collapses, and recovers with the balance loss or with a bias', () => {
  let model = new TinyExperts(1);
  const train = (steps: number, balance: number, biasRate?: number) => {
    for (let step = 0; step < steps; step++) model.train(balance, biasRate);
    return shares(model.chosen());
  };
  // The lesson’s true option.
  expect(Math.max(...train(80, 0))).toBeGreaterThan(0.9);
  expect(Math.min(...train(60, 0.2))).toBeGreaterThan(0.05);
  expect(model.loss).toBeLessThan(3);
  model = new TinyExperts(2);
  expect(Math.max(...train(160, 0))).toBeGreaterThan(0.9);
  expect(Math.min(...train(80, 0, 0.01))).toBeGreaterThan(0.05);
});

test('shares and tokens as people read them', () => {
  expect([1, 0.9996, 0.123, 0.0004, 0.00001, 0].map(percent)).toEqual([
    '100%',
    '100%',
    '12.3%',
    '0.04%',
    '< 0.01%',
    '0%',
  ]);
  expect([' said', 'ily', ',', '\n', ' '].map(readable)).toEqual([
    'said',
    '-ily',
    ',',
    '(new line)',
    '(space)',
  ]);
});
