// Evaluation and sampling on tiny random models against the slow twin, and the Bug Lab's bug, which
// must fail exactly where PyTorch's view does.
//
// Tolerances: sums of tens of f32 figures near 5 that are off by 1e-6 each, against float64: 1e-5
// relative. f16 models pass some ten roundings of 5e-4: 1e-2.

import { expect, it } from 'vitest';
import type { AnswerMarks } from '../../src/data/answers';
import type { Batch } from '../../src/data/batches';
import type { Tokenizer } from '../../src/data/tokenizer';
import { Evaluator, type TokenFigures } from '../../src/distill/evaluate';
import type { LossPath } from '../../src/distill/loss-paths';
import type { EvaluationRecord } from '../../src/distill/records';
import { generateByLogits, Sampler, sampleText } from '../../src/distill/sample';
import { teacherFromWeights } from '../../src/distill/teacher/engine';
import { keepLogits } from '../../src/distill/teacher/kept';
import type { Teacher, TeacherSource } from '../../src/distill/teacher/teacher';
import type { Gpu } from '../../src/gpu/device';
import { Pool } from '../../src/gpu/program';
import { DIAGNOSES } from '../../src/kernels/losses';
import type { Gpt2Config } from '../../src/model/gpt2/config';
import { gpt2 } from '../../src/model/gpt2/gpt2';
import { Arena, planArena } from '../../src/model/parameters';
import * as reference from '../../src/reference';
import { Layout } from '../../src/tensor/layout';
import { Random } from '../../src/tensor/random';
import { batchOf, referenceWeights, TINY, weightsOf } from './students';
import { download, LANES, openVariant, type Storage, testVariants } from './variants';

const TEACHER: Gpt2Config = { ...TINY, n_layer: 1, n_embd: 24, n_head: 3 };
const V = TINY.vocab_size;
/** Of the training loss; only one of the entropies depends on it. */
const TEMPERATURE = 2;

interface Models {
  gpu: Gpu;
  pool: Pool;
  arena: Arena;
  teacher: Teacher;
}

/** Makes a student and a teacher of our engine for `body`, and frees them afterwards. */
async function withModels(
  gpu: Gpu,
  [B, T]: [number, number],
  dtype: Storage,
  body: (models: Models) => Promise<void>,
) {
  const pool = new Pool(gpu);
  const arena = new Arena(gpu, planArena(gpt2(TINY).parameters), dtype, 'weights', 'student');
  arena.write(weightsOf(TINY));
  const teacher = await teacherFromWeights(gpu, weightsOf(TEACHER, 2), gpt2(TEACHER), {
    B,
    T,
    dtype,
  });
  await body({ gpu, pool, arena, teacher });
  await teacher.dispose();
  arena.destroy();
  pool.destroy();
}

async function evaluate(
  { gpu, pool, arena, teacher }: Omit<Models, 'teacher'> & { teacher?: TeacherSource },
  shape: [number, number],
  path: LossPath,
  batches: Batch[],
  answers?: AnswerMarks,
  onFigures?: (batch: Batch, figures: TokenFigures) => void,
) {
  const student = gpt2(TINY).withWeights(arena);
  const evaluator = new Evaluator(gpu, pool, student, teacher, shape, path, { answers });
  const record = await evaluator.run(batches, 40, { temperature: TEMPERATURE, onFigures });
  evaluator.destroy();
  return record;
}

/** The expected record, from the slow twin: logits[:, :-1] against tokens[:, 1:]. */
function truth([B, T]: [number, number], batches: Batch[]) {
  const sums = { student: 0, teacher: 0, kl: 0, agreement: 0, tokens: 0 };
  const diagnoses = Object.fromEntries(DIAGNOSES.map((name) => [name, 0]));
  const perToken = { kl: [] as number[], confidence: [] as number[] };
  for (const { inputs, targets } of batches) {
    const logits = (config: Gpt2Config, salt: number) => ({
      data: reference.gpt2Forward(
        referenceWeights(config, weightsOf(config, salt)),
        config,
        inputs,
        B,
        T,
      ).logits,
      layout: Layout.contiguous([B, T, V]).slice(1, 0, -1),
    });
    // The target of position t is the label of position t + 1.
    const labels = { data: targets, layout: Layout.contiguous([B, T]).slice(1, 0, -1) };
    const rows = reference.evaluateRows(logits(TINY, 1), logits(TEACHER, 2), labels);
    const sum = (values: Float64Array) => values.reduce((a, b) => a + b, 0);
    sums.student += sum(rows.studentNll);
    sums.teacher += sum(rows.teacherNll);
    sums.kl += sum(rows.kl);
    sums.agreement += sum(rows.agreement);
    sums.tokens += rows.valid;
    const compared = [logits(TINY, 1), logits(TEACHER, 2), labels] as const;
    const diagnosed = reference.diagnoseRows(...compared, { temperature: TEMPERATURE });
    for (const name of DIAGNOSES) diagnoses[name] += sum(diagnosed[name]);
    perToken.kl.push(...rows.kl);
    perToken.confidence.push(...diagnosed.confidence);
  }
  return {
    perToken,
    diagnoses: DIAGNOSES.map((name) => diagnoses[name] / sums.tokens),
    tokens: sums.tokens,
    studentPerplexity: Math.exp(sums.student / sums.tokens),
    teacherPerplexity: Math.exp(sums.teacher / sums.tokens),
    kl: sums.kl / sums.tokens,
    agreement: sums.agreement / sums.tokens,
  };
}

