// Records the default run, which the page shows before anything has loaded: the same engine, in
// Node. Writes public/recorded/default.json.
//
//   npm run record
//
// The teacher is the built-in one, which our own kernels run from its safetensors.

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { textOf } from '../built-in';
import { DEFAULTS } from '../config';
import { decodeCorpus } from '../data/corpus';
import { loadTokenizer } from '../data/tokenizer';
import type { EvaluationRecord, StepRecord } from '../distill/records';
import { Run } from '../distill/run';
import { teacherFromWeights } from '../distill/teacher/engine';
import { readSafetensors } from '../files/safetensors';
import { openGpu } from '../gpu/device';
import { parseConfig } from '../model/families';
import { loadWeights } from '../model/weights';
import { openDawn } from './dawn';

const FOLDER = `public/models/${DEFAULTS.teacher_model}`;
const CORPUS = `public/${textOf(DEFAULTS).file}`;

const gpu = await openGpu(await openDawn());
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
const records: StepRecord[] = [];
const evaluations: EvaluationRecord[] = [];
const run = await Run.create({
  gpu,
  config: DEFAULTS,
  tokenizer,
  teacherConfig,
  documents: [tokenizer.encode(decodeCorpus(CORPUS, await readFile(CORPUS)))],
  makeTeacher: (gpu, shape) => teacherFromWeights(gpu, teacherWeights, teacherConfig, shape),
  events: {
    stage: (stage, detail) => console.log(`${stage}: ${detail}`),
    record: (record) => records.push(record),
    evaluation: (record) => {
      evaluations.push(record);
      const { step, studentPerplexity, teacherPerplexity, kl } = record;
      console.log(
        `Step ${step}: PPL=${studentPerplexity?.toFixed(2)}, ` +
          `teacher ${teacherPerplexity?.toFixed(2)}, KL ${kl?.toFixed(4)}`,
      );
    },
  },
});
while (!run.done) await run.advance();
await run.drain();
const { dtype, studentParameters, teacherParameters, trainTokens, heldOutTokens } = run;
const { dispatchesPerStep, submissionsPerStep } = run;
const { batch_size, max_length, gradient_accumulation } = DEFAULTS;
const recording = {
  date: new Date().toISOString(),
  config: {},
  adapter: gpu.adapter,
  run: {
    dtype: dtype === 'f16' ? 'float16' : 'float32',
    studentParameters,
    teacherParameters,
    trainTokens,
    heldOutTokens,
    vocabularySize: teacherConfig.vocabularySize,
    tokensPerStep: batch_size * max_length * gradient_accumulation,
    dispatchesPerStep,
    submissionsPerStep,
  },
  records,
  evaluations,
};
await mkdir('public/recorded', { recursive: true });
// An f32 holds seven digits; more would only make the file longer.
const short = (_: string, value: unknown) =>
  typeof value === 'number' ? Number(value.toPrecision(7)) : value;
await writeFile('public/recorded/default.json', `${JSON.stringify(recording, short)}\n`);
console.log(
  `Wrote public/recorded/default.json: ${records.length} steps, ${evaluations.length} evaluations.`,
);
process.exit(0);
