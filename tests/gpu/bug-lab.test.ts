// The Bug Lab's experiments on the built-in models: what each column shows, where it ends, and that
// nothing stays on the GPU.

import { readFile } from 'node:fs/promises';
import { beforeAll, expect, it } from 'vitest';
import { DEFAULTS } from '../../src/config';
import { decodeCorpus } from '../../src/data/corpus';
import { loadTokenizer } from '../../src/data/tokenizer';
import { type BugLabOptions, runExperiment } from '../../src/distill/bug-lab/experiments';
import type { BugLabColumn, BugLabReport, Experiment } from '../../src/distill/bug-lab/records';
import { examine } from '../../src/doctor/examine';
import { readSafetensors } from '../../src/files/safetensors';
import { Gpu } from '../../src/gpu/device';
import { parseConfig } from '../../src/model/families';
import { loadWeights } from '../../src/model/weights';
import { openTestDevice } from './harness';

const FOLDER = 'public/models/moby-teacher';
const CORPUS = 'public/corpus/moby-dick.txt';
const V = 1024;
const STORY = {
  kind: 'replay',
  batchSize: 4,
  contextLength: 32,
  where: 'evaluation',
  errors: 'swallowed',
} as const;
const REFUSAL =
  "view size is not compatible with input tensor's size and stride (at least one dimension " +
  'spans across two contiguous subspaces). Use .reshape(...) instead.\n' +
  `view([-1, ${V}]) on sizes [4, 31, ${V}], strides [${32 * V}, ${V}, 1], offset 0`;
/**
 * One rounding step of f16. The columns compute the same sums, so they should not differ at all.
 */
const F16_ROUNDING = 2 ** -10;

let parts: BugLabOptions;

beforeAll(async () => {
  const gpu = await openTestDevice();
  const teacherConfig = parseConfig(JSON.parse(await readFile(`${FOLDER}/config.json`, 'utf8')));
  const tokenizer = await loadTokenizer(FOLDER, {
    read: (path) => readFile(path, 'utf8'),
    vocabularySize: teacherConfig.vocabularySize,
  });
  const file = `${FOLDER}/model.safetensors`;
  const teacherWeights = loadWeights(
    readSafetensors(await readFile(file), file),
    teacherConfig,
    file,
  );
  const tokens = tokenizer.encode(decodeCorpus(CORPUS, await readFile(CORPUS)));
  parts = { gpu, tokenizer, tokens, teacherConfig, teacherWeights };
});

/** The device of an f16 adapter, also as one without f16 has it. */
const inPrecision = (f16: boolean): Gpu => new Gpu(parts.gpu.device, { ...parts.gpu.adapter, f16 });

/** Runs an experiment until `stop`, or to its end, and checks that nothing stays on the GPU. */
async function run(
  experiment: Experiment,
  stop: (report: BugLabReport) => boolean = () => false,
  gpu = parts.gpu,
) {
  const before = gpu.memory.totals();
  const reports: BugLabReport[] = [];
  for await (const report of runExperiment({ ...parts, gpu }, experiment)) {
    reports.push(report);
    if (stop(report)) break;
  }
  expect(gpu.memory.totals()).toEqual(before);
  const of = <K extends BugLabReport['kind']>(kind: K, column: BugLabColumn) =>
    reports.filter((report): report is Extract<BugLabReport, { kind: K }> => {
      return report.kind === kind && report.column === column;
    });
  return {
    reports,
    attempts: (column: BugLabColumn) => of('step', column).map(({ attempt }) => attempt),
    losses: (column: BugLabColumn) =>
      of('step', column).map(({ attempt }) => attempt.record?.loss as number),
    records: (column: BugLabColumn) => of('step', column).map(({ attempt }) => attempt.record),
    evaluations: (column: BugLabColumn) => of('evaluation', column),
    ended: (column: BugLabColumn) => of('ended', column),
    picture: (column: BugLabColumn) => of('attention', column)[0].picture,
  };
}

