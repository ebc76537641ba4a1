// Makes a built-in teacher from nothing: its text, a tokenizer trained on it, and a model trained
// with Stillhouse's trainer, written as a Hugging Face folder.
//
//   npm run train:teacher -- austen-teacher [--folder FOLDER] [--dtype float16] [--steps 3000 …]
//
// Every number of the recipe (teacher-recipes.ts) is a flag. The text and the tokenizer are made if
// they are not there. A checkpoint is written at every evaluation and at Ctrl-C; the same command
// continues from it.

import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { BUILT_IN_MODELS, isBuiltIn, TEXTS } from '../built-in';
import { DEFAULTS } from '../config';
import { type Batch, Batches, heldOutBatches, IGNORED_TARGET } from '../data/batches';
import { tokenizerFiles, trainBytePairs } from '../data/bpe';
import { splitCorpus } from '../data/split';
import { loadTokenizer } from '../data/tokenizer';
import { Evaluator } from '../distill/evaluate';
import type { StepRecord } from '../distill/records';
import { Sampler, sampleText } from '../distill/sample';
import { learningRate } from '../distill/schedule';
import type { TrainerSettings } from '../distill/settings';
import { Trainer } from '../distill/trainer';
import type { Snapshot } from '../distill/training-state';
import { openGpu } from '../gpu/device';
import { Pool } from '../gpu/program';
import { NEW_STUDENT_FAMILY } from '../model/families';
import { initialWeights } from '../model/parameters';
import { saveWeights } from '../model/weights';
import { Random } from '../tensor/random';
import { CORPORA } from './corpora';
import { openDawn } from './dawn';
import { teacherCard } from './teacher-card';
import { RECIPES, type TeacherRecipe } from './teacher-recipes';

const EVALUATE_EVERY = 250;
const WARMUP = 200;
const SEED = 1;
/** Batches of an evaluation before the last, which takes all. */
const SOME_BATCHES = 16;

const numbers = Object.keys(RECIPES['austen-teacher']) as (keyof TeacherRecipe)[];
const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    folder: { type: 'string' },
    dtype: { type: 'string', default: 'float32' },
    ...Object.fromEntries(numbers.map((name) => [name, { type: 'string' as const }])),
  },
});
const [name] = positionals;
if (positionals.length !== 1 || !isBuiltIn(name)) {
  const names = Object.keys(BUILT_IN_MODELS).join(', ');
  console.error(`train:teacher: name one teacher: ${names}. ${positionals.length} were given.`);
  process.exit(2);
}
const recipe = { ...RECIPES[name] };
for (const field of numbers) {
  const text = (flags as Record<string, string | undefined>)[field];
  if (text === undefined) continue;
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) {
    console.error(`train:teacher: --${field} is ${text}. It must be a number, 0 or more.`);
    process.exit(2);
  }
  recipe[field] = value;
}
const { batch: B, context: T, steps } = recipe;
const dtype = flags.dtype === 'float16' ? 'f16' : 'f32';
const folder = flags.folder ?? `public/models/${name}`;
const checkpoint = `.cache/train-teacher/${folder.replaceAll('/', '_')}`;
const { prompt, text: textName } = BUILT_IN_MODELS[name];

const text = await textOf();
const tokenizer = await tokenizerOf(text);
const architecture = NEW_STUDENT_FAMILY.create({
  vocabularySize: tokenizer.vocabularySize,
  contextWindow: T,
  width: recipe.width,
  layers: recipe.layers,
  heads: recipe.heads,
});
const split = splitCorpus({ ids: tokenizer.encode(text) }, { contextLength: T });
const [train, heldOut] = [split.train.ids, split.heldOut.ids];
const random = new Random(SEED);
const batches = new Batches({
  tokens: train,
  batchSize: B,
  contextLength: T,
  randomOf: (epoch) => {
    const stream = random.fork(`epoch ${epoch}`);
    return () => stream.uniform();
  },
});

const gpu = await openGpu(await openDawn());
const pool = new Pool(gpu);
let latest: StepRecord | undefined;
const settings: TrainerSettings = {
  student: architecture,
  dtype,
  batchSize: B,
  contextLength: T,
  loss: { ...DEFAULTS, loss: 'ce' },
  initialLossScale: 65536,
  adam: {
    beta1: 0.9,
    beta2: 0.95,
    epsilon: 1e-8,
    weightDecay: recipe.weight_decay,
    maxGradNorm: 1,
  },
};
const weights = initialWeights(architecture.parameters, random.fork('weights'));
const trainer = await Trainer.create(gpu, pool, settings, weights, undefined, (record) => {
  latest = record;
});
const evaluator = new Evaluator(gpu, pool, trainer.model, undefined, [B, T], 'strided');
const sampler = Sampler.create(gpu, pool, trainer.model, T);
const heldOutAll = heldOutBatches({ tokens: heldOut }, B, T, Number.MAX_SAFE_INTEGER);
const heldOutSome = heldOutBatches({ tokens: heldOut }, B, T, SOME_BATCHES);

let step = existsSync(`${checkpoint}/state.json`) ? await restore() : 0;
console.log(
  `${gpu.adapter.name}, ${dtype}. ${trainer.master.plan.parameters} parameters, ` +
    `${train.length} tokens, from step ${step}.`,
);
let stop = false;
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    stop = true;
  });
}

const started = performance.now();
const first = step;
while (step < steps && !stop) {
  step++;
  const schedule = {
    student_lr: recipe.learning_rate,
    lr_schedule: 'cosine',
    warmup_steps: WARMUP,
    train_steps: steps,
  } as const;
  await trainer.step([withNoise(batches.at(step - 1))], {
    step,
    learningRate: learningRate(step, schedule),
    temperature: 1,
    alpha: 0,
  });
  if (step % EVALUATE_EVERY === 0 && step < steps) {
    await trainer.drain();
    await report();
    await save();
  }
}
await trainer.drain();
await save();
if (step === steps) {
  await writeFolder();
  await rm(checkpoint, { recursive: true });
}
process.exit(0);

