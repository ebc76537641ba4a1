// Cache entries against their slow twin: which words are kept, what the rest comes to, and the loss
// that reads them.
//
// Tolerances. A value is rounded to f16 once, either way: 2^-10 of it. The rest is a logarithm of a
// sum of exponentials, and losses and gradients are made of such: 1e-5 of the largest, as in
// kernels-losses.

import { describe, expect, it } from 'vitest';
import type { Gpu } from '../../src/gpu/device';
import { bufferOf } from '../../src/gpu/program';
import { distil, distilTopK } from '../../src/kernels/losses';
import { type Entries, entryWords, expand, topK } from '../../src/kernels/topk';
import * as reference from '../../src/reference';
import { fromHalf } from '../../src/tensor/dtype';
import { Layout } from '../../src/tensor/layout';
import {
  download,
  execute,
  expectClose,
  openVariant,
  type Storage,
  stored,
  testVariants,
  upload,
} from './variants';

const { numbers } = reference;
const TOLERANCE = 1e-5;
const IGNORED = -100;
const SCALE = 1024;
const [B, T] = [3, 5];
const ROWS = B * T;

/**
 * Rows through strides: contiguous, with a gap behind each row, and with words apart, at an offset.
 */
const LAYOUTS = {
  contiguous: (V: number) => Layout.contiguous([ROWS, V]),
  'rows apart': (V: number) => Layout.contiguous([ROWS, V + 3]).slice(1, 0, V),
  'words apart, at an offset': (V: number) => new Layout([ROWS, V], [2 * V + 1, 2], 5),
};

const rowsOf = (data: Float64Array, layout: Layout): Float64Array[] => {
  const [rows, V] = layout.shape;
  const at = [...layout.addresses()];
  return Array.from({ length: rows }, (_, row) =>
    Float64Array.from({ length: V }, (_, v) => data[at[row * V + v]]),
  );
};

async function wordsOf(gpu: Gpu, { entries }: Entries): Promise<Uint32Array> {
  return new Uint32Array(await gpu.read(bufferOf(entries)));
}

/** An entry's words, taken apart. */
function unpack(words: Uint32Array, V: number, k: number) {
  const pairs = Math.ceil(k / 2);
  const start = k < V ? 1 : 0;
  const halves = (from: number) => new Uint16Array(words.slice(from, from + pairs).buffer);
  const values = fromHalf(halves(start)).slice(0, k);
  if (k === V) return { values, ids: [...values.keys()], tail: Number.NEGATIVE_INFINITY };
  const ids = V <= 65536 ? halves(start + pairs) : words.slice(start + pairs, start + pairs + k);
  return {
    values,
    ids: [...ids.slice(0, k)],
    tail: new Float32Array(words.buffer, words.byteOffset, 1)[0],
  };
}

const emptyEntries = (gpu: Gpu, V: number, k: number): Entries => {
  const words = entryWords({ V, k });
  return {
    entries: upload(gpu, 'entries', new Float64Array(ROWS * words), [ROWS, words], 'u32'),
    V,
    k,
  };
};

/** Runs topK and holds every entry against the twin's. */
async function keeps(
  gpu: Gpu,
  dtype: Storage,
  data: Float64Array,
  layout: Layout,
  k: number,
  temperature: number,
) {
  const V = layout.shape[1];
  const kept = emptyEntries(gpu, V, k);
  await execute(gpu, (r) =>
    topK(r, upload(gpu, 'teacher', data, layout, dtype), kept, { temperature }),
  );
  const words = await wordsOf(gpu, kept);
  const size = entryWords(kept);
  const expected = rowsOf(data, layout).map((y) => reference.topKRow(y, k, temperature));
  for (const [row, twin] of expected.entries()) {
    const { ids, values, tail } = unpack(words.slice(row * size, (row + 1) * size), V, k);
    expect(ids, `row ${row}`).toEqual(twin.ids);
    // One rounding of f16, or, among its subnormals, of their distance.
    for (const [j, value] of values.entries())
      expect(Math.abs(value - twin.values[j])).toBeLessThanOrEqual(
        Math.abs(twin.values[j]) * 2 ** -10 + 2 ** -24,
      );
    if (twin.tail === Number.NEGATIVE_INFINITY)
      expect(tail).toBeLessThanOrEqual(k === V ? 0 : -1e29);
    else
      expect(Math.abs(tail - twin.tail)).toBeLessThanOrEqual(
        TOLERANCE * Math.max(1, Math.abs(twin.tail)),
      );
  }
}