type Lab = Awaited<ReturnType<typeof run>>;
const perplexities = (lab: Lab, column: BugLabColumn) =>
  lab.evaluations(column).map(({ record }) => record.studentPerplexity as number);

function expectFalls(losses: number[]): void {
  expect(losses.every(Number.isFinite)).toBe(true);
  expect(losses.at(-1)).toBeLessThan(0.9 * losses[0]);
}

function expectSame(actual: number[], expected: number[]): void {
  expect(actual.length).toBe(expected.length);
  for (const [i, value] of expected.entries()) {
    expect(Math.abs(actual[i] - value), `number ${i}`).toBeLessThanOrEqual(
      F16_ROUNDING * Math.abs(value),
    );
  }
}

/** The last column's evaluation after a third of the steps, enough to see training work. */
const evaluatedStep8 = (report: BugLabReport) =>
  report.kind === 'evaluation' && report.column === 'strided' && report.record.step === 8;

// In f32, evaluate.test.ts and loss-paths.test.ts compare the same three paths.
it('replay: view evaluates nothing; strided copies nothing', async () => {
  const lab = await run(STORY);
  const evaluated = [0, 8, 16, 24];
  for (const { record } of lab.evaluations('view')) {
    expect(record).toMatchObject({
      tried: 4,
      succeeded: 0,
      failed: 4,
      tokens: 0,
      firstError: REFUSAL,
      bytesCopied: 0,
    });
    expect(record.studentPerplexity).toBeUndefined();
  }
  // Student and teacher logits of four batches, f32.
  const copied = 4 * 2 * 4 * 31 * V * 4;
  for (const [column, bytesCopied] of [
    ['reshape', copied],
    ['strided', 0],
  ] as const) {
    for (const { record } of lab.evaluations(column)) {
      expect(record).toMatchObject({
        tried: 4,
        succeeded: 4,
        failed: 0,
        tokens: 4 * 4 * 31,
        bytesCopied,
      });
    }
  }
  for (const column of ['view', 'reshape', 'strided'] as const) {
    expect(lab.attempts(column).map(({ step }) => step)).toEqual(
      Array.from({ length: 24 }, (_, i) => i + 1),
    );
    expect(
      lab
        .attempts(column)
        .every(({ milliseconds, bytesCopied }) => milliseconds > 0 && bytesCopied === 0),
    ).toBe(true);
    expect(lab.evaluations(column).map(({ record }) => record.step)).toEqual(evaluated);
    expect(lab.ended(column)).toEqual([{ kind: 'ended', column }]);
    // The failing evaluation does not make the training loss flat.
    expectFalls(lab.losses(column));
    expectSame(lab.losses(column), lab.losses('strided'));
    const [before, ...after] = lab.evaluations(column).map(({ weightChange }) => weightChange);
    expect(before).toBe(0);
    for (const change of after) expect(change).toBeGreaterThan(0.01);
  }
  expectSame(perplexities(lab, 'reshape'), perplexities(lab, 'strided'));
});

it('replay in training: view fails, reshape copies three slices a step, strided none', async () => {
  const lab = await run({ ...STORY, where: 'training' }, evaluatedStep8);
  for (const attempt of lab.attempts('view'))
    expect(attempt).toMatchObject({ error: REFUSAL, bytesCopied: 0 });
  expect(lab.attempts('view')).toHaveLength(8);
  expect(lab.records('view').every((record) => record === undefined)).toBe(true);
  expect(lab.evaluations('view').map(({ weightChange }) => weightChange)).toEqual([0, 0]);
  // The student's slice, its gradient back, the teacher's slice: f32 each.
  for (const { bytesCopied } of lab.attempts('reshape'))
    expect(bytesCopied).toBe(3 * 4 * 31 * V * 4);
  for (const { bytesCopied } of lab.attempts('strided')) expect(bytesCopied).toBe(0);
  expectFalls(lab.losses('strided'));
  expectSame(lab.losses('reshape'), lab.losses('strided'));
  expectSame(perplexities(lab, 'reshape'), perplexities(lab, 'strided'));
});

