// Every loss, the evaluation's comparison and LayerNorm with their tensors in every layout; and
// random chains of views, through which a kernel must read what a contiguous copy would hold.
//
// Tolerances. Losses, as for the goldens: 2e-5 relative plus 2e-6 per token, gradients 1e-4
// (relative norm). LayerNorm: one rounding for each of a row's terms, twice, since backward reads
// the moments of forward. Chains of views are exact: the kernel adds the same numbers in the same
// order, wherever it reads them.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Gpu } from '../../src/gpu/device';
import { copy } from '../../src/kernels/copy';
import { layerNorm, layerNormBackward } from '../../src/kernels/layernorm';
import { compare } from '../../src/kernels/losses';
import * as reference from '../../src/reference';
import { Layout } from '../../src/tensor/layout';
import {
  IGNORED,
  LOSS_NAMES,
  type LossRun,
  lossReference,
  prepareLoss,
  type View,
} from './loss-runs';
import {
  download,
  execute,
  expectClose,
  LANES,
  openVariant,
  ROUNDING,
  type Storage,
  stored,
  testVariants,
  upload,
  zeros,
} from './variants';

const { numbers } = reference;

/** B, T, V: B = 1 and T = 2, where a wrong view can go unnoticed, and odd sizes. */
const SIZES: [number, number, number][] = [
  [1, 2, 33],
  [3, 2, 5],
  [3, 5, 67],
];

/** Layouts of logits (B, T, V). */
const LOGITS: Record<string, (B: number, T: number, V: number) => Layout> = {
  contiguous: (B, T, V) => Layout.contiguous([B, T, V]),
  'sliced, [:, :-1]': (B, T, V) => Layout.contiguous([B, T + 1, V]).slice(1, 0, -1),
  'sliced, [:, 1::2]': (B, T, V) => Layout.contiguous([B, 2 * T, V]).slice(1, 1, null, 2),
  'time-major': (B, T, V) => Layout.contiguous([T, B, V]).transpose(0, 1),
  'vocabulary outermost': (B, T, V) => Layout.contiguous([V, B, T]).permute([1, 2, 0]),
  'a slice of the vocabulary': (B, T, V) => Layout.contiguous([B, T, V + 6]).slice(2, 4, V + 4),
  'padded rows': (B, T, V) => new Layout([B, T, V], [T * (V + 3), V + 3, 1]),
  'at an offset': (B, T, V) => new Layout([B, T, V], [T * V, V, 1], 7),
};
/** Stride 0: several elements of the view share one of the storage, so there is no gradient. */
const EXPANDED: typeof LOGITS = {
  'one sequence for all': (B, T, V) => Layout.contiguous([1, T, V]).expand([B, T, V]),
  'one row for all': (B, T, V) => Layout.contiguous([V]).expand([B, T, V]),
  'one logit a row': (B, T, V) => Layout.contiguous([B, T, 1]).expand([B, T, V]),
};
const TARGETS: ((B: number, T: number) => Layout)[] = [
  (B, T) => Layout.contiguous([B, T + 1]).slice(1, 1, null),
  (B, T) => Layout.contiguous([T, B]).transpose(0, 1),
  (B, T) => Layout.contiguous([1, T]).expand([B, T]),
  (B, T) => Layout.contiguous([B, T, 3]).select(2, 1),
];

/** A storage with numbers after the end of the view, too. */
const fill = (layout: Layout, salt: number, dtype: Storage = 'f32'): View => ({
  data: stored(numbers(layout.extent + 5, salt, 4), dtype),
  layout,
});

/** Every fourth target is ignored; elements that the layout does not reach hold valid ones. */
function targetsOf(layout: Layout, V: number): View {
  const data = new Float64Array(layout.extent + 3).fill(1);
  for (const [row, at] of [...new Set(layout.addresses())].entries())
    data[at] = row % 4 === 1 ? IGNORED : [0, V - 1, (row * 29) % V][row % 3];
  return { data, layout };
}

