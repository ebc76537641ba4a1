// The short form of `npm run fuzz`: every reader of what strangers send, with few
// inputs, and all that may be cut off, at about 1,000 moments.

import { expect, test } from 'vitest';
import { ATTACKS } from '../fuzz/attacks';
import { run } from '../fuzz/run';

/** Enough that each kind of change comes; the long form tries 10,000. */
const RUNS = 100;

test.each(ATTACKS.map((attack) => [attack.name, attack] as const))('%s', async (_, attack) => {
  const { failures, accepted } = await run(attack, RUNS, 1);
  expect(failures).toEqual([]);
  // Some inputs are valid, or nothing would be read.
  expect(accepted).toBeGreaterThan(0);
});