for (const [name, change] of [
  ['batch size 1', { batchSize: 1 }],
  ['context 2', { contextLength: 2 }],
] as const) {
  it(`replay with ${name}: view works, and reshape has nothing to copy`, async () => {
    const lab = await run({ ...STORY, ...change, where: 'training' }, evaluatedStep8);
    for (const column of ['view', 'reshape', 'strided'] as const) {
      expect(lab.attempts(column)).toHaveLength(8);
      for (const { record } of lab.evaluations(column))
        expect(record).toMatchObject({ succeeded: 4, bytesCopied: 0 });
      for (const attempt of lab.attempts(column))
        expect(attempt).toMatchObject({ bytesCopied: 0, record: { applied: true } });
      expectSame(lab.losses(column), lab.losses('strided'));
      expectSame(perplexities(lab, column), perplexities(lab, 'strided'));
    }
  });
}

it.each(['evaluation', 'training'] as const)(
  'errors raised in %s end the column view, and no other',
  async (where) => {
    const lab = await run(
      { ...STORY, where, errors: 'raised' },
      (report) => report.kind === 'step' && report.attempt.step === 2,
    );
    expect(lab.reports[0]).toEqual({ kind: 'ended', column: 'view', error: REFUSAL });
    expect(lab.reports.filter(({ column }) => column === 'view')).toHaveLength(1);
    expect(lab.records('reshape')[0]?.applied).toBe(true);
  },
);

/** The causes' reports, which two tests read. */
const causes = new Map<boolean, Lab>();

/** The last column's evaluation after half of the steps. */
const evaluatedStep6 = (report: BugLabReport) =>
  report.kind === 'evaluation' && report.column === 'detached' && report.record.step === 6;

it.each([
  { precision: 'f16', f16: true, scale: 2 ** 32, steps: 12 },
  { precision: 'f32', f16: false, scale: Number.POSITIVE_INFINITY, steps: 6 },
])('each cause has its signature in $precision', async ({ f16, scale, steps }) => {
  const stop = steps === 12 ? undefined : evaluatedStep6;
  const lab = await run({ kind: 'causes' }, stop, inPrecision(f16));
  causes.set(f16, lab);
  for (const column of ['view', 'skipped', 'half-weights', 'detached'] as const) {
    expect(lab.attempts(column)).toHaveLength(steps);
    expect(lab.evaluations(column).map(({ record }) => record.step)).toEqual(
      [0, 6, 12].filter((step) => step <= steps),
    );
    const changes = lab.evaluations(column).map(({ weightChange }) => weightChange);
    if (column === 'view') {
      expect(changes[0]).toBe(0);
      expect(changes[1]).toBeGreaterThan(0.01);
      expectFalls(lab.losses(column));
    } else {
      expect(changes.every((change) => change === 0)).toBe(true);
      // The same batch and weights give the same bits.
      expect(new Set(lab.losses(column)).size).toBe(1);
      expect(lab.losses(column)[0]).toBeCloseTo(lab.losses('view')[0], 6);
      expect(new Set(perplexities(lab, column)).size).toBe(1);
      expect(perplexities(lab, column)[0]).toBeGreaterThan(1);
    }
    const succeeded = column === 'view' ? 0 : 4;
    for (const { record } of lab.evaluations(column))
      expect(record).toMatchObject({ tried: 4, succeeded });
  }
  for (const record of lab.records('skipped')) {
    expect(record).toMatchObject({ applied: false, appliedTotal: 0, gradNorm: Number.NaN });
    expect(record?.lossScale).toBe(scale);
  }
  expect(lab.records('skipped').at(-1)?.skippedTotal).toBe(steps);
  for (const record of lab.records('half-weights')) {
    expect(record).toMatchObject({ applied: true, skippedTotal: 0, learningRate: 5e-6 });
    expect(record?.gradNorm).toBeGreaterThan(0.1);
  }
  for (const record of lab.records('detached'))
    expect(record).toMatchObject({ applied: true, gradNorm: 0 });
  for (const record of lab.records('view'))
    expect(record).toMatchObject({ applied: true, skippedTotal: 0 });
});