/** Every layout of the student at every size, with changing layouts of teacher and targets. */
function* settings(students: typeof LOGITS, teacherType: Storage) {
  const teachers = Object.entries({ ...LOGITS, ...EXPANDED });
  for (const [i, [name, student]] of Object.entries(students).entries()) {
    for (const [j, [B, T, V]] of SIZES.entries()) {
      const [teacherName, teacher] = teachers[(i + 3 + 4 * j) % teachers.length];
      yield {
        title: `(${B}, ${T}, ${V}) ${name}, teacher ${teacherName}`,
        student: fill(student(B, T, V), 1 + j),
        teacher: fill(teacher(B, T, V), 11 + j, teacherType),
        targets: targetsOf(TARGETS[(i + j) % TARGETS.length](B, T), V),
        teacherType,
      };
    }
  }
}

const expectTokens = (actual: Float32Array, expected: Float64Array, title: string) => {
  for (const [i, want] of expected.entries())
    expect(Math.abs(actual[i] - want), `${title}, token ${i}`).toBeLessThanOrEqual(
      2e-5 * Math.abs(want) + 2e-6,
    );
};

async function losses(
  gpu: Gpu,
  loss: LossRun['loss'],
  students: typeof LOGITS,
  teacherType: Storage,
  gradient: boolean,
) {
  const runs = [...settings(students, teacherType)].map((setting) => {
    const run: LossRun = {
      ...setting,
      loss,
      temperature: 2,
      alpha: 0.7,
      beta: 0.3,
      scale: 1024,
      gradient,
    };
    return { title: setting.title, run, prepared: prepareLoss(gpu, run) };
  });
  await execute(gpu, (recorder) => {
    for (const { prepared } of runs) prepared.record(recorder);
  });
  for (const { title, run, prepared } of runs) {
    const [actual, expected] = [await prepared.read(), lossReference(run)];
    expectTokens(actual.ce, expected.ce, `${title}, ce`);
    expectTokens(actual.kd, expected.kd, `${title}, kd`);
    if (!gradient) {
      expect(actual.unchanged, title).toBe(true);
      continue;
    }
    expect(reference.relativeError(actual.gradient, expected.gradient), title).toBeLessThanOrEqual(
      1e-4,
    );
    expect(actual.disturbed, title).toEqual([]);
  }
}

describe('losses', () => {
  for (const loss of LOSS_NAMES) {
    const dtypes: Storage[] = loss === 'ce' ? ['f32'] : ['f32', 'f16'];
    testVariants(
      `${loss}, values and gradient`,
      (gpu, teacherType) => losses(gpu, loss, LOGITS, teacherType, true),
      undefined,
      dtypes,
    );
    // Without the gradient the kernel is compiled anew, but lanes and f16 change nothing else.
    testVariants(
      `${loss}, values of expanded logits`,
      (gpu, teacherType) => losses(gpu, loss, EXPANDED, teacherType, false),
      ['one lane'],
      ['f32'],
    );
  }
});

testVariants('evaluation', async (gpu, teacherType) => {
  const runs = [...settings({ ...LOGITS, ...EXPANDED }, teacherType)].map((setting) => {
    const [B, T] = setting.targets.layout.shape;
    const perToken = upload(gpu, 'per token', new Float64Array(B * T * 6).fill(777), [B * T, 6]);
    return { ...setting, perToken };
  });
  await execute(gpu, (recorder) => {
    for (const { student, teacher, targets, perToken } of runs)
      compare(recorder, {
        student: upload(gpu, 'student', student.data, student.layout),
        teacher: upload(gpu, 'teacher', teacher.data, teacher.layout, teacherType),
        targets: upload(gpu, 'targets', targets.data, targets.layout, 'i32'),
        perToken,
        ignoreIndex: IGNORED,
      });
  });
  for (const { title, student, teacher, targets, perToken } of runs) {
    const all = await download(gpu, perToken);
    const column = (c: number) => all.filter((_, i) => i % 6 === c);
    const expected = reference.evaluateRows(student, teacher, targets);
    expectTokens(column(0), expected.studentNll, `${title}, student`);
    expectTokens(column(1), expected.teacherNll, `${title}, teacher`);
    expectTokens(column(2), expected.kl, `${title}, kl`);
    expect([...column(3)], title).toEqual([...expected.agreement]);
  }
});

