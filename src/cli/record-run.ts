// Records the presets that the page shows before anything has loaded: the same engine, in Node.
// Writes public/recorded/, all of it or the files whose names contain NAME.
//
//   npm run record [-- NAME]

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { textOf } from '../built-in';
import { DEFAULTS, type FieldName } from '../config';
import { decodeCorpus } from '../data/corpus';
import { encodeDocuments } from '../data/split';
import type { EvaluationRecord, StepRecord } from '../distill/records';
import { Run } from '../distill/run';
import { type Gpu, openGpu } from '../gpu/device';
import { PRESETS, type Preset } from '../presets';
import { openDawn } from './dawn';
import { openModels } from './models';

const name = process.argv[2] ?? '';
const gpu = await openGpu(await openDawn());
for (const preset of PRESETS) if (preset.recording?.includes(name)) await record(gpu, preset);
process.exit(0);

async function record(gpu: Gpu, { config, recording }: Preset): Promise<void> {
  const { file, ...text } = textOf(config);
  const { signal } = new AbortController();
  const models = await openModels(config, gpu, { signal, say: console.log });
  const { tokenizer, teacher, student } = models;
  const corpus = decodeCorpus(file, await readFile(`public/${file}`));
  const records: StepRecord[] = [];
  const evaluations: EvaluationRecord[] = [];
  const run = await Run.create({
    gpu,
    config,
    tokenizer,
    teacherConfig: teacher.sizes,
    student,
    documents: encodeDocuments([[corpus]], tokenizer),
    answersAfter: text.answersAfter,
    makeTeacher: teacher.make,
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
  const { batch_size, max_length, gradient_accumulation } = config;
  const names = Object.keys(config) as FieldName[];
  const changed = names.filter((name) => config[name] !== DEFAULTS[name]);
  const recorded = {
    date: new Date().toISOString(),
    config: Object.fromEntries(changed.map((name) => [name, config[name]])),
    adapter: gpu.adapter,
    run: {
      dtype: dtype === 'f16' ? 'float16' : 'float32',
      studentParameters,
      teacherParameters,
      trainTokens,
      heldOutTokens,
      vocabularySize: teacher.sizes.vocabularySize,
      tokensPerStep: batch_size * max_length * gradient_accumulation,
      dispatchesPerStep,
      submissionsPerStep,
    },
    records,
    evaluations,
  };
  await run.destroy();
  models.close();
  await mkdir('public/recorded', { recursive: true });
  // An f32 holds seven digits; more would only make the file longer.
  const short = (_: string, value: unknown) =>
    typeof value === 'number' ? Number(value.toPrecision(7)) : value;
  await writeFile(`public/${recording}`, `${JSON.stringify(recorded, short)}\n`);
  console.log(
    `Wrote public/${recording}: ${records.length} steps, ${evaluations.length} evaluations.`,
  );
}
