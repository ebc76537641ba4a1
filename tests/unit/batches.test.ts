// The training order and the held-out batches: which tokens a batch has, how often each is a
// target, and that any batch can be made without those before it.

import { describe, expect, test } from 'vitest';
import type { Batch } from '../../src/data/batches';
import { Batches, heldOutBatches, IGNORED_TARGET, sortedRows } from '../../src/data/batches';

/** A small seeded source for tests (a linear congruential generator). */
function randomFrom(seed: number): () => number {
  let state = (seed * 2654435761 + 12345) >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const ascending = (length: number) => Uint32Array.from({ length }, (_, i) => i);
const rowsOf = ({ inputs }: Pick<Batch, 'inputs'>, T: number) =>
  Array.from({ length: inputs.length / T }, (_, row) => [...inputs.subarray(row * T, row * T + T)]);
const makeBatches = (length: number, batchSize: number, contextLength: number, seed = 1) =>
  new Batches({
    tokens: ascending(length),
    batchSize,
    contextLength,
    randomOf: (epoch) => randomFrom(seed * 1000 + epoch),
  });

describe('Batches', () => {
  test('a row is consecutive tokens, and its targets the ones after', () => {
    const { inputs, targets } = makeBatches(500, 4, 16).at(0);
    expect([inputs.length, targets.length]).toEqual([64, 64]);
    for (const row of rowsOf({ inputs }, 16))
      expect(row).toEqual(Array.from({ length: 16 }, (_, t) => row[0] + t));
    expect([...targets]).toEqual(Array.from(inputs, (id) => id + 1));
  });

  test('an epoch has no target twice and leaves out only the ends of the text', () => {
    const T = 16;
    const batches = makeBatches(1000, 1, T);
    for (const epoch of [0, 1, 7]) {
      const targets = Array.from({ length: batches.windowsPerEpoch }, (_, i) => [
        ...batches.at(epoch * batches.windowsPerEpoch + i).targets,
      ]).flat();
      expect(new Set(targets).size).toBe(targets.length);
      expect(targets.length).toBeGreaterThan(1000 - 2 * T - 1);
      expect(Math.max(...targets)).toBeLessThan(1000);
    }
  });

  test('epochs differ in order and in phase', () => {
    const T = 16;
    const batches = makeBatches(1000, 1, T);
    const starts = (epoch: number) =>
      Array.from(
        { length: batches.windowsPerEpoch },
        (_, i) => batches.at(epoch * batches.windowsPerEpoch + i).inputs[0],
      );
    expect(starts(0)).not.toEqual(starts(1));
    expect(starts(0)).not.toEqual(starts(0).sort((a, b) => a - b));
    const phases = new Set(Array.from({ length: 40 }, (_, epoch) => starts(epoch)[0] % T));
    expect(phases.size).toBeGreaterThan(T / 2);
  });

  test('a batch does not depend on the ones before it, and carries its index', () => {
    const inOrder = makeBatches(300, 4, 8);
    const all = Array.from({ length: 60 }, (_, index) => inOrder.at(index));
    for (const index of [59, 0, 23, 8, 9])
      expect(makeBatches(300, 4, 8).at(index)).toEqual(all[index]);
    expect(all.map(({ index }) => index)).toEqual(all.map((_, i) => i));
  });

  test('the same seed gives the same batches, another seed gives others', () => {
    expect(makeBatches(500, 4, 16, 3).at(5)).toEqual(makeBatches(500, 4, 16, 3).at(5));
    expect(makeBatches(500, 4, 16, 3).at(5)).not.toEqual(makeBatches(500, 4, 16, 4).at(5));
  });

  test('a batch may span two epochs', () => {
    const [single, wide] = [makeBatches(100, 1, 8), makeBatches(100, 5, 8)];
    expect(single.windowsPerEpoch % 5).not.toBe(0);
    const rows = Array.from({ length: 30 }, (_, i) => rowsOf(single.at(i), 8)).flat();
    expect(Array.from({ length: 6 }, (_, i) => rowsOf(wide.at(i), 8)).flat()).toEqual(rows);
  });

  test.each([
    [9, 8],
    [10, 8],
    [16, 8],
    [17, 8],
    [24, 8],
    [25, 8],
    [3, 2],
  ])('%i tokens are enough for a context of %i in every phase', (length, T) => {
    const batches = makeBatches(length, 2, T);
    for (let index = 0; index < 50; index++) {
      const { inputs, targets } = batches.at(index);
      expect([...targets]).toEqual(Array.from(inputs, (id) => id + 1));
      expect(Math.max(...targets)).toBeLessThan(length);
    }
  });

  test('a text that is too short is refused with both lengths', () => {
    expect(() => makeBatches(8, 2, 8)).toThrow(/8 tokens are too few for a window of 8 \+ 1/);
  });
});

describe('heldOutBatches', () => {
  test('fixed windows in order, spread over the whole text, no target twice', () => {
    const batches = heldOutBatches({ tokens: ascending(1001) }, 2, 10, 5);
    expect(batches.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4]);
    const starts = batches.flatMap((batch) => rowsOf(batch, 10).map((row) => row[0]));
    expect(starts).toEqual([0, 100, 200, 300, 400, 500, 600, 700, 800, 900]);
    for (const { inputs, targets } of batches)
      expect([...targets]).toEqual(Array.from(inputs, (id) => id + 1));
    expect(heldOutBatches({ tokens: ascending(1001) }, 2, 10, 5)).toEqual(batches);
  });

  test('as many as fit: each target once, the missing rows ignored', () => {
    const batches = heldOutBatches({ tokens: ascending(60) }, 2, 10, 100);
    const targets = batches.flatMap((batch) => [...batch.targets]);
    expect(batches.length).toBe(3);
    expect(targets.slice(0, 50)).toEqual(Array.from({ length: 50 }, (_, i) => i + 1));
    expect(targets.slice(50)).toEqual(new Array(10).fill(IGNORED_TARGET));
  });

  test('a text that is too short is refused with both lengths', () => {
    expect(() => heldOutBatches({ tokens: ascending(10) }, 2, 10, 1)).toThrow(
      /10 tokens are too few for a window of 10 \+ 1/,
    );
  });
});

