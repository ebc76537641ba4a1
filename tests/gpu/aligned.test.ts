// Distillation between two vocabularies: the trainer's gradients against the reference, whatever
// the chunks; and a run from text, a GPT-2 with DialoGPT's tokenizer files (vocab.json, merges.txt)
// into a Llama with a tokenizer of SmolLM2's kind.

import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Config, DEFAULTS } from '../../src/config';
import { type AlignedBatch, NO_GROUP } from '../../src/data/aligned';
import type { Batch } from '../../src/data/batches';
import { trainBytePairs } from '../../src/data/bpe';
import { encodeAligned } from '../../src/data/split';
import type { Tokens } from '../../src/data/tokenizer';
import { studentFiles } from '../../src/distill/export/export';
import type { EvaluationRecord, StepRecord } from '../../src/distill/records';
import { Run } from '../../src/distill/run';
import { planMemory } from '../../src/distill/run-models';
import { openStudent } from '../../src/distill/student-start';
import { openTeacher, openTokenizer } from '../../src/distill/teacher/folder';
import { openTwoVocabularies, type TwoVocabularies } from '../../src/distill/vocabularies';
import { filesSource, type ModelSource } from '../../src/files/source';
import type { Gpu } from '../../src/gpu/device';
import { parseConfig } from '../../src/model/families';
import { initialWeights } from '../../src/model/parameters';
import { saveWeights } from '../../src/model/weights';
import * as reference from '../../src/reference';
import { Random } from '../../src/tensor/random';
import { readGoldenJson } from '../safetensors-fixture';
import { openTestDevice } from './harness';
import {
  batchOf,
  formulaLogits,
  LIVE,
  referenceWeights,
  startTrainer,
  TINY,
  weightsOf,
} from './students';
import { itOnce, type Storage, testVariants } from './variants';

const [B, T] = [2, 7];
const W = 29;
/** Relative norms, as in gradients.test.ts. */
const LIMIT: Record<Storage, number> = { f32: 1e-4, f16: 1e-2 };

/** In the first row; the second has none but its last token. */
const GROUPS: reference.GroupRows[] = [
  [0, 0, 0, 1],
  [1, 3, 2, 2],
  [4, 5, 4, 6],
  [13, 13, 13, 13],
];
const teacherBatch = batchOf({ vocab_size: W }, B, T, 5, 0);
const aligned: AlignedBatch = {
  ...teacherBatch,
  spans: new Uint32Array(4 * B * T).fill(NO_GROUP),
  groups: GROUPS.length,
};
for (const group of GROUPS)
  for (let row = group[0]; row <= group[1]; row++) aligned.spans.set(group, 4 * row);
const batch: Batch = { ...batchOf(TINY, B, T, 1, 0), aligned };

/** Every second of the teacher's tokens is one of the student's. */
const MATCHES = Int32Array.from({ length: W }, (_, w) => (w % 2 === 0 ? w + 3 : -1));

function expectedOf(gold: boolean) {
  const { temperature, alpha } = LIVE;
  const { vocab_size: V } = TINY;
  const weights = referenceWeights(TINY, weightsOf(TINY));
  const { logits, backward } = reference.runModel(weights, TINY, batch.inputs, B, T);
  const matched = Array.from({ length: V }, (_, v) => MATCHES.indexOf(v));
  const soft = reference.alignedLoss(
    { logits, V, targets: batch.targets },
    { logits: formulaLogits(aligned.inputs, W), V: W, targets: aligned.targets },
    GROUPS,
    { temperature, beta: DEFAULTS.kd_beta, ...(gold && { matched }) },
  );
  const hard = reference.distillationLoss(
    { kind: 'ce' },
    reference.contiguous(logits, [B, T, V]),
    undefined,
    reference.contiguous(batch.targets, [B, T]),
  );
  const weight = alpha * temperature ** 2;
  return {
    kd: soft.loss,
    loss: weight * soft.loss + (1 - alpha) * hard.loss,
    gradients: backward(
      hard.gradient.map((value, at) => (1 - alpha) * value + weight * soft.gradient[at]),
    ),
  };
}