async function textOf(): Promise<string> {
  const path = `public/${TEXTS[textName].file}`;
  if (!existsSync(path)) {
    const made = await CORPORA[textName]();
    await mkdir('public/corpus', { recursive: true });
    await writeFile(path, made);
    console.log(`Wrote ${path}: ${made.length} characters.`);
  }
  return readFile(path, 'utf8');
}

/** The folder's tokenizer, or a new one, trained on the text. */
async function tokenizerOf(text: string) {
  await mkdir(folder, { recursive: true });
  if (!existsSync(`${folder}/tokenizer.json`)) {
    const pairs = trainBytePairs(text, recipe.vocabulary);
    const { tokenizerJson, tokenizerConfig } = tokenizerFiles(pairs, T);
    await writeFile(`${folder}/tokenizer.json`, `${JSON.stringify(tokenizerJson, null, 1)}\n`);
    await writeFile(
      `${folder}/tokenizer_config.json`,
      `${JSON.stringify(tokenizerConfig, null, 2)}\n`,
    );
    console.log(`Wrote ${folder}/tokenizer.json: ${recipe.vocabulary} tokens.`);
  }
  return loadTokenizer(folder, { read: (path) => readFile(path, 'utf8') });
}

/**
 * Some inputs replaced by random tokens of the text. The targets stay: the model learns not to
 * rely on each word of a text that it sees several times.
 */
function withNoise(batch: Batch): Batch {
  if (recipe.noise === 0) return batch;
  const stream = random.fork(`noise ${batch.index}`);
  const inputs = batch.inputs.map((id) =>
    stream.uniform() < recipe.noise ? train[Math.floor(stream.uniform() * train.length)] : id,
  );
  return { ...batch, inputs };
}

async function report(): Promise<void> {
  const { studentPerplexity, tokens } = await evaluator.run(heldOutSome, step);
  const seconds = (performance.now() - started) / 1000;
  console.log(
    `Step ${step}: Loss=${latest?.loss.toFixed(4)}, held-out PPL=` +
      `${studentPerplexity?.toFixed(2)} on ${tokens} tokens, ` +
      `${(((step - first) * B * T) / seconds).toFixed(0)} tokens/s.\n  ${await say('report')}`,
  );
}

async function say(seed: string): Promise<string> {
  const options = { prompt, count: 60, random: random.fork(seed) };
  return prompt + (await sampleText(sampler.generate, tokenizer, options));
}

async function save(): Promise<void> {
  const { master, mean, square, scaler } = await trainer.snapshot(step);
  await mkdir(checkpoint, { recursive: true });
  for (const [part, bytes] of Object.entries({ master, mean, square, scaler })) {
    await writeFile(`${checkpoint}/${part}.bin.new`, new Uint8Array(bytes));
  }
  await writeFile(`${checkpoint}/state.json.new`, JSON.stringify({ step, recipe }));
  for (const file of ['master.bin', 'mean.bin', 'square.bin', 'scaler.bin', 'state.json']) {
    await rename(`${checkpoint}/${file}.new`, `${checkpoint}/${file}`);
  }
}

async function restore(): Promise<number> {
  const state = JSON.parse(await readFile(`${checkpoint}/state.json`, 'utf8')) as {
    step: number;
    recipe: TeacherRecipe;
  };
  if (JSON.stringify(state.recipe) !== JSON.stringify(recipe)) {
    throw new Error(
      `train:teacher: the checkpoint in ${checkpoint} has another recipe. ` +
        'Delete the folder to start again.',
    );
  }
  const read = async (part: string) =>
    new Uint8Array(await readFile(`${checkpoint}/${part}.bin`)).buffer as ArrayBuffer;
  const [master, mean, square, scaler] = await Promise.all(
    ['master', 'mean', 'square', 'scaler'].map(read),
  );
  trainer.restore({ step: state.step, master, mean, square, scaler } satisfies Snapshot);
  return state.step;
}

/** config.json, model.safetensors in f16, and the card with the training's figures. */
async function writeFolder(): Promise<void> {
  const { studentPerplexity, tokens } = await evaluator.run(heldOutAll, step);
  if (studentPerplexity === undefined) throw new Error('No held-out token was evaluated.');
  const trained = await trainer.master.read();
  const config = architecture.formatConfig('float16', tokenizer.endOfText);
  await writeFile(`${folder}/config.json`, `${JSON.stringify(config, null, 2)}\n`);
  await writeFile(`${folder}/model.safetensors`, saveWeights(architecture, trained, 'F16'));
  // Characters of the tokens that were predicted: the targets of all but each window's last.
  let characters = 0;
  for (const { targets } of heldOutAll) {
    for (let row = 0; row < B; row++) {
      const window = targets.subarray(row * T, row * T + T - 1);
      const ids = [...window].filter((id) => id !== IGNORED_TARGET);
      characters += tokenizer.decode(ids).length;
    }
  }
  const samples = await Promise.all(['a', 'b', 'c'].map(say));
  const card = teacherCard({
    name: name as keyof typeof RECIPES,
    recipe,
    parameters: trainer.master.plan.parameters,
    characters: { text: text.length, heldOut: characters },
    heldOut: { tokens, perplexity: studentPerplexity },
    dtype,
    adapter: gpu.adapter.name,
    samples,
  });
  await writeFile(`${folder}/README.md`, card);
  console.log(`Wrote ${folder}.\n${card}`);
}