describe('the k likeliest words and the rest', () => {
  for (const [name, layoutOf] of Object.entries(LAYOUTS)) {
    testVariants(`logits ${name}`, async (gpu, dtype) => {
      for (const [V, k] of [
        [131, 1],
        [131, 8],
        [131, 131],
        [37, 36],
      ]) {
        const layout = layoutOf(V);
        await keeps(gpu, dtype, stored(numbers(layout.extent, V + k, 6), dtype), layout, k, 2);
      }
    });
  }

  testVariants('equal logits: the lower ids are kept', async (gpu, dtype) => {
    const layout = Layout.contiguous([ROWS, 131]);
    const data = stored(
      numbers(layout.extent, 3, 4).map((y) => Math.round(y)),
      dtype,
    );
    for (const k of [1, 7, 64, 130]) await keeps(gpu, dtype, data, layout, k, 1);
    await keeps(gpu, dtype, new Float64Array(layout.extent), layout, 9, 1);
  });

  testVariants(
    'words that the teacher rules out, and rests that are next to nothing',
    async (gpu, dtype) => {
      const layout = Layout.contiguous([ROWS, 37]);
      const data = stored(numbers(layout.extent, 5, 4), dtype);
      for (const i of data.keys()) if (i % 37 > 6) data[i] = Number.NEGATIVE_INFINITY;
      for (const k of [4, 7, 20]) await keeps(gpu, dtype, data, layout, k, 1);
      const sure = data.map((_, i) => (i % 37 === 5 ? 60 : i % 37 === 9 ? -30 : -20 - (i % 7)));
      await keeps(gpu, dtype, sure, layout, 3, 1);
    },
  );

  it('a vocabulary of more than 65,536 words has ids of 32 bits', async () => {
    const V = 70_001;
    const layout = Layout.contiguous([1, V]).expand([ROWS, V]);
    for (const lanes of ['one lane', 'many lanes'] as const)
      await keeps(
        await openVariant(lanes),
        'f32',
        stored(numbers(V, 1, 5), 'f32'),
        layout,
        33,
        1.5,
      );
  });

  testVariants('whole rows expand to the logits less their largest', async (gpu, dtype) => {
    const V = 37;
    const layout = Layout.contiguous([ROWS, V]);
    const data = stored(numbers(layout.extent, 2, 5), dtype);
    const kept = emptyEntries(gpu, V, V);
    const some = {
      ...kept,
      entries: { ...kept.entries, layout: kept.entries.layout.narrow(0, 4, 6) },
    };
    const logits = upload(gpu, 'logits', new Float64Array(6 * V), [6, V]);
    await execute(gpu, (r) => {
      topK(r, upload(gpu, 'teacher', data, layout, dtype), kept, { temperature: 1 });
      expand(r, some, logits);
    });
    const expected = rowsOf(data, layout)
      .slice(4, 10)
      .flatMap((y) => [...y.map((v) => v - Math.max(...y))]);
    expectClose(await download(gpu, logits), expected, 2 ** -10);
    await expect(execute(gpu, (r) => expand(r, { ...kept, k: 5 }, logits))).rejects.toThrow(
      'keep 5 of 37 words',
    );
  });
});