for (const kd_loss of ['uld', 'gold'] as const) {
  testVariants(
    `the gradients of ${kd_loss} are the reference’s, whatever rows a chunk has`,
    async (gpu, dtype) => {
      const expected = expectedOf(kd_loss === 'gold');
      // All rows in one, and chunks of 5 rows, which cut a group.
      for (const rows of [B * T, 5]) {
        const run = await startTrainer(gpu, {
          batchSize: B,
          contextLength: T,
          dtype,
          kd_loss,
          teacherVocabulary: W,
          chunkElements: rows * TINY.vocab_size,
          ...(kd_loss === 'gold' && { matches: () => MATCHES }),
        });
        const record = await run.step([batch]);
        const error = reference.relativeError(
          [record.kd, record.loss],
          [expected.kd, expected.loss],
        );
        expect(error).toBeLessThan(LIMIT[dtype]);
        const gradients = await run.gradients();
        const names = [...gradients.keys()].filter((name) => !name.endsWith('attn.c_attn.bias'));
        const got = names.flatMap((name) => [...(gradients.get(name) as Float32Array)]);
        const want = names.flatMap((name) => [...expected.gradients[name].data]);
        expect(reference.relativeError(got, want)).toBeLessThan(LIMIT[dtype]);
        await run.end();
      }
    },
    ['one lane'],
  );
}

const STUDENT = parseConfig({
  model_type: 'llama',
  vocab_size: 400,
  hidden_size: 32,
  intermediate_size: 48,
  num_hidden_layers: 1,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 32,
  tie_word_embeddings: true,
});
const CONFIG: Config = {
  ...DEFAULTS,
  student_model: 'files',
  loss: 'mixed',
  kd_loss: 'gold',
  temperature: 1,
  batch_size: 4,
  max_length: 16,
  train_steps: 20,
  warmup_steps: 0,
  student_lr: 0.01,
  eval_batches: 2,
  eval_steps: 10,
  sample_tokens: 4,
};
const CHARACTERS = 40_000;

let gpu: Gpu;
let teacher: ModelSource;
let student: ModelSource;
let vocabularies: TwoVocabularies;
let documents: Tokens[];

const sourceOf = (files: Iterable<readonly [string, BlobPart]>): ModelSource =>
  filesSource(new Map([...files].map(([name, part]) => [name, new Blob([part])])));

async function begin(saved?: Run['snapshot']) {
  const opened = await openTeacher(teacher, { f16: gpu.adapter.f16, dtype: 'f32' });
  const records: StepRecord[] = [];
  const evaluations: EvaluationRecord[] = [];
  const notes: string[] = [];
  const run = await Run.create(
    {
      gpu,
      config: CONFIG,
      documents,
      ...vocabularies,
      teacherConfig: opened.sizes,
      makeTeacher: opened.make,
      student: await openStudent(CONFIG, teacher, opened.sizes, student, true),
      events: {
        stage: () => {},
        note: (text) => notes.push(text),
        record: (record) => records.push(record),
        evaluation: (record) => evaluations.push(record),
      },
    },
    saved,
  );
  return { run, records, evaluations, notes };
}

beforeAll(async () => {
  // A device of its own, because its memory is compared with the plan.
  gpu = await openTestDevice('aligned');
  const folder = 'public/models/moby-teacher';
  const read = async (name: string) => new Uint8Array(await readFile(`${folder}/${name}`));
  const { model, added_tokens } = JSON.parse(`${await readFile(`${folder}/tokenizer.json`)}`);
  for (const { id, content } of added_tokens) model.vocab[content] = id;
  teacher = sourceOf([
    ['config.json', await read('config.json')],
    ['vocab.json', JSON.stringify(model.vocab)],
    ['merges.txt', ['#version: 0.2', ...model.merges, ''].join('\n')],
    ['model.safetensors', await read('model.safetensors')],
  ]);
  const book = (await readFile('public/corpus/moby-dick.txt', 'utf8')).slice(30_000);
  const { json, config } = readGoldenJson<{
    tokenizers: Record<string, { json: { added_tokens: { content: string }[] }; config: object }>;
  }>('chat.json').tokenizers.smollm2;
  // Its form, with tokens of this text: the added ones come first.
  const first = json.added_tokens.map(({ content }) => content);
  const V = STUDENT.vocabularySize;
  const pairs = trainBytePairs(book.slice(0, CHARACTERS), V - first.length + 1);
  const tokens = [...first, ...pairs.tokens.slice(0, -1)];
  const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
  const tokenizerJson = { ...json, model: { type: 'BPE', vocab, merges: pairs.merges } };
  student = sourceOf([
    ['config.json', JSON.stringify(STUDENT.formatConfig('float32'))],
    ['tokenizer.json', JSON.stringify(tokenizerJson)],
    ['tokenizer_config.json', JSON.stringify(config)],
    ['model.safetensors', saveWeights(STUDENT, initialWeights(STUDENT.parameters, new Random(3)))],
  ]);
  const two = await openTwoVocabularies(CONFIG, teacher, 1024, student);
  if (!two) throw new Error('The two tokenizers are taken for one.');
  vocabularies = two;
  const { tokenizer, teacherTokenizer } = two;
  documents = encodeAligned([[book.slice(0, CHARACTERS)]], tokenizer, teacherTokenizer);
});

