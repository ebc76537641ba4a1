// Axes have a few round ticks, sliders have round stops, and numbers are formatted without
// clamping.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { linearAxis, logAxis, stepAxis } from '../../../src/app/charts/scale';
import { ladder, nearestStop } from '../../../src/app/run/ladder';
import {
  formatBytes,
  formatDuration,
  formatMeasure,
  formatShare,
  formatTick,
} from '../../../src/app/shared/format';
import { checkField, FIELDS, type Field, type FieldName } from '../../../src/config';

describe('axes', () => {
  test('contain every finite value and have few ticks', () => {
    const value = fc.double({ min: 1e-6, max: 1e6, noNaN: true });
    fc.assert(
      fc.property(fc.array(value, { minLength: 1 }), (values) => {
        for (const axis of [linearAxis(values), linearAxis(values, 4, true), logAxis(values)]) {
          expect(axis.domain[0]).toBeLessThanOrEqual(Math.min(...values) * (1 + 1e-9));
          expect(axis.domain[1]).toBeGreaterThanOrEqual(Math.max(...values) * (1 - 1e-9));
          expect(axis.ticks.length).toBeGreaterThan(1);
          expect(axis.ticks.length).toBeLessThan(15);
        }
      }),
      { numRuns: 200 },
    );
  });

  test('have round ticks', () => {
    expect(linearAxis([0.3, 8.4], 4, true).ticks).toEqual([0, 5, 10]);
    expect(linearAxis([0.1, 0.3], 2, true).ticks).toEqual([0, 0.2, 0.4]);
    expect(logAxis([58, 2048]).ticks).toEqual([30, 100, 300, 1000, 3000]);
    expect(stepAxis(200, 4).ticks).toEqual([0, 50, 100, 150, 200]);
    expect(stepAxis(210, 4).ticks).toEqual([0, 100, 210]);
  });

  test('have no ticks without values', () => {
    expect(linearAxis([]).ticks).toEqual([]);
    expect(logAxis([null, NaN, undefined]).ticks).toEqual([]);
  });
});

test.each(Object.keys(FIELDS).filter((name) => 'min' in FIELDS[name as FieldName]) as FieldName[])(
  'every stop of the slider for %s is a valid value, and the default is one of them',
  (name) => {
    const field = FIELDS[name] as Extract<Field, { min: number }>;
    const stops = ladder(field);
    for (const stop of stops) expect(checkField(name, stop)).toBeUndefined();
    expect(stops[nearestStop(stops, field.default, field.scale)]).toBe(field.default);
    expect(stops).toEqual([...new Set(stops)].sort((a, b) => a - b));
  },
);

test('formats numbers', () => {
  expect([undefined, NaN, 0, 0.00123, 4.3671, 96.34, 10_000, 17_074.2].map(formatMeasure)).toEqual([
    'n/a',
    'NaN',
    '0',
    '1.2e-3',
    '4.367',
    '96.3',
    '10,000',
    '17,074',
  ]);
  expect([0, 0.0005, 0.25, 20, 4000, 2e6].map(formatTick)).toEqual([
    '0',
    '5e-4',
    '0.25',
    '20',
    '4k',
    '2M',
  ]);
  expect([9, 190, 3725].map(formatDuration)).toEqual(['00:09', '03:10', '1:02:05']);
  expect([812, 4_100_000, 212_000_000].map(formatBytes)).toEqual(['812 B', '4.1 MB', '212 MB']);
  expect([undefined, 0.614].map(formatShare)).toEqual(['n/a', '61%']);
});