interface Case {
  V: number;
  k: number;
  temperature?: number;
  alpha?: number;
  labelSmoothing?: number;
  zLoss?: number;
  student?: (data: Float64Array, V: number) => void;
  teacher?: (data: Float64Array, V: number) => void;
  chunkRows?: number;
}

/** What the twin packed, through the kernel, and what the twin makes of it. */
async function loss(gpu: Gpu, given: Case) {
  const { V, k, temperature = 2, alpha = 0.7, labelSmoothing = 0, zLoss = 0 } = given;
  const sLayout = given.chunkRows
    ? Layout.contiguous([B, T, V])
    : Layout.contiguous([B, T + 1, V]).slice(1, 0, -1);
  const sData = stored(numbers(sLayout.extent + 3, 1, 4), 'f32');
  const yData = stored(numbers(ROWS * V, 2, 4), 'f32');
  given.student?.(sData, V);
  sData.set(stored(sData, 'f32'));
  given.teacher?.(yData, V);
  const kept = rowsOf(yData, Layout.contiguous([ROWS, V])).map((y) =>
    reference.topKRow(y, k, temperature),
  );
  const targets = Float64Array.from({ length: ROWS }, (_, row) =>
    row % 4 === 1 ? IGNORED : (row * 29) % V,
  );
  const [student, labels] = [
    { data: sData, layout: sLayout },
    { data: targets, layout: Layout.contiguous([B, T]) },
  ];
  const options = { temperature, alpha, labelSmoothing, zLoss, ignoreIndex: IGNORED };
  const expected = reference.topKLoss(options, student, kept, labels);
  const valid = targets.filter((t) => t !== IGNORED).length;
  // (B, T + 1, words): the last of each sequence is sliced off, as an evaluation does.
  const words = entryWords({ V, k });
  const packed = kept.flatMap((row, i) => [
    ...reference.packEntry(row, V),
    ...(!given.chunkRows && i % T === T - 1 ? new Uint32Array(words).fill(7) : []),
  ]);
  const whole = given.chunkRows
    ? Layout.contiguous([ROWS, words])
    : Layout.contiguous([B, T + 1, words]).slice(1, 0, -1);
  const entries = upload(gpu, 'entries', packed, whole, 'u32');
  const common = {
    targets: upload(gpu, 'targets', targets, [B, T], 'i32'),
    step: upload(gpu, 'step', [1e-3, temperature, alpha, 1 / valid], [4]).place,
    scaler: upload(gpu, 'scaler', [SCALE], [1]).place,
    ignoreIndex: IGNORED,
    labelSmoothing,
    zLoss,
    V,
    k,
  };
  const perToken = upload(gpu, 'per token', new Float64Array(ROWS * 2).fill(777), [ROWS, 2]);
  const figures = upload(gpu, 'figures', new Float64Array(ROWS * 4).fill(777), [ROWS, 4]);
  const actual = sData.slice();
  const rows = given.chunkRows ?? ROWS;
  for (let first = 0; first < ROWS; first += rows) {
    const count = Math.min(rows, ROWS - first);
    const chunk = given.chunkRows ? { first, rows: count } : undefined;
    const own = chunk
      ? upload(gpu, 'chunk', sData.slice(first * V, (first + count) * V), [count, V])
      : upload(gpu, 'student', sData, sLayout);
    const theirs = chunk ? { ...entries, layout: whole.narrow(0, first, count) } : entries;
    const inputs = { ...common, student: own, entries: theirs, chunk };
    await execute(gpu, (r) =>
      distilTopK(r, { ...inputs, perToken: figures, gradient: false, figures: true }),
    );
    expect([...(await download(gpu, own))]).toEqual([
      ...(chunk ? sData.slice(first * V, (first + count) * V) : sData),
    ]);
    await execute(gpu, (r) => distilTopK(r, { ...inputs, perToken, gradient: true }));
    actual.set(await download(gpu, own), first * V);
  }
  const column = (all: Float32Array, c: number, of: number) => all.filter((_, i) => i % of === c);
  const pairs = await download(gpu, perToken);
  const four = await download(gpu, figures);
  expectClose(column(pairs, 0, 2), expected.ce, TOLERANCE, 'ce');
  expectClose(column(pairs, 1, 2), expected.kl, TOLERANCE, 'kl');
  expect([...column(four, 0, 4)]).toEqual([...column(pairs, 0, 2)]);
  expect([...column(four, 1, 4)]).toEqual(Array(ROWS).fill(0));
  expect([...column(four, 2, 4)]).toEqual([...column(pairs, 1, 2)]);
  expect([...column(four, 3, 4)]).toEqual([...expected.agreement]);
  const covered = [...sLayout.addresses()];
  const scaled = covered.map((at) => SCALE * expected.gradient[at]);
  expectClose(
    covered.map((at) => actual[at]),
    scaled,
    TOLERANCE,
    'gradient',
  );
  const rest = [...sData.keys()].filter((at) => !covered.includes(at));
  expect(rest.map((at) => actual[at])).toEqual(rest.map((at) => sData[at]));
  return expected;
}