// The kernels of such a step are compared with the reference above, on either adapter.
itOnce(
  'DialoGPT’s kind teaches SmolLM2’s with its own tokenizer, and the log says how',
  async () => {
    const { run, records, evaluations, notes } = await begin();
    while (run.step < 15) await run.advance();
    const saved = await run.save();
    while (!run.done) await run.advance();
    await run.drain();

    const { student, dtype } = run;
    const { plan: makeTeacher } = await openTeacher(teacher, {
      f16: gpu.adapter.f16,
      dtype: 'f32',
    });
    const plan = { gpu, config: CONFIG, dtype, student, makeTeacher, ...vocabularies };
    expect(gpu.memory.totals()).toEqual(await planMemory(plan));
    expect(notes.join()).toMatch(
      /^Teacher and student have different vocabularies.*[\d,]+ aligned/,
    );

    const [before, , after] = evaluations;
    expect(after.studentPerplexity).toBeLessThan(0.7 * (before.studentPerplexity as number));
    const mean = (part: StepRecord[], name: 'kd' | 'loss') =>
      part.reduce((sum, record) => sum + record[name], 0) / part.length;
    expect(mean(records.slice(-5), 'kd')).toBeLessThan(mean(records.slice(0, 5), 'kd'));
    expect(mean(records.slice(-5), 'loss')).toBeLessThan(0.95 * mean(records.slice(0, 5), 'loss'));
    // Tokens of two vocabularies have no KL, and no perplexity to compare.
    for (const { kl, agreement, teacherPerplexity, overlap, klByPosition, sample } of evaluations) {
      expect([kl, agreement, teacherPerplexity, overlap, klByPosition]).toEqual(
        Array(5).fill(undefined),
      );
      expect(sample?.teacher.length).toBeGreaterThan(0);
    }
    expect(run.voices().teacher).toBeUndefined();
    await expect(run.passages()).rejects.toThrow('different vocabularies');

    const files = await studentFiles(
      {
        architecture: run.student,
        tokenizer: vocabularies.tokenizer,
        parameter: (name) => run.parameter(name),
      },
      { dtype: 'float32', card: () => '' },
    );
    const exported: [string, Blob][] = [];
    for (const { name, chunks } of files) {
      const parts: Uint8Array<ArrayBuffer>[] = [];
      for await (const part of chunks()) parts.push(part);
      exported.push([name, new Blob(parts)]);
    }
    const source = sourceOf(exported);
    expect((await openTeacher(source, { f16: false, dtype: 'f32' })).sizes.vocabularySize).toBe(
      400,
    );
    const own = await openTokenizer(source, 400);
    expect([...own.encode('The whale')]).toEqual([...vocabularies.tokenizer.encode('The whale')]);
    await run.destroy();

    const again = await begin(saved);
    while (!again.run.done) await again.run.advance();
    await again.run.drain();
    expect(again.records.map(({ loss }) => loss)).toEqual(
      records.slice(15).map(({ loss }) => loss),
    );
    await again.run.destroy();
  },
);

it('a loss that compares ids refuses such a pair, and names one that does not', async () => {
  const opened = await openTeacher(teacher, { f16: false, dtype: 'f32' });
  const config = { ...CONFIG, kd_loss: 'fkl' as const };
  expect(await openTwoVocabularies(config, teacher, 1024, student)).toBeUndefined();
  expect(
    await openTwoVocabularies({ ...CONFIG, twin: 'kd_loss=rkl' }, teacher, 1024, student),
  ).toBeUndefined();
  expect(
    await openTwoVocabularies({ ...CONFIG, twin: 'loss=ce' }, teacher, 1024, student),
  ).toBeDefined();
  await expect(openStudent(config, teacher, opened.sizes, student)).rejects.toThrow(
    /400 tokens, the teacher .* 1,024\..* or use loss=uld, which compares probabilities by rank\.$/,
  );
});

afterAll(() => gpu.idle());