type Figures = Pick<EvaluationRecord, 'studentPerplexity' | 'teacherPerplexity' | 'kl'>;
const figures = (record: Figures) =>
  [record.studentPerplexity, record.teacherPerplexity, record.kl].map(
    (value) => value ?? Number.NaN,
  );

const SHAPE: [number, number] = [3, 7];
const batches = [
  batchOf(TINY, ...SHAPE, 1, 0),
  batchOf(TINY, ...SHAPE, 2, 2),
  batchOf(TINY, ...SHAPE, 3, 5),
];

testVariants('strided logits give the slow twin’s figures, and copy nothing', (gpu, dtype) =>
  withModels(gpu, SHAPE, dtype, async (models) => {
    const perToken = { kl: [] as number[], confidence: [] as number[] };
    const seen: Batch[] = [];
    const record = await evaluate(models, SHAPE, 'strided', batches, undefined, (batch, each) => {
      seen.push(batch);
      perToken.kl.push(...each.kl);
      perToken.confidence.push(...each.confidence);
    });
    const expected = truth(SHAPE, batches);
    expect(record).toMatchObject({
      step: 40,
      tried: 3,
      succeeded: 3,
      failed: 0,
      path: 'strided',
      bytesCopied: 0,
    });
    expect(record.firstError).toBeUndefined();
    expect(record.tokens).toBe(expected.tokens);
    const limit = dtype === 'f32' ? 1e-5 : 1e-2;
    expect(reference.relativeError(figures(record), figures(expected))).toBeLessThan(limit);
    expect(seen).toEqual(batches);
    for (const name of ['kl', 'confidence'] as const)
      expect(reference.relativeError(perToken[name], expected.perToken[name]), name).toBeLessThan(
        limit,
      );
    const diagnoses = DIAGNOSES.map((name) => record[name] ?? Number.NaN);
    // In f16 a near tie may change which token is among the likeliest.
    expect(reference.relativeError(diagnoses, expected.diagnoses)).toBeLessThan(
      dtype === 'f32' ? 1e-5 : 2e-2,
    );
    // A token agrees or not; in f16 a near tie may go the other way.
    expect(
      Math.abs((record.agreement as number) - expected.agreement) * record.tokens,
    ).toBeLessThan(dtype === 'f32' ? 1e-4 : 1.5);
    expect(record.milliseconds).toBeGreaterThan(0);
  }),
);