describe('the loss against k words and the rest', () => {
  const f32 = (title: string, given: Case) =>
    testVariants(title, async (gpu) => void (await loss(gpu, given)), undefined, ['f32']);
  f32('sliced rows, some targets ignored', { V: 131, k: 8 });
  f32('an odd k, ids of fewer words than lanes', { V: 37, k: 5 });
  f32('one word', { V: 37, k: 1, temperature: 1, alpha: 1 });
  f32('all words but one', { V: 37, k: 36, temperature: 0.5 });
  f32('in chunks of 4 rows', { V: 131, k: 64, chunkRows: 4 });
  f32('label smoothing and z-loss', { V: 131, k: 8, labelSmoothing: 0.1, zLoss: 1e-3 });
  f32('a teacher that leaves no rest', {
    V: 37,
    k: 8,
    teacher: (data, V) => {
      for (const i of data.keys()) if (i % V > 5) data[i] = Number.NEGATIVE_INFINITY;
    },
  });
  // e^-150 is no f32: the rest's probability exists in logarithms alone.
  f32('a student that is sure of a word inside', {
    V: 37,
    k: 8,
    temperature: 1,
    alpha: 1,
    student: (data) => {
      for (const i of data.keys()) data[i] *= 0.2;
      for (let row = 0; row < B * (T + 1); row++) data[row * 37 + 3] = 150;
    },
    teacher: (data) => {
      for (let row = 0; row < ROWS; row++) data[row * 37 + 3] = 5;
    },
  });
  f32('a student that is sure of a word outside', {
    V: 37,
    k: 4,
    temperature: 1,
    alpha: 1,
    student: (data) => {
      for (let row = 0; row < B * (T + 1); row++) data[row * 37 + 3] = 150;
    },
    teacher: (data) => {
      for (let row = 0; row < ROWS; row++) data[row * 37 + 3] = -20;
    },
  });

  it('finite differences of the twin’s loss are its gradient', () => {
    const V = 11;
    const layout = Layout.contiguous([B, T, V]);
    const data = numbers(layout.numel, 1, 3);
    const rows = rowsOf(numbers(layout.numel, 2, 3), Layout.contiguous([ROWS, V])).map((y) =>
      reference.topKRow(y, 4, 2),
    );
    const labels = {
      data: Float64Array.from({ length: ROWS }, (_, row) => row % V),
      layout: Layout.contiguous([B, T]),
    };
    const of = () =>
      reference.topKLoss(
        { temperature: 2, alpha: 0.6, labelSmoothing: 0.1, zLoss: 0.01 },
        { data, layout },
        rows,
        labels,
      );
    // Differences over 1e-5 are good to 1e-9 of values near 1.
    const slopes = reference.finiteDifferences(data, () => of().loss);
    expect(reference.maxAbsError(slopes, of().gradient)).toBeLessThan(1e-9);
  });

  it('with k = V − 1 the rest is one word, and the loss is forward KL itself', () => {
    const V = 11;
    const layout = Layout.contiguous([B, T, V]);
    const [student, y] = [numbers(layout.numel, 1, 3), numbers(layout.numel, 2, 3)];
    const labels = { data: new Float64Array(ROWS), layout: Layout.contiguous([B, T]) };
    const rows = rowsOf(y, Layout.contiguous([ROWS, V])).map((row) =>
      reference.topKRow(row, V - 1, 2),
    );
    const few = reference.topKLoss(
      { temperature: 2, alpha: 1 },
      { data: student, layout },
      rows,
      labels,
    );
    const all = reference.distillationLoss(
      { kind: 'fkl', temperature: 2 },
      ...([{ data: student, layout }, { data: y, layout }, labels] as const),
    );
    // Values were rounded to f16: a logit near 6 by 2^-9 at most.
    expect(reference.relativeError(few.gradient, all.gradient)).toBeLessThan(2 ** -9);
    expect(Math.abs(few.loss / all.loss - 1)).toBeLessThan(2 ** -9);
  });

  it('entries of whole rows are refused: they have no rest', async () => {
    const gpu = await openVariant('one lane');
    const tensor = upload(gpu, 'any', [0], [1, 1, 1]);
    const given = {
      student: tensor,
      targets: upload(gpu, 't', [0], [1, 1], 'i32'),
      perToken: tensor,
      entries: tensor,
    };
    const places = {
      step: tensor.place,
      scaler: tensor.place,
      ignoreIndex: IGNORED,
      gradient: true,
    };
    await expect(
      execute(gpu, (r) => distilTopK(r, { ...given, ...places, V: 5, k: 5 })),
    ).rejects.toThrow('all of 5 words');
  });
});

