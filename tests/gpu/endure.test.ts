// The short form of `npm run endure` in Node; its parts on the page are in tests/e2e.

import { expect, test } from 'vitest';
import { trainInNode } from '../endure/node';

/** What evaluations and a longer history may take; a leak of a step's buffers takes far more. */
const MOST_HEAP = 4 * 2 ** 20;

test('a run with evaluations and checkpoints holds no more at its end than before', async () => {
  const samples = await trainInNode(200, 50, { loss: 'ce' });
  expect(samples.map(({ step }) => step)).toEqual([50, 100, 150, 200]);
  expect(new Set(samples.map((sample) => sample['GPU buffers'])).size).toBe(1);
  expect(samples[3]['JS heap'] - samples[1]['JS heap']).toBeLessThan(MOST_HEAP);
});