describe('layerNorm', () => {
  const EPSILON = 1e-5;
  /** Layouts of (rows, C). */
  const MATRICES: Record<string, (rows: number, C: number) => Layout> = {
    contiguous: (rows, C) => Layout.contiguous([rows, C]),
    'sliced rows': (rows, C) => Layout.contiguous([rows + 3, C]).slice(0, 2, rows + 2),
    'every second row': (rows, C) => Layout.contiguous([2 * rows, C]).slice(0, 1, null, 2),
    transposed: (rows, C) => Layout.contiguous([C, rows]).transpose(0, 1),
    'sliced columns': (rows, C) => Layout.contiguous([rows, 3 * C]).slice(1, C, 2 * C),
    'every second column': (rows, C) => Layout.contiguous([rows, 2 * C]).slice(1, 1, null, 2),
    'padded rows': (rows, C) => new Layout([rows, C], [C + 5, 1]),
    'at an offset': (rows, C) => new Layout([rows, C], [C, 1], 9),
    'one row for all': (rows, C) => Layout.contiguous([1, C]).expand([rows, C]),
  };
  const names = Object.keys(MATRICES);
  const gather = ({ data, layout }: View) =>
    Float64Array.from(layout.addresses(), (at) => data[at]);

  testVariants('x and dy in any layout', async (gpu, dtype) => {
    for (const [rows, C] of [
      [1, 5],
      [2, 33],
      [7, 67],
    ]) {
      const tolerance = 2 * 4 * ROUNDING.f32 * (C + 8) + (dtype === 'f16' ? ROUNDING.f16 : 0);
      const gamma = stored(
        numbers(C, 2).map((v) => 1 + v / 2),
        'f16',
      );
      const beta = stored(numbers(C, 3), 'f16');
      const runs = names.map((name, i) => {
        const dyName = names[(i + 4) % names.length];
        const [x, dy] = [
          fill(MATRICES[name](rows, C), 4, dtype),
          fill(MATRICES[dyName](rows, C), 5, dtype),
        ];
        const make = (label: string, shape: number[], type: Storage = 'f32') =>
          zeros(gpu, label, shape, type);
        return {
          title: `(${rows}, ${C}) ${name}, dy ${dyName}`,
          x,
          dy,
          y: make('y', [rows, C], dtype),
          dx: make('dx', [rows, C], dtype),
          dgamma: make('dgamma', [C]),
          dbeta: make('dbeta', [C]),
          moments: make('moments', [rows, 2]),
        };
      });
      await execute(gpu, (recorder) => {
        for (const { x, dy, y, dx, dgamma, dbeta, moments } of runs) {
          const norm = {
            x: upload(gpu, 'x', x.data, x.layout, dtype),
            y,
            moments,
            gamma: upload(gpu, 'gamma', gamma, [C], dtype),
            beta: upload(gpu, 'beta', beta, [C], dtype),
          };
          layerNorm(recorder, norm, EPSILON);
          const dyTensor = upload(gpu, 'dy', dy.data, dy.layout, dtype);
          layerNormBackward(recorder, norm, { dy: dyTensor, dx, dgamma, dbeta });
        }
      });
      for (const { title, x, dy, y, dx, dgamma, dbeta } of runs) {
        const [xs, dys] = [gather(x), gather(dy)];
        const expected = reference.layerNormBackward(dys, xs, gamma, EPSILON);
        const forward = reference.layerNorm(xs, gamma, beta, EPSILON).y;
        expectClose(await download(gpu, y), forward, tolerance, `${title}, y`);
        expectClose(await download(gpu, dx), expected.dx, tolerance, `${title}, dx`);
        expectClose(await download(gpu, dgamma), expected.dgamma, tolerance, `${title}, dgamma`);
        expectClose(await download(gpu, dbeta), expected.dbeta, tolerance, `${title}, dbeta`);
      }
    }
  });
});