testVariants(
  'a student’s loss against expanded rows is its loss against the logits, but for f16',
  async (gpu, dtype) => {
    const V = 131;
    const layout = Layout.contiguous([B, T, V]);
    const student = stored(numbers(layout.numel, 1, 4), 'f32');
    const y = stored(numbers(layout.numel, 2, 4), dtype);
    const run = async (cached: boolean) => {
      const logits = upload(gpu, 'student', student, layout);
      const perToken = upload(gpu, 'per token', new Float64Array(ROWS * 2), [ROWS, 2]);
      const step = upload(gpu, 'step', [1e-3, 2, 1, 1 / ROWS], [4]).place;
      const scaler = upload(gpu, 'scaler', [SCALE], [1]).place;
      const inputs = {
        student: logits,
        targets: upload(gpu, 'targets', new Float64Array(ROWS), [B, T], 'i32'),
        perToken,
      };
      await execute(gpu, (r) => {
        const given = upload(gpu, 'teacher', y, layout, dtype);
        let teacher = given;
        if (cached) {
          const kept = emptyEntries(gpu, V, V);
          topK(r, { ...given, layout: given.layout.view([ROWS, V]) }, kept, { temperature: 1 });
          teacher = r.tensor('expanded', Layout.contiguous([B, T, V]), 'f32');
          expand(r, kept, { ...teacher, layout: Layout.contiguous([ROWS, V]) });
        }
        const options = { ...inputs, step, scaler, ignoreIndex: IGNORED, gradient: true };
        distil(r, { ...options, teacher, divergence: 'jsd', beta: 0.4 });
      });
      return {
        kd: (await download(gpu, perToken)).filter((_, i) => i % 2 === 1),
        gradient: await download(gpu, logits),
      };
    };
    const [plain, cached] = [await run(false), await run(true)];
    // Logits up to 8 less the largest, off by 2^-10 of themselves at most.
    expectClose(cached.kd, plain.kd, 2 ** -7, 'jsd');
    expectClose(cached.gradient, plain.gradient, 2 ** -7, 'gradient');
  },
);
