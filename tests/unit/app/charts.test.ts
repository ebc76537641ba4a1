// What the charts do to measurements before they draw them: they lose no extreme, cover no label,
// and give each run a line of its own.

import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  comparedRun,
  differences,
  perplexityLine,
  sameLoss,
  stepLine,
  thinEvaluations,
  valueAt,
} from '../../../src/app/charts/compare';
import { comparedCsv } from '../../../src/app/charts/csv';
import { RunHistory } from '../../../src/app/charts/history';
import { LABEL_HEIGHT, placeLabels, shortLabel } from '../../../src/app/charts/labels';
import { linePath } from '../../../src/app/charts/line-path';
import { assignSlots, lineStyle, RUN_COLOURS } from '../../../src/app/charts/line-style';
import { logWithin } from '../../../src/app/charts/scale';
import { thinIndices } from '../../../src/app/charts/thin';
import { stretchOn, xView } from '../../../src/app/charts/x-axis';
import { DEFAULTS } from '../../../src/config';
import { evaluationRecord, stepRecord } from './support';

const steps = (count: number, seconds?: number) =>
  Array.from({ length: count }, (_, index) =>
    stepRecord(index + 1, seconds ? { seconds: (index + 1) * seconds } : {}),
  );

describe('thinning', () => {
  test('keeps the extremes of every measure, the last point and the order', () => {
    const values = fc.array(fc.double({ noDefaultInfinity: true }), {
      minLength: 1,
      maxLength: 900,
    });
    fc.assert(
      fc.property(values, values, fc.integer({ min: 20, max: 200 }), (a, b, limit) => {
        const count = Math.min(a.length, b.length);
        const kept = thinIndices(count, limit, [(i) => a[i], (i) => b[i]]);
        expect(kept.length).toBeLessThanOrEqual(limit);
        expect(kept).toEqual([...new Set(kept)].sort((x, y) => x - y));
        expect(kept.at(-1)).toBe(count - 1);
        for (const all of [a.slice(0, count), b.slice(0, count)]) {
          const finite = all.filter((value) => !Number.isNaN(value));
          if (finite.length === 0) continue;
          const drawn = kept.map((index) => all[index]).filter((value) => !Number.isNaN(value));
          expect(Math.max(...drawn)).toBe(Math.max(...finite));
          expect(Math.min(...drawn)).toBe(Math.min(...finite));
        }
      }),
      { numRuns: 100 },
    );
  });

  test('keeps the evaluation with the lowest perplexity, and one that failed', () => {
    const all = Array.from({ length: 3000 }, (_, step) =>
      evaluationRecord(step, {
        studentPerplexity: step === 1234 ? 5 : 100,
        failed: step === 2001 ? 1 : 0,
      }),
    );
    const kept = thinEvaluations(all, 500).map(({ step }) => step);
    expect(kept.length).toBeLessThanOrEqual(500);
    expect(kept).toEqual(expect.arrayContaining([1234, 2001, 2999]));
  });
});

describe('labels', () => {
  test('never cover one another, stay inside and keep the order of their lines', () => {
    const ends = fc.array(fc.double({ min: -50, max: 250, noNaN: true }), { maxLength: 40 });
    fc.assert(
      fc.property(ends, (all) => {
        const placed = placeLabels(
          all.map((y) => ({ x: 0, y })),
          10,
          200,
        );
        expect(placed.length).toBe(Math.min(all.length, Math.floor(190 / LABEL_HEIGHT) + 1));
        for (const [index, { y, from }] of placed.entries()) {
          expect(y).toBeGreaterThanOrEqual(10 - 1e-9);
          expect(y).toBeLessThanOrEqual(200 + 1e-9);
          if (index === 0) continue;
          expect(y - placed[index - 1].y).toBeGreaterThanOrEqual(LABEL_HEIGHT - 1e-9);
          expect(from).toBeGreaterThanOrEqual(placed[index - 1].from);
        }
      }),
    );
  });

  test('a label that has room stays at the end of its line; long names are cut', () => {
    const [high, low] = [50, 100].map((y) => ({ x: 0, y }));
    expect(placeLabels([high, low], 0, 200).map(({ y }) => y)).toEqual([50, 100]);
    expect(shortLabel('amber heron')).toBe('amber heron');
    expect(shortLabel('a very long name of a run')).toBe('a very long n…');
  });

  test('a line that ends at 0 of a logarithmic axis has none', () => {
    const ends = [
      { x: Number.NaN, y: 50 },
      { x: 0, y: Number.NaN },
      { x: 0, y: 100 },
    ];
    expect(placeLabels(ends, 0, 200)).toEqual([{ x: 0, y: 100, from: 100 }]);
  });
});

