// A run with a twin: neither student feels the other. Each has the bits that it has alone, also
// when both continue from a snapshot.

import { readFile } from 'node:fs/promises';
import { beforeAll, expect, it } from 'vitest';
import { type Config, DEFAULTS } from '../../src/config';
import { decodeCorpus } from '../../src/data/corpus';
import { loadTokenizer } from '../../src/data/tokenizer';
import type { EvaluationRecord, SampleRecord, StepRecord } from '../../src/distill/records';
import { Run } from '../../src/distill/run';
import { planMemory } from '../../src/distill/run-models';
import { teacherFromWeights } from '../../src/distill/teacher/engine';
import type { Snapshot } from '../../src/distill/training-state';
import { readSafetensors } from '../../src/files/safetensors';
import type { Gpu } from '../../src/gpu/device';
import { parseConfig } from '../../src/model/families';
import type { Architecture } from '../../src/model/family';
import { loadWeights } from '../../src/model/weights';
import { openTestDevice } from './harness';

const FOLDER = 'public/models/moby-teacher';
const CORPUS = 'public/corpus/moby-dick.txt';
/** Enough of the book for ten batches. */
const CHARACTERS = 60_000;
const SMALL: Config = {
  ...DEFAULTS,
  student_layers: 1,
  student_width: 32,
  batch_size: 2,
  max_length: 16,
  train_steps: 6,
  warmup_steps: 0,
  eval_steps: 3,
  eval_batches: 1,
  sample_tokens: 4,
};

let gpu: Gpu;
let teacherConfig: Architecture;
let base: Pick<
  Parameters<typeof Run.create>[0],
  'gpu' | 'tokenizer' | 'teacherConfig' | 'documents' | 'makeTeacher'
>;

beforeAll(async () => {
  gpu = await openTestDevice();
  teacherConfig = parseConfig(JSON.parse(await readFile(`${FOLDER}/config.json`, 'utf8')));
  const tokenizer = await loadTokenizer(FOLDER, {
    read: (path) => readFile(path, 'utf8'),
    vocabularySize: teacherConfig.vocabularySize,
  });
  const file = `${FOLDER}/model.safetensors`;
  const weights = loadWeights(readSafetensors(await readFile(file), file), teacherConfig, file);
  const text = decodeCorpus(CORPUS, await readFile(CORPUS)).slice(0, CHARACTERS);
  base = {
    gpu,
    tokenizer,
    teacherConfig,
    documents: [{ ids: tokenizer.encode(text) }],
    makeTeacher: (gpu, shape) => teacherFromWeights(gpu, weights, teacherConfig, shape),
  };
});

interface Student {
  records: StepRecord[];
  evaluations: EvaluationRecord[];
}

async function train(changes: Partial<Config>, snapshot?: Snapshot) {
  const config = { ...SMALL, ...changes };
  const first: Student = { records: [], evaluations: [] };
  const twin: Student = { records: [], evaluations: [] };
  const samples: SampleRecord[] = [];
  let middle: Snapshot | undefined;
  const paces: (number | undefined)[] = [];
  const listener = ({ records, evaluations }: Student) => ({
    record: (record: StepRecord) => records.push(record),
    evaluation: ({ milliseconds: _, equalTimePace, ...figures }: EvaluationRecord) => {
      paces.push(equalTimePace);
      evaluations.push({ ...figures, milliseconds: 0 });
    },
  });
  const run = await Run.create(
    {
      ...base,
      config,
      events: {
        stage: () => undefined,
        ...listener(first),
        snapshot(taken) {
          if (taken.step === 3) middle = taken;
        },
        twin: listener(twin),
        sample: (sample) => samples.push(sample),
      },
    },
    snapshot,
  );
  while (!run.done) await run.advance();
  await run.drain();
  const memory = gpu.memory.totals();
  const { dtype, student } = run;
  await run.destroy();
  return { first, twin, samples, paces, middle, memory, plan: { gpu, config, dtype, student } };
}

it('both students of a run have the bits that each has alone', async () => {
  const alone = await train({});
  const both = await train({ twin: 'loss=ce' });
  const data = await train({ loss: 'ce' });
  expect(alone.twin).toEqual({ records: [], evaluations: [] });
  expect(both.first).toEqual(alone.first);
  expect(both.twin).toEqual(data.first);
  expect(both.twin.records.map(({ kd }) => kd)).toEqual(Array(6).fill(Number.NaN));
  expect(both.first.evaluations[0].kl).toBe(both.twin.evaluations[0].kl);
  expect(both.first.evaluations[2].kl).not.toBe(both.twin.evaluations[2].kl);
  // After steps 1, 3 and so on, where no evaluation is.
  expect(both.samples.map(({ step }) => step)).toEqual([1]);

  const planned = await planMemory({
    ...both.plan,
    makeTeacher: (counting, shape) => teacherFromWeights(counting, undefined, teacherConfig, shape),
  });
  expect(both.memory).toEqual(planned);

  const again = await train({ twin: 'loss=ce' }, both.middle);
  expect(again.first.records).toEqual(both.first.records.slice(3));
  expect(again.twin.records).toEqual(both.twin.records.slice(3));
});

it('a twin at another temperature and pace learns from the same teacher', async () => {
  const settings = { twin: 'temperature=4', twin_pace: 1.5 };
  const both = await train(settings);
  const alone = await train({ temperature: 4, train_steps: 9 });
  expect(both.twin.records).toEqual(alone.first.records);
  expect(both.twin.evaluations.map(({ step }) => step)).toEqual([0, 4, 9]);
  expect(both.twin.evaluations[2]).toEqual(alone.first.evaluations[3]);
  // Steps of both are timed once, before the last two evaluations of the twin.
  expect(both.paces.filter((pace) => pace !== undefined && pace > 0)).toHaveLength(2);
  const again = await train(settings, both.middle);
  expect(again.first.records).toEqual(both.first.records.slice(3));
  expect(again.twin.records).toEqual(both.twin.records.slice(4));
});