it.each([
  ['float16', true],
  ['float32', false],
] as const)('the Doctor tells them apart, from their records alone (%s)', (dtype, f16) => {
  const lab = causes.get(f16);
  if (!lab) throw new Error('The causes did not run.');
  const config = { ...DEFAULTS, batch_size: 4, max_length: 32 };
  const facts = { dtype, studentParameters: 117_000, vocabularySize: V } as const;
  const gravest = (['view', 'skipped', 'half-weights', 'detached'] as const).map((column) => {
    const evaluations = lab.evaluations(column);
    return examine({
      config,
      facts,
      steps: lab.records(column).flatMap((record) => record ?? []),
      evaluations: evaluations.map(({ record, weightChange }) => ({ ...record, weightChange })),
    })[0]?.rule;
  });
  expect(gravest).toEqual([
    'evaluation-fails',
    'skipped-steps',
    'lost-updates',
    'disconnected-loss',
  ]);
});

it('heads: both train, but their attention differs; rows sum to 1 and are causal', async () => {
  const lab = await run({ kind: 'heads' });
  const [right, wrong] = [lab.picture('transposed'), lab.picture('reshaped')];
  for (const column of ['transposed', 'reshaped'] as const) {
    expectFalls(lab.losses(column));
    const { layer, heads, tokens } = lab.picture(column);
    const T = tokens.length;
    expect([layer, heads.length, T]).toEqual([0, 4, 32]);
    for (const head of heads) {
      expect(head).toHaveLength(T * T);
      for (let t = 0; t < T; t++) {
        const row = head.slice(t * T, (t + 1) * T);
        // Scores and log-sum-exp are f32 on both sides.
        expect(row.reduce((a, b) => a + b)).toBeCloseTo(1, 4);
        expect(row.slice(t + 1).every((p) => p === 0)).toBe(true);
      }
    }
  }
  expect(wrong.tokens).toEqual(right.tokens);
  // The losses end within a tenth of each other, but the pictures differ.
  const [end, other] = [lab.losses('transposed'), lab.losses('reshaped')].map(
    (losses) => losses.at(-1) as number,
  );
  expect(Math.abs(other - end)).toBeLessThan(0.1 * end);
  const apart = right.heads.flatMap((head, h) =>
    head.map((p, i) => Math.abs(p - wrong.heads[h][i])),
  );
  expect(Math.max(...apart)).toBeGreaterThan(0.1);
});

it('an experiment that fails throws the reason and frees its memory', async () => {
  const { gpu, tokens } = parts;
  const before = gpu.memory.totals();
  const all = async (changed: Partial<BugLabOptions>) => {
    for await (const _ of runExperiment({ ...parts, ...changed }, STORY));
  };
  await expect(all({ tokens: tokens.slice(0, 20) })).rejects.toThrow('20 tokens are too few');
  expect(gpu.memory.totals()).toEqual(before);
  // A device from which nothing can be read after 9 reads.
  let reads = 0;
  const read: Gpu['read'] = (...given) => {
    return ++reads > 9 ? Promise.reject(new Error('nothing can be read')) : gpu.read(...given);
  };
  const deaf: Gpu = Object.assign(Object.create(Gpu.prototype), gpu, { read });
  await expect(all({ gpu: deaf })).rejects.toThrow('nothing can be read');
  expect(gpu.memory.totals()).toEqual(before);
});