testVariants(
  'answers are counted that are right in every token',
  (gpu, dtype) =>
    withModels(gpu, SHAPE, dtype, async (models) => {
      const [, T] = SHAPE;
      const after = 5;
      /** Each position's most likely next token, by the slow twin. */
      const predicted = (config: Gpt2Config, salt: number, row: readonly number[]) => {
        const weights = referenceWeights(config, weightsOf(config, salt));
        const inputs = Uint32Array.from({ length: T }, (_, t) => row[t] ?? 0);
        const { logits } = reference.gpt2Forward(weights, config, inputs, 1, T);
        return inputs.map((_, t) => reference.argmax(logits.slice(t * V, (t + 1) * V)));
      };
      // A line's end and two questions: the student knows that the first has an empty answer, and
      // not that the second has.
      const known = (end: number, question: number) =>
        predicted(TINY, 1, [end, question, after])[2] === end;
      const ids = Array.from({ length: V }, (_, id) => id).filter((id) => id !== after);
      const questions = (end: number) => ids.filter((id) => id !== end);
      const end = ids.find((end) => questions(end).some((question) => known(end, question)))!;
      const easy = questions(end).find((question) => known(end, question))!;
      const begun = (question: number) => predicted(TINY, 1, [end, question, after])[2];
      // It begins this answer rightly, and goes on after it.
      const hard = questions(end).find((question) => {
        const start = begun(question);
        return start !== end && predicted(TINY, 1, [end, question, after, start])[3] !== end;
      })!;
      const start = begun(hard);
      const rows = [
        [end, easy, after, end, hard, after, end], // two whole lines
        [easy, after, end, hard, after, start, end], // a line without its start, and a whole one
        [end, hard, after, start, end, hard, after], // a whole line, and one without its end
      ];
      // First and last position of each row's answers.
      const answers = [
        [
          [3, 3],
          [6, 6],
        ],
        [[5, 6]],
        [[3, 4]],
      ];
      const inputs = Uint32Array.from(rows.flat());
      const targets = Int32Array.from(inputs, (_, i) => inputs[i + 1] ?? -100);
      const expected = { tried: 4, studentRight: 0, teacherRight: 0 };
      for (const [who, config, salt] of [
        ['studentRight', TINY, 1],
        ['teacherRight', TEACHER, 2],
      ] as const) {
        for (const [b, row] of rows.entries()) {
          const tokens = predicted(config, salt, row);
          for (const [first, last] of answers[b]) {
            const places = Array.from({ length: last - first + 1 }, (_, i) => first + i);
            if (places.every((t) => tokens[t - 1] === row[t])) expected[who]++;
          }
        }
      }
      // Some are right, and in the last row the right beginning is not enough.
      expect(predicted(TINY, 1, rows[2]).slice(2, 4)).not.toContain(end);
      expect(expected.studentRight).toBeGreaterThan(0);
      expect(expected.studentRight).toBeLessThan(expected.tried);
      const batch = { index: 0, inputs, targets };
      const record = await evaluate(models, SHAPE, 'strided', [batch], { after, end });
      expect(record.answers).toEqual(expected);
    }),
  ['one lane'],
  ['f32'],
);

testVariants(
  'kept logits give the same bits, and the teacher runs once for each batch',
  (gpu, dtype) =>
    withModels(gpu, SHAPE, dtype, async (models) => {
      const seen: Batch['inputs'][] = [];
      const { teacher } = models;
      const counted = {
        logits: teacher.logits,
        enqueue: (...[batch, commands]: Parameters<Teacher['enqueue']>) => {
          seen.push(batch.inputs);
          return teacher.enqueue(batch, commands);
        },
      };
      const evaluated = async (source: TeacherSource, path: LossPath) =>
        figures(await evaluate({ ...models, teacher: source }, SHAPE, path, batches));
      const sizes = { B: SHAPE[0], T: SHAPE[1], V };
      // One of the three batches is not kept.
      const kept = keepLogits(gpu, models.pool, counted, { ...sizes, batches: 2 });
      if (!kept) throw new Error('The logits of a tiny model must fit.');
      for (const path of ['strided', 'reshape', 'strided'] as const)
        expect(await evaluated(kept.source, path)).toEqual(await evaluated(teacher, path));
      expect(seen.map((inputs) => batches.findIndex((batch) => batch.inputs === inputs))).toEqual([
        0, 1, 2, 2, 2,
      ]);
      kept.destroy();
      const large = { ...sizes, batches: 2 ** 20 };
      expect(keepLogits(gpu, models.pool, counted, large)).toBe(undefined);
    }),
);

testVariants(
  'reshape gives the same figures from copies, and counts their bytes',
  (gpu, dtype) =>
    withModels(gpu, SHAPE, dtype, async (models) => {
      const strided = await evaluate(models, SHAPE, 'strided', batches);
      const record = await evaluate(models, SHAPE, 'reshape', batches);
      const [B, T] = SHAPE;
      // Student and teacher logits, both f32, of each of three batches.
      expect(record).toMatchObject({
        succeeded: 3,
        path: 'reshape',
        bytesCopied: 3 * 2 * B * (T - 1) * V * 4,
        tokens: strided.tokens,
      });
      // The same numbers at other addresses.
      expect([...figures(record), record.agreement]).toEqual([
        ...figures(strided),
        strided.agreement,
      ]);
    }),
  ['one lane'],
);