describe('a random chain of views', () => {
  // Uniform: fast-check's doubles lie mostly next to 0, and every slice would have one element.
  const fraction = fc.noBias(fc.integer({ min: 0, max: 9999 })).map((n) => n / 10000);
  const operation = fc.record({
    name: fc.constantFrom(
      'slice',
      'transpose',
      'permute',
      'select',
      'expand',
      'unsqueeze',
      'unflatten',
    ),
    a: fraction,
    b: fraction,
    c: fraction,
  });
  type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

  /** The view after one more operation; unchanged if that gave no elements or five dimensions. */
  function apply(layout: Layout, { name, a, b, c }: Operation): Layout {
    const below = (share: number, count: number) => Math.floor(share * count);
    const { rank, shape } = layout;
    const dim = below(a, rank);
    switch (name) {
      case 'slice': {
        const start = below(b, shape[dim]);
        return layout.slice(
          dim,
          start,
          start + 1 + below(c, shape[dim] - start),
          1 + below(a * 7 - below(a, 7), 3),
        );
      }
      case 'transpose':
        return layout.transpose(dim, below(b, rank));
      case 'permute':
        return layout.permute([...shape.keys()].map((d) => (d + dim) % rank));
      case 'select':
        return rank > 1 ? layout.select(dim, below(b, shape[dim])) : layout;
      case 'expand':
        return shape[dim] === 1
          ? layout.expand(shape.map((size, d) => (d === dim ? 2 + below(b, 3) : size)))
          : layout;
      case 'unsqueeze':
        return rank < 4 ? layout.unsqueeze(below(b, rank + 1)) : layout;
      case 'unflatten':
        return rank < 4 && shape[dim] % 2 === 0 ? layout.unflatten(dim, [2, -1]) : layout;
    }
  }

  const chain = fc
    .record({
      shape: fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 2, maxLength: 4, size: 'max' }),
      operations: fc.array(operation, { minLength: 2, maxLength: 7, size: 'max' }),
    })
    .map(({ shape, operations }) => operations.reduce(apply, Layout.contiguous(shape)));

  /** A contiguous copy of the view's elements, made without a kernel. */
  const contiguous = ({ data, layout }: View): View => ({
    data: Float64Array.from(layout.addresses(), (at) => data[at]),
    layout: Layout.contiguous(layout.shape),
  });
  const lanes = fc.constantFrom(...LANES);

  it('makes views that are not contiguous, expanded ones among them', () => {
    const views = fc.sample(chain, 200);
    expect(views.filter((view) => !view.isContiguous).length).toBeGreaterThan(50);
    expect(views.filter(isExpanded).length).toBeGreaterThan(5);
  });

  it('is copied as in the reference', async () => {
    await fc.assert(
      fc.asyncProperty(chain, lanes, async (layout, which) => {
        const gpu = await openVariant(which);
        const source = fill(layout, 6);
        const target = zeros(gpu, 'target', [layout.numel]);
        await execute(gpu, (recorder) =>
          copy(recorder, upload(gpu, 'source', source.data, layout), target),
        );
        expect([...(await download(gpu, target))]).toEqual([...contiguous(source).data]);
      }),
      { numRuns: 60 },
    );
  });

  it('gives a loss the same bits as its contiguous copy', async () => {
    const loss = fc.constantFrom<LossRun['loss']>('ce', 'mixed', 'jsd');
    await fc.assert(
      fc.asyncProperty(chain, loss, lanes, fc.boolean(), async (view, name, which, ofStudent) => {
        const gpu = await openVariant(which);
        const layout = threeDimensions(view);
        const [B, T, V] = layout.shape;
        const [chained, other] = [
          fill(layout, 7),
          fill(Layout.contiguous([T, V, B]).permute([2, 0, 1]), 8),
        ];
        const [student, teacher] = ofStudent ? [chained, other] : [other, chained];
        const targets = targetsOf(Layout.contiguous([T, B]).transpose(0, 1), V);
        const settings = {
          loss: name,
          temperature: 2,
          alpha: 0.7,
          gradient: !isExpanded(student.layout),
        };
        const strided = prepareLoss(gpu, { ...settings, student, teacher, targets });
        const copied = prepareLoss(gpu, {
          ...settings,
          student: contiguous(student),
          teacher: contiguous(teacher),
          targets: contiguous(targets),
        });
        await execute(gpu, (recorder) => {
          strided.record(recorder);
          copied.record(recorder);
        });
        const [actual, expected] = [await strided.read(), await copied.read()];
        expect(actual.ce).toEqual(expected.ce);
        expect(actual.kd).toEqual(expected.kd);
        expect(actual.gradient).toEqual(expected.gradient);
        expect(actual.disturbed).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  const isExpanded = ({ shape, strides }: Layout) =>
    shape.some((size, d) => size > 1 && strides[d] === 0);

  /** (B, T, V) from any view: with dimensions of size 1 in front, or without the first ones. */
  function threeDimensions(view: Layout): Layout {
    let layout = view;
    while (layout.rank < 3) layout = layout.unsqueeze(0);
    while (layout.rank > 3) layout = layout.select(0, 0);
    return layout;
  }
});