describe('lines of compared runs', () => {
  test('a run keeps its place, and a new one takes the first that is free', () => {
    const first = assignSlots({}, ['a', 'b']);
    expect(first).toEqual({ a: 0, b: 1 });
    expect(assignSlots(first, ['c', 'b', 'a'])).toEqual({ a: 0, b: 1, c: 2 });
    expect(assignSlots(first, ['b'])).toBe(first);
    expect(assignSlots({ b: 1 }, ['c', 'd'])).toEqual({ b: 1, c: 0, d: 2 });
  });

  test('thirty lines differ from one another, and neighbours differ in colour and dash', () => {
    const styles = Array.from({ length: 30 }, (_, slot) => lineStyle(slot));
    expect(new Set(styles.map(({ colour, dash }) => colour + dash)).size).toBe(30);
    for (let slot = 1; slot < 30; slot++) {
      expect(styles[slot].colour).not.toBe(styles[slot - 1].colour);
      expect(styles[slot].dash).not.toBe(styles[slot - 1].dash);
    }
  });

  test.each(['light', 'dark'] as const)('colours stand out on %s paper', (theme) => {
    const colours = themeColours(theme);
    for (const name of RUN_COLOURS) {
      // WCAG asks 3:1 of graphics; the labels are mixed with the ink, for more.
      expect(contrast(colours[name], colours['--paper']), name).toBeGreaterThan(3);
    }
  });

  test.each(['light', 'dark'] as const)(
    'any two colours can be told apart in %s, whatever cones an eye lacks',
    (theme) => {
      const colours = themeColours(theme);
      const shown = ['--student', ...RUN_COLOURS].map((name) => colours[name]);
      for (const eye of Object.values(EYES)) {
        for (const [index, one] of shown.entries()) {
          for (const other of shown.slice(index + 1)) {
            const distance = difference(seen(one, eye), seen(other, eye));
            expect(distance, `${one} and ${other}`).toBeGreaterThan(DISTINCT);
          }
        }
      }
    },
  );

  test('a gap in the values, and what has no place on the axis, leave a gap in the path', () => {
    const path = linePath(
      [
        [0, 1],
        [1, 2],
        [2, null],
        [3, 4],
        [4, 5],
      ],
      (x) => (x === 0 ? Number.NEGATIVE_INFINITY : 10 * x),
      (y) => y,
    );
    expect(path).toBe('M10.0,2.0M30.0,4.0L40.0,5.0');
  });

  test('stored records become a run with its curves and values at any place', () => {
    const run = comparedRun('a', 'amber heron', {
      steps: steps(10, 0.5),
      evaluations: [evaluationRecord(0), evaluationRecord(10)],
    });
    const { points, raw } = stepLine(run.history, 'loss', { x: 'tokens', weight: 0, limit: 500 });
    expect(points).toEqual(raw);
    expect(points.slice(0, 2)).toEqual([
      [512, 8],
      [1024, 4],
    ]);
    expect(valueAt(points, 1500)).toBe(4);
    expect(valueAt(points, 6000)).toBeUndefined();
    expect(perplexityLine(run.history, { x: 'seconds', limit: 500 }).points).toEqual([
      [0, 2000],
      [5, 2000 / 11],
    ]);
  });

  test('a smoothed line follows its weight, also after another one was asked for', () => {
    const { history } = comparedRun('a', 'a', { steps: steps(3), evaluations: [] });
    const smoothed = (weight: number) =>
      stepLine(history, 'loss', { x: 'step', weight, limit: 500 }).points.map(([, value]) => value);
    const half = [8, 6, 0.5 * 6 + 0.5 * (8 / 3)];
    expect(smoothed(0.5)).toEqual(half);
    expect(smoothed(0)).toEqual([8, 4, 8 / 3]);
    expect(smoothed(0.5)).toEqual(half);
  });

  test('totals are compared only where they mean the same; differences are named', () => {
    expect(sameLoss(DEFAULTS, { ...DEFAULTS, seed: 3 })).toBe(true);
    expect(sameLoss(DEFAULTS, { ...DEFAULTS, alpha: 0.2 })).toBe(false);
    expect(sameLoss(DEFAULTS, undefined)).toBe(false);
    expect(differences({ ...DEFAULTS, alpha: 0.2, seed: 3 }, DEFAULTS)).toBe('α 0.2, Seed 3');
    expect(differences({ ...DEFAULTS, alpha: 0.2, seed: 3 }, DEFAULTS, 1)).toBe('α 0.2, 1 more');
    expect(differences(DEFAULTS, DEFAULTS)).toBe('');
  });

  test('the CSV has the run alone as before, and several runs by name', () => {
    const history = new RunHistory(2);
    history.append(steps(2));
    const other = comparedRun('b', 'a, "b"', { steps: steps(1), evaluations: [] });
    const csv = (some: RunHistory) => some.csv(['loss']);
    expect(comparedCsv({ history }, [], csv)).toBe(history.csv(['loss']));
    expect(comparedCsv({ history }, [other], csv)).toBe(
      'run,step,loss,applied\ncurrent,1,8,true\ncurrent,2,4,true\n"a, ""b""",1,8,true\n',
    );
  });
});