it('view fails on every batch of more than one sequence, in PyTorch’s words', async () => {
  await withModels(await openVariant('one lane'), SHAPE, 'f32', async (models) => {
    const record = await evaluate(models, SHAPE, 'view', batches);
    expect(record).toMatchObject({
      tried: 3,
      succeeded: 0,
      failed: 3,
      tokens: 0,
      path: 'view',
      bytesCopied: 0,
    });
    expect(record.firstError).toBe(
      "view size is not compatible with input tensor's size and stride (at least one dimension " +
        'spans across two contiguous subspaces). Use .reshape(...) instead.\n' +
        `view([-1, ${V}]) on sizes [3, 6, ${V}], strides [${7 * V}, ${V}, 1], offset 0`,
    );
    for (const name of ['studentPerplexity', 'teacherPerplexity', 'kl', 'agreement'] as const) {
      expect(record[name], name).toBeUndefined();
    }
  });
});

it.each([
  ['one sequence', [1, 7]],
  ['two tokens', [3, 2]],
] as [string, [number, number]][])(
  'view works with %s, where PyTorch’s does, and reshape then copies nothing',
  async (_, shape) => {
    const few = [batchOf(TINY, ...shape, 1), batchOf(TINY, ...shape, 2)];
    await withModels(await openVariant(LANES[LANES.length - 1]), shape, 'f32', async (models) => {
      const expected = truth(shape, few);
      for (const path of ['view', 'reshape'] as const) {
        const record = await evaluate(models, shape, path, few);
        expect(record).toMatchObject({
          tried: 2,
          succeeded: 2,
          failed: 0,
          bytesCopied: 0,
          path,
          tokens: expected.tokens,
        });
        expect(reference.relativeError(figures(record), figures(expected))).toBeLessThan(1e-5);
      }
    });
  },
);

it('without a valid token every figure is undefined', async () => {
  await withModels(await openVariant('one lane'), SHAPE, 'f32', async (models) => {
    const record = await evaluate(models, SHAPE, 'strided', [batchOf(TINY, ...SHAPE, 1, 5)]);
    expect(record).toMatchObject({ tried: 1, succeeded: 1, failed: 0, tokens: 0 });
    expect([
      record.studentPerplexity,
      record.teacherPerplexity,
      record.kl,
      record.agreement,
    ]).toEqual(Array(4).fill(undefined));
    expect(await evaluate(models, SHAPE, 'strided', [])).toMatchObject({
      tried: 0,
      succeeded: 0,
      failed: 0,
      tokens: 0,
    });
  });
});

it('a failing batch does not change the figures of the others', async () => {
  await withModels(await openVariant('one lane'), SHAPE, 'f32', async (models) => {
    let calls = 0;
    const broken: Teacher = {
      ...models.teacher,
      enqueue: async (...args) => {
        if (++calls === 2) throw new Error('the teacher stumbled');
        return models.teacher.enqueue(...args);
      },
    };
    const record = await evaluate({ ...models, teacher: broken }, SHAPE, 'strided', [
      batches[0],
      batches[1],
      batches[0],
    ]);
    expect(record).toMatchObject({
      tried: 3,
      succeeded: 2,
      failed: 1,
      firstError: 'the teacher stumbled',
    });
    expect(
      reference.relativeError(figures(record), figures(truth(SHAPE, [batches[0]]))),
    ).toBeLessThan(1e-5);
    expect(record.tokens).toBe(2 * truth(SHAPE, [batches[0]]).tokens);
  });
});

it('without a teacher the record has the student’s perplexity only', async () => {
  await withModels(await openVariant('one lane'), SHAPE, 'f32', async (models) => {
    const record = await evaluate({ ...models, teacher: undefined }, SHAPE, 'strided', batches);
    expect(
      reference.relativeError(
        [record.studentPerplexity as number],
        [truth(SHAPE, batches).studentPerplexity],
      ),
    ).toBeLessThan(1e-5);
    expect(record).not.toHaveProperty('teacherPerplexity');
    expect(record).not.toHaveProperty('kl');
  });
});

const [, T] = SHAPE;

