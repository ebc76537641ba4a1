// Cache entries against the reference: their tokens and values, the tail, and the loss that reads
// them.
//
// Tolerances. A value is rounded to f16 once, either way: 2^-10 of it. The tail is a logarithm of a
// sum of exponentials, and so are the terms of losses and gradients: 1e-5 of the largest, as in
// kernels-losses.

import { describe, expect, it } from 'vitest';
import type { Gpu } from '../../src/gpu/device';
import { bufferOf } from '../../src/gpu/program';
import { distil, distilTopK } from '../../src/kernels/losses';
import { type Entries, entrySize, expand, topK } from '../../src/kernels/topk';
import * as reference from '../../src/reference';
import { fromHalf } from '../../src/tensor/dtype';
import { Layout } from '../../src/tensor/layout';
import {
  download,
  execute,
  expectClose,
  LANES,
  openVariant,
  type Storage,
  stored,
  testVariants,
  upload,
  uploadLossState,
} from './variants';

const { numbers } = reference;
const TOLERANCE = 1e-5;
const IGNORED = -100;
const SCALE = 1024;
const [B, T] = [3, 5];
const ROWS = B * T;

/** Layouts of teacher logits (rows, V). */
const LAYOUTS = {
  contiguous: (V: number) => Layout.contiguous([ROWS, V]),
  'rows apart': (V: number) => Layout.contiguous([ROWS, V + 3]).slice(1, 0, V),
  'tokens apart, at an offset': (V: number) => new Layout([ROWS, V], [2 * V + 1, 2], 5),
};

const rowsOf = (data: Float64Array, layout: Layout): Float64Array[] => {
  const [rows, V] = layout.shape;
  const at = [...layout.addresses()];
  return Array.from({ length: rows }, (_, row) =>
    Float64Array.from({ length: V }, (_, v) => data[at[row * V + v]]),
  );
};

async function downloadEntries(gpu: Gpu, { entries }: Entries): Promise<Uint32Array> {
  return new Uint32Array(await gpu.read(bufferOf(entries)));
}

/** The values, ids and tail of an entry. */
function unpack(entry: Uint32Array, V: number, k: number) {
  const pairs = Math.ceil(k / 2);
  const start = k < V ? 1 : 0;
  const halves = (from: number) => new Uint16Array(entry.slice(from, from + pairs).buffer);
  const values = fromHalf(halves(start)).slice(0, k);
  if (k === V) return { values, ids: [...values.keys()], tail: Number.NEGATIVE_INFINITY };
  const ids = V <= 65536 ? halves(start + pairs) : entry.slice(start + pairs, start + pairs + k);
  return {
    values,
    ids: [...ids.slice(0, k)],
    tail: new Float32Array(entry.buffer, entry.byteOffset, 1)[0],
  };
}

const emptyEntries = (gpu: Gpu, V: number, k: number): Entries => {
  const size = entrySize({ V, k });
  return {
    entries: upload(gpu, 'entries', new Float64Array(ROWS * size), [ROWS, size], 'u32'),
    V,
    k,
  };
};

/** Runs topK and compares every entry with the reference. */
async function expectEntries(
  gpu: Gpu,
  dtype: Storage,
  data: Float64Array,
  layout: Layout,
  k: number,
  temperature: number,
) {
  const V = layout.shape[1];
  const entries = emptyEntries(gpu, V, k);
  await execute(gpu, (r) =>
    topK(r, upload(gpu, 'teacher', data, layout, dtype), entries, { temperature }),
  );
  const actual = await downloadEntries(gpu, entries);
  const size = entrySize(entries);
  const rows = rowsOf(data, layout).map((y) => reference.topKRow(y, k, temperature));
  for (const [row, expected] of rows.entries()) {
    const { ids, values, tail } = unpack(actual.slice(row * size, (row + 1) * size), V, k);
    expect(ids, `row ${row}`).toEqual(expected.ids);
    // One rounding of f16; among its subnormals, one distance.
    for (const [j, value] of values.entries())
      expect(Math.abs(value - expected.values[j])).toBeLessThanOrEqual(
        Math.abs(expected.values[j]) * 2 ** -10 + 2 ** -24,
      );
    if (expected.tail === Number.NEGATIVE_INFINITY)
      expect(tail).toBeLessThanOrEqual(k === V ? 0 : -1e29);
    else
      expect(Math.abs(tail - expected.tail)).toBeLessThanOrEqual(
        TOLERANCE * Math.max(1, Math.abs(expected.tail)),
      );
  }
}