describe('the horizontal axis', () => {
  const history = new RunHistory(100);
  history.append(steps(40, 0.25));
  const plan = { steps: 100, tokensPerStep: 512 };

  test('is as long as the plan, and longer if a compared run is', () => {
    expect(xView('step', false, history, plan, []).axis(4).ticks).toEqual([0, 50, 100]);
    expect(xView('tokens', false, history, plan, []).end).toBe(51_200);
    const { history: longer } = comparedRun('b', 'b', { steps: steps(300), evaluations: [] });
    expect(xView('step', false, history, plan, [longer]).end).toBe(300);
  });

  test('turns steps into tokens and seconds, and back', () => {
    const tokens = xView('tokens', false, history, plan, []);
    expect([0, 1, 40, 41].map(tokens.of)).toEqual([0, 512, 20_480, undefined]);
    expect([0, 511, 512, 20_480].map(tokens.stepAt)).toEqual([undefined, undefined, 1, 40]);
    const seconds = xView('seconds', false, history, plan, []);
    expect(seconds.of(40)).toBe(10);
    expect(seconds.stepAt(0.6)).toBe(2);
    expect([tokens.text(20_480), seconds.text(0.6)]).toEqual(['20.5k tokens', '0.6 s']);
  });

  test('without times there are no seconds', () => {
    const untimed = new RunHistory(2);
    untimed.append(steps(2));
    expect(xView('seconds', false, untimed, plan, []).of(2)).toBeUndefined();
  });

  test('a logarithmic one leaves out step 0, and its ticks are round up to the end', () => {
    const log = xView('step', true, history, plan, []);
    // From the run's start, which a logarithmic axis does not have.
    expect(stretchOn(log, { from: 0, to: 50 })).toEqual([1, 50]);
    expect(log.of(0)).toBeUndefined();
    expect(log.axis(8)).toEqual({
      scale: 'log',
      domain: [1, 100],
      ticks: [1, 2, 5, 10, 20, 50, 100],
    });
    expect(logWithin(1, 100_000, 4).ticks).toEqual([1, 10, 100, 1000, 10_000, 100_000]);
  });
});

/** Distance in OKLab. An eye notices 0.02 where large patches touch; lines are thin and apart. */
const DISTINCT = 0.08;

/** Full dichromacy after Machado, Oliveira and Fernandes (2009): rows give linear R, G and B. */
const EYES = {
  normal: [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ],
  protanopia: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  deuteranopia: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
  tritanopia: [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.3039],
  ],
};

function themeColours(theme: 'light' | 'dark'): Record<string, string> {
  const css = readFileSync('src/app/shared/base.css', 'utf8');
  const block = theme === 'light' ? /:root \{([^}]*)\}/ : /:root\[data-theme="dark"\] \{([^}]*)\}/;
  const [, body = ''] = block.exec(css) ?? [];
  return Object.fromEntries(
    [...body.matchAll(/(--[\w-]+): (#[0-9a-f]{6});/g)].map(([, name, value]) => [name, value]),
  );
}

const linear = (hex: string) =>
  [1, 3, 5].map((at) => {
    const value = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });

function contrast(a: string, b: string): number {
  const luminance = (hex: string) => {
    const [red, green, blue] = linear(hex);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}

const seen = (hex: string, eye: number[][]) =>
  eye.map((row) =>
    Math.min(
      Math.max(
        linear(hex).reduce((sum, value, i) => sum + row[i] * value, 0),
        0,
      ),
      1,
    ),
  );

function oklab([red, green, blue]: number[]): number[] {
  const l = Math.cbrt(0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue);
  const m = Math.cbrt(0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue);
  const s = Math.cbrt(0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

function difference(a: number[], b: number[]): number {
  const [one, other] = [oklab(a), oklab(b)];
  return Math.hypot(...one.map((value, i) => value - other[i]));
}