testVariants(
  'each word is drawn from the slow twin’s logits, for prompts shorter and longer than the context',
  (gpu, dtype) =>
    withModels(gpu, SHAPE, dtype, async ({ pool, arena, teacher }) => {
      const sampler = Sampler.create(gpu, pool, gpt2(TINY).withWeights(arena), T);
      const rolls = Float32Array.of(0.1, 0.5, 0.9);
      for (const length of [1, T - 1, T, T + 5]) {
        const start = Uint32Array.from({ length }, (_, i) => (i * 5 + length) % V);
        for (const [config, salt, write] of [
          [TINY, 1, sampler.generate],
          [TEACHER, 2, teacher.generate],
        ] as const) {
          const who = `${length} tokens, ${salt === 1 ? 'student' : 'teacher'}`;
          const weights = referenceWeights(config, weightsOf(config, salt));
          const tokens = [...start, ...(await write(start, rolls))];
          expect(tokens).toHaveLength(length + rolls.length);
          let logits: ArrayLike<number> = [];
          for (const [i, roll] of rolls.entries()) {
            const seen = tokens.slice(0, length + i).slice(-T);
            logits = reference.gpt2Forward(weights, config, seen, 1, seen.length).logits.slice(-V);
            const { tokens: likeliest, ends } = reference.tokenShares(logits, 40, 0.8);
            const place = likeliest.indexOf(tokens[length + i]);
            // In f16 neighbours in the order may change places, and take their share with them.
            const near = dtype === 'f32' ? 1e-4 : 0.1;
            expect(roll, who).toBeGreaterThan((ends[place - 1] ?? 0) - near);
            expect(roll, who).toBeLessThan(ends[place] + near);
          }
          const next = salt === 1 ? sampler.voice() : teacher.next;
          const read = await next(Uint32Array.from(tokens.slice(0, -1)));
          const error = reference.relativeError(read, logits);
          expect(error, who).toBeLessThan(dtype === 'f32' ? 1e-5 : 1e-2);
          if (salt === 1) expect(read, who).toEqual(await download(gpu, sampler.logits));
        }
      }
      sampler.destroy();
    }),
  ['one lane'],
);

it('the same seed gives the same text, another seed another', async () => {
  // The text of a token is its id, and no token ends the text.
  const tokenizer = {
    encode: (text: string) => Uint32Array.from(text, (letter) => letter.codePointAt(0)! % V),
    decode: (tokens: ArrayLike<number>) => Array.from(tokens).join(' '),
    endOfText: undefined,
  } as unknown as Tokenizer;
  await withModels(await openVariant('one lane'), SHAPE, 'f32', async ({ gpu, pool, arena }) => {
    const sampler = Sampler.create(gpu, pool, gpt2(TINY).withWeights(arena), T);
    const write = (seed: number, prompt: string) =>
      sampleText(sampler.generate, tokenizer, { prompt, count: 12, random: new Random(seed) });
    const text = await write(1, 'whale');
    expect(text.split(' ')).toHaveLength(12);
    expect(await write(1, 'whale')).toBe(text);
    expect(await write(2, 'whale')).not.toBe(text);
    expect((await write(1, '')).split(' '), 'an empty prompt has a continuation too').toHaveLength(
      12,
    );
    expect(
      await sampleText(sampler.generate, tokenizer, {
        prompt: 'a',
        count: 0,
        random: new Random(1),
      }),
    ).toBe('');
    sampler.destroy();
  });
});

it('the text ends at the end-of-text token, on the GPU and on the CPU', async () => {
  const tokenizer = {
    encode: () => Uint32Array.of(5),
    decode: (tokens: ArrayLike<number>) => Array.from(tokens).join(' '),
    endOfText: 2,
  } as unknown as Tokenizer;
  const asked = { prompt: 'a', count: 4, random: new Random(1) };
  expect(await sampleText(async () => Uint32Array.of(7, 2, 8, 2), tokenizer, asked)).toBe('7');
  expect(await sampleText(async () => Uint32Array.of(7, 3, 8, 9), tokenizer, asked)).toBe(
    '7 3 8 9',
  );
  // Tokens 0 to 2 in turn, each far likelier than the others.
  const next = async (tokens: Uint32Array) =>
    Float32Array.from([0, 1, 2], (v) => (v === tokens.length - 1 ? 99 : 0));
  expect(await sampleText(generateByLogits(next), tokenizer, { ...asked, count: 3 })).toBe('0 1');
});

it('samples on the CPU as the slow twin does', async () => {
  const logits = Float32Array.from(reference.numbers(300, 7, 4));
  const { tokens: likeliest, ends } = reference.tokenShares(logits, 40, 0.8);
  // Rolls in the middle of each token's share; and equal logits, where the lowest ids come first.
  const rolls = Float32Array.from(ends, (end, i) => ((ends[i - 1] ?? 0) + end) / 2);
  expect([...(await generateByLogits(async () => logits)(Uint32Array.of(1), rolls))]).toEqual(
    likeliest,
  );
  const equal = generateByLogits(async () => new Float32Array(50));
  expect([...(await equal(Uint32Array.of(1), Float32Array.of(0, 0.5, 0.999)))]).toEqual([
    0, 20, 39,
  ]);
});