describe('the k most likely tokens and the tail', () => {
  for (const [name, layoutOf] of Object.entries(LAYOUTS)) {
    testVariants(`logits ${name}`, async (gpu, dtype) => {
      for (const [V, k] of [
        [131, 1],
        [131, 8],
        [131, 131],
        [37, 36],
      ]) {
        const layout = layoutOf(V);
        await expectEntries(
          gpu,
          dtype,
          stored(numbers(layout.extent, V + k, 6), dtype),
          layout,
          k,
          2,
        );
      }
    });
  }

  testVariants('of equal logits the lower ids are taken', async (gpu, dtype) => {
    const layout = Layout.contiguous([ROWS, 131]);
    const data = stored(
      numbers(layout.extent, 3, 4).map((y) => Math.round(y)),
      dtype,
    );
    for (const k of [1, 7, 64, 130]) await expectEntries(gpu, dtype, data, layout, k, 1);
    await expectEntries(gpu, dtype, new Float64Array(layout.extent), layout, 9, 1);
  });

  testVariants('tokens that the teacher rules out, and tails of nearly 0', async (gpu, dtype) => {
    const layout = Layout.contiguous([ROWS, 37]);
    const data = stored(numbers(layout.extent, 5, 4), dtype);
    for (const i of data.keys()) if (i % 37 > 6) data[i] = Number.NEGATIVE_INFINITY;
    for (const k of [4, 7, 20]) await expectEntries(gpu, dtype, data, layout, k, 1);
    const sure = data.map((_, i) => (i % 37 === 5 ? 60 : i % 37 === 9 ? -30 : -20 - (i % 7)));
    await expectEntries(gpu, dtype, sure, layout, 3, 1);
  });

  it('a vocabulary of more than 65,536 tokens has ids of 32 bits', async () => {
    const V = 70_001;
    const layout = Layout.contiguous([1, V]).expand([ROWS, V]);
    for (const lanes of LANES)
      await expectEntries(
        await openVariant(lanes),
        'f32',
        stored(numbers(V, 1, 5), 'f32'),
        layout,
        33,
        1.5,
      );
  });

  testVariants(
    'entries of all tokens expand to the logits minus their largest',
    async (gpu, dtype) => {
      const V = 37;
      const layout = Layout.contiguous([ROWS, V]);
      const data = stored(numbers(layout.extent, 2, 5), dtype);
      const all = emptyEntries(gpu, V, V);
      const some = {
        ...all,
        entries: { ...all.entries, layout: all.entries.layout.narrow(0, 4, 6) },
      };
      const logits = upload(gpu, 'logits', new Float64Array(6 * V), [6, V]);
      await execute(gpu, (r) => {
        topK(r, upload(gpu, 'teacher', data, layout, dtype), all, { temperature: 1 });
        expand(r, some, logits);
      });
      const expected = rowsOf(data, layout)
        .slice(4, 10)
        .flatMap((y) => [...y.map((v) => v - Math.max(...y))]);
      expectClose(await download(gpu, logits), expected, 2 ** -10);
      await expect(execute(gpu, (r) => expand(r, { ...all, k: 5 }, logits))).rejects.toThrow(
        'have 5 of 37 tokens',
      );
    },
  );
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

/** The loss against entries that the reference packed, compared with the reference's loss. */
async function expectLoss(gpu: Gpu, settings: Case) {
  const { V, k, temperature = 2, alpha = 0.7, labelSmoothing = 0, zLoss = 0 } = settings;
  const sLayout = settings.chunkRows
    ? Layout.contiguous([B, T, V])
    : Layout.contiguous([B, T + 1, V]).slice(1, 0, -1);
  const sData = stored(numbers(sLayout.extent + 3, 1, 4), 'f32');
  const yData = stored(numbers(ROWS * V, 2, 4), 'f32');
  settings.student?.(sData, V);
  sData.set(stored(sData, 'f32'));
  settings.teacher?.(yData, V);
  const topRows = rowsOf(yData, Layout.contiguous([ROWS, V])).map((y) =>
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
  const expected = reference.topKLoss(options, student, topRows, labels);
  const valid = targets.filter((t) => t !== IGNORED).length;
  // (B, T + 1, size): the last entry of each sequence is sliced off, as in an evaluation.
  const size = entrySize({ V, k });
  const packed = topRows.flatMap((row, i) => [
    ...reference.packEntry(row, V),
    ...(!settings.chunkRows && i % T === T - 1 ? new Uint32Array(size).fill(7) : []),
  ]);
  const entryLayout = settings.chunkRows
    ? Layout.contiguous([ROWS, size])
    : Layout.contiguous([B, T + 1, size]).slice(1, 0, -1);
  const entries = upload(gpu, 'entries', packed, entryLayout, 'u32');
  const common = {
    targets: upload(gpu, 'targets', targets, [B, T], 'i32'),
    ...uploadLossState(gpu, { temperature, alpha, tokens: valid, scale: SCALE }),
    ignoreIndex: IGNORED,
    labelSmoothing,
    zLoss,
    V,
    k,
  };
  const perToken = upload(gpu, 'per token', new Float64Array(ROWS * 2).fill(777), [ROWS, 2]);
  const evaluation = upload(gpu, 'evaluation', new Float64Array(ROWS * 6).fill(777), [ROWS, 6]);
  const actual = sData.slice();
  const rows = settings.chunkRows ?? ROWS;
  for (let first = 0; first < ROWS; first += rows) {
    const count = Math.min(rows, ROWS - first);
    const chunk = settings.chunkRows ? { first, rows: count } : undefined;
    const chunkStudent = chunk
      ? upload(gpu, 'chunk', sData.slice(first * V, (first + count) * V), [count, V])
      : upload(gpu, 'student', sData, sLayout);
    const chunkEntries = chunk
      ? { ...entries, layout: entryLayout.narrow(0, first, count) }
      : entries;
    const inputs = { ...common, student: chunkStudent, entries: chunkEntries, chunk };
    await execute(gpu, (r) =>
      distilTopK(r, { ...inputs, perToken: evaluation, gradient: false, evaluation: true }),
    );
    expect([...(await download(gpu, chunkStudent))]).toEqual([
      ...(chunk ? sData.slice(first * V, (first + count) * V) : sData),
    ]);
    await execute(gpu, (r) => distilTopK(r, { ...inputs, perToken, gradient: true }));
    actual.set(await download(gpu, chunkStudent), first * V);
  }
  const column = (all: Float32Array, c: number, of: number) => all.filter((_, i) => i % of === c);
  const pairs = await download(gpu, perToken);
  const evaluated = await download(gpu, evaluation);
  expectClose(column(pairs, 0, 2), expected.ce, TOLERANCE, 'ce');
  expectClose(column(pairs, 1, 2), expected.kl, TOLERANCE, 'kl');
  expect([...column(evaluated, 0, 6)]).toEqual([...column(pairs, 0, 2)]);
  expect([...column(evaluated, 1, 6)]).toEqual(Array(ROWS).fill(0));
  expect([...column(evaluated, 2, 6)]).toEqual([...column(pairs, 1, 2)]);
  expect([...column(evaluated, 3, 6)]).toEqual([...expected.agreement]);
  expect([...column(evaluated, 4, 6)]).toEqual([...expected.studentRight]);
  expect([...column(evaluated, 5, 6)]).toEqual([...expected.teacherRight]);
  const covered = [...sLayout.addresses()];
  const scaled = covered.map((at) => SCALE * expected.gradient[at]);
  expectClose(
    covered.map((at) => actual[at]),
    scaled,
    TOLERANCE,
    'gradient',
  );
  const outside = [...sData.keys()].filter((at) => !covered.includes(at));
  expect(outside.map((at) => actual[at])).toEqual(outside.map((at) => sData[at]));
  return expected;
}

/** The whole way of a teacher's logits: packed, and then the loss against them. */
async function lossOfCached(gpu: Gpu, student: Float64Array, teacher: Float64Array, V: number) {
  const entries = emptyEntries(gpu, V, 8);
  const logits = upload(gpu, 'student', student, [ROWS, V]);
  const perToken = upload(gpu, 'per token', new Float64Array(ROWS * 2), [ROWS, 2]);
  const inputs = {
    student: logits,
    targets: upload(gpu, 'targets', new Float64Array(ROWS), [B, T], 'i32'),
    perToken,
    ...uploadLossState(gpu, { temperature: 2, alpha: 0.5, tokens: ROWS, scale: 1 }),
    ignoreIndex: IGNORED,
    V,
    k: 8,
    entries: entries.entries,
    gradient: true,
  };
  await execute(gpu, (r) => {
    topK(r, upload(gpu, 'teacher', teacher, [ROWS, V]), entries, { temperature: 2 });
    distilTopK(r, { ...inputs, chunk: { first: 0, rows: ROWS } });
  });
  return { perToken: await download(gpu, perToken), gradient: await download(gpu, logits) };
}

// The other losses' are in extremes.test.ts.
testVariants(
  'a NaN or an infinity in one place is no measurement, and no other row’s',
  async (gpu) => {
    const V = 37;
    const whole = [1, 2].map((salt) => stored(numbers(ROWS * V, salt, 4), 'f32'));
    const right = await lossOfCached(gpu, whole[0], whole[1], V);
    const row = 4;
    for (const of of [0, 1]) {
      for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
        const broken = whole.map((all) => all.slice());
        broken[of][row * V + 20] = value;
        const wrong = await lossOfCached(gpu, broken[0], broken[1], V);
        const what = `${value} of the ${['student', 'teacher'][of]}`;
        const without = (all: Float32Array, size: number) =>
          all.filter((_, i) => Math.floor(i / size) !== row);
        expect(without(wrong.gradient, V), what).toEqual(without(right.gradient, V));
        expect(without(wrong.perToken, 2), what).toEqual(without(right.perToken, 2));
        const gradient = wrong.gradient.slice(row * V, (row + 1) * V);
        expect(gradient.every(Number.isFinite), `gradient, ${what}`).toBe(false);
        const [ce, kd] = wrong.perToken.slice(2 * row);
        expect(Number.isFinite(kd), `kd, ${what}`).toBe(false);
        if (of === 0) expect(Number.isFinite(ce), `ce, ${what}`).toBe(false);
      }
    }
  },
  undefined,
  ['f32'],
);

describe('the loss against k tokens and the tail', () => {
  const f32 = (title: string, settings: Case) =>
    testVariants(title, async (gpu) => void (await expectLoss(gpu, settings)), undefined, ['f32']);
  f32('sliced rows, some targets ignored', { V: 131, k: 8 });
  f32('an odd k, and fewer tokens than lanes', { V: 37, k: 5 });
  f32('one token', { V: 37, k: 1, temperature: 1, alpha: 1 });
  f32('all tokens except one', { V: 37, k: 36, temperature: 0.5 });
  f32('in chunks of 4 rows', { V: 131, k: 64, chunkRows: 4 });
  f32('label smoothing and z-loss', { V: 131, k: 8, labelSmoothing: 0.1, zLoss: 1e-3 });
  f32('a teacher with an empty tail', {
    V: 37,
    k: 8,
    teacher: (data, V) => {
      for (const i of data.keys()) if (i % V > 5) data[i] = Number.NEGATIVE_INFINITY;
    },
  });
  // e^-150 is no f32: the tail's probability exists only as a logarithm.
  f32('a student that is sure of a token of the entry', {
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
  f32('a student that is sure of a token of the tail', {
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

  it('finite differences of the reference’s loss are its gradient', () => {
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
    const lossOf = () =>
      reference.topKLoss(
        { temperature: 2, alpha: 0.6, labelSmoothing: 0.1, zLoss: 0.01 },
        { data, layout },
        rows,
        labels,
      );
    // Differences over 1e-5 are good to 1e-9 for values near 1.
    const differences = reference.finiteDifferences(data, () => lossOf().loss);
    expect(reference.maxAbsError(differences, lossOf().gradient)).toBeLessThan(1e-9);
  });

  it('with k = V − 1 the tail is one token, and the loss is forward KL itself', () => {
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
    // Values are rounded to f16: a logit near 6 by 2^-9 at most.
    expect(reference.relativeError(few.gradient, all.gradient)).toBeLessThan(2 ** -9);
    expect(Math.abs(few.loss / all.loss - 1)).toBeLessThan(2 ** -9);
  });

  it('entries of all tokens are refused: they have no tail', async () => {
    const gpu = await openVariant('one lane');
    const tensor = upload(gpu, 'any', [0], [1, 1, 1]);
    const tensors = {
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
      execute(gpu, (r) => distilTopK(r, { ...tensors, ...places, V: 5, k: 5 })),
    ).rejects.toThrow('all 5 tokens');
  });
});

testVariants(
  'a loss against expanded entries is the loss against the logits, up to rounding to f16',
  async (gpu, dtype) => {
    const V = 131;
    const layout = Layout.contiguous([B, T, V]);
    const student = stored(numbers(layout.numel, 1, 4), 'f32');
    const y = stored(numbers(layout.numel, 2, 4), dtype);
    const run = async (cached: boolean) => {
      const logits = upload(gpu, 'student', student, layout);
      const perToken = upload(gpu, 'per token', new Float64Array(ROWS * 2), [ROWS, 2]);
      const state = uploadLossState(gpu, { temperature: 2, tokens: ROWS, scale: SCALE });
      const inputs = {
        student: logits,
        targets: upload(gpu, 'targets', new Float64Array(ROWS), [B, T], 'i32'),
        perToken,
      };
      await execute(gpu, (r) => {
        let teacher = upload(gpu, 'teacher', y, layout, dtype);
        if (cached) {
          const entries = emptyEntries(gpu, V, V);
          const rows = { ...teacher, layout: teacher.layout.view([ROWS, V]) };
          topK(r, rows, entries, { temperature: 1 });
          teacher = r.tensor('expanded', Layout.contiguous([B, T, V]), 'f32');
          expand(r, entries, { ...teacher, layout: Layout.contiguous([ROWS, V]) });
        }
        const options = { ...inputs, ...state, ignoreIndex: IGNORED, gradient: true };
        distil(r, { ...options, teacher, divergence: 'jsd', beta: 0.4 });
      });
      return {
        kd: (await download(gpu, perToken)).filter((_, i) => i % 2 === 1),
        gradient: await download(gpu, logits),
      };
    };
    const [plain, cached] = [await run(false), await run(true)];
    // Logits minus their largest, up to 8, are off by 2^-10 of themselves at most.
    expectClose(cached.kd, plain.kd, 2 ** -7, 'jsd');
    expectClose(cached.gradient, plain.gradient, 2 ** -7, 'gradient');
  },
);