describe('sortedRows', () => {
  test('by id, then by row', () => {
    expect([...sortedRows(Uint32Array.of(7, 2, 7, 0, 2, 7))]).toEqual([3, 1, 4, 0, 2, 5]);
    expect([...sortedRows(new Uint32Array(0))]).toEqual([]);
  });

  test('agrees with a comparison sort', () => {
    const random = randomFrom(9);
    const inputs = Uint32Array.from({ length: 2048 }, () => Math.floor(random() * 1024));
    expect([...sortedRows(inputs)]).toEqual(
      [...ascending(2048)].sort((a, b) => inputs[a] - inputs[b] || a - b),
    );
  });
});

describe('rows that know documents', () => {
  // Document n has the tokens 100n, 100n + 1, …
  const lengths = [5, 1, 12, 2, 9];
  const tokens = Uint32Array.from(
    lengths.flatMap((length, n) => Array.from({ length }, (_, i) => 100 * n + i)),
  );
  const documents = lengths.map((_, n) => lengths.slice(0, n).reduce((sum, l) => sum + l, 0));
  const alone = { begin: documents, rows: 'alone' } as const;
  const rowsOf = ({ inputs, targets, filled }: Batch) =>
    Array.from(filled!, (count, row) => ({
      count,
      inputs: [...inputs.subarray(row * 4, row * 4 + 4)],
      targets: [...targets.subarray(row * 4, row * 4 + 4)],
    })).filter(({ count }) => count > 0);

  test('masked, rows are the same windows, and no target is of another document', () => {
    const options = { tokens, batchSize: 3, contextLength: 4, randomOf: () => () => 0.3 };
    const plain = new Batches(options);
    const masked = new Batches({ ...options, documents: { begin: documents, rows: 'masked' } });
    expect(masked.filledShare).toBe(1);
    for (let index = 0; index < 3; index++) {
      const [expected, batch] = [plain.at(index), masked.at(index)];
      expect(batch.inputs).toEqual(expected.inputs);
      expect(masked.starts(index)).toEqual(plain.starts(index));
      for (const [i, token] of batch.inputs.entries()) {
        const row = [...batch.inputs.subarray(i - (i % 4), i - (i % 4) + 4)];
        const own = row.map((other) => Math.floor(other / 100) === Math.floor(token / 100));
        const span = [own.indexOf(true), own.lastIndexOf(true) + 1];
        expect([...batch.documents!.subarray(2 * i, 2 * i + 2)]).toEqual(span);
        const next = expected.targets[i];
        const same = Math.floor(next / 100) === Math.floor(token / 100);
        expect(batch.targets[i]).toBe(same ? next : IGNORED_TARGET);
      }
    }
  });

  test('masked held-out batches mark missing rows as whole', () => {
    const text = { tokens, documents: { begin: documents, rows: 'masked' } } as const;
    const last = heldOutBatches(text, 4, 4, 10).at(-1)!;
    expect(last.targets.slice(-4)).toEqual(new Int32Array(4).fill(IGNORED_TARGET));
    expect([...last.documents!.slice(-8)]).toEqual([0, 4, 0, 4, 0, 4, 0, 4]);
  });

  test('an epoch has each token as a target once, but the first of a document', () => {
    const batches = new Batches({
      tokens,
      documents: alone,
      batchSize: 3,
      contextLength: 4,
      randomOf: () => () => 0.3,
    });
    // Parts of 4 targets: 1, 0, 3, 1 and 2.
    expect(batches.windowsPerEpoch).toBe(7);
    expect(batches.filledShare).toBe((4 + 11 + 1 + 8) / (7 * 4));
    const rows = Array.from({ length: 7 }, (_, index) => batches.at(index)).flatMap(rowsOf);
    const seen = rows.slice(0, 7).flatMap(({ count, inputs, targets }) => {
      for (let i = 0; i < 4; i++) {
        if (i < count) expect(targets[i]).toBe(inputs[i] + 1);
        else expect([inputs[i], targets[i]]).toEqual([0, IGNORED_TARGET]);
      }
      return targets.slice(0, count);
    });
    const expected = [...tokens].filter((id) => id % 100 > 0);
    expect(seen.sort((a, b) => a - b)).toEqual(expected);
  });

  test('held-out rows too, in the order of the text', () => {
    const rows = heldOutBatches({ tokens, documents: alone }, 2, 4, 10).flatMap(rowsOf);
    expect(rows.map(({ inputs, count }) => inputs.slice(0, count))).toEqual([
      [0, 1, 2, 3],
      [200, 201, 202, 203],
      [204, 205, 206, 207],
      [208, 209, 210],
      [300],
      [400, 401, 402, 403],
      [404, 405, 406, 407],
    ]);
  });

  test('and a mask still holds', () => {
    const learned = Uint8Array.from(tokens, (id) => id % 2);
    const rows = heldOutBatches({ tokens, documents: alone, learned }, 2, 4, 10).flatMap(rowsOf);
    expect(rows[0].targets).toEqual([1, IGNORED_TARGET, 3, IGNORED_TARGET]);
  });
});
