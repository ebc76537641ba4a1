// Trains the built-in teacher on the built-in book with Stillhouse's trainer, and writes it as a
// Hugging Face folder.
//
//   npm run train:teacher -- [--steps 3000] [--batch 8] [--dtype float32|float16]
//
// A checkpoint is written every EVALUATE_EVERY steps and at Ctrl-C; the same command continues from
// it. The folder is written at the end.

import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { DEFAULTS } from '../config';
import { Batches, heldOutBatches } from '../data/batches';
import { splitCorpus } from '../data/split';
import { loadTokenizer } from '../data/tokenizer';
import { Evaluator } from '../distill/evaluate';
import type { StepRecord } from '../distill/records';
import { Sampler, sampleText } from '../distill/sample';
import { learningRate } from '../distill/schedule';
import type { TrainerSettings } from '../distill/settings';
import { Trainer } from '../distill/trainer';
import type { Snapshot } from '../distill/training-state';
import { joinPieces } from '../files/pieces';
import { openGpu } from '../gpu/device';
import { Pool } from '../gpu/program';
import { NEW_STUDENT_FAMILY } from '../model/families';
import { initialWeights } from '../model/parameters';
import { saveWeights } from '../model/weights';
import { Random } from '../tensor/random';
import { openDawn } from './dawn';

const FOLDER = 'public/models/moby-teacher';
const CORPUS = 'public/corpus/moby-dick.txt';
const CHECKPOINT = '.cache/train-teacher';
const EVALUATE_EVERY = 100;
const SEED = 1;
const T = 128;
const PEAK_LR = 2e-3;

const { values: flags } = parseArgs({
  options: {
    steps: { type: 'string', default: '3000' },
    batch: { type: 'string', default: '8' },
    dtype: { type: 'string', default: 'float32' },
  },
});
const steps = Number(flags.steps);
const B = Number(flags.batch);
if (!(Number.isInteger(steps) && steps > 0 && Number.isInteger(B) && B > 0)) {
  throw new Error(
    `train:teacher: --steps ${flags.steps} --batch ${flags.batch}; both must be integers above 0.`,
  );
}
const dtype = flags.dtype === 'float16' ? 'f16' : 'f32';

const tokenizer = await loadTokenizer(FOLDER, { read: (path) => readFile(path, 'utf8') });
const architecture = NEW_STUDENT_FAMILY.create({
  vocabularySize: tokenizer.vocabularySize,
  contextWindow: T,
  width: 128,
  layers: 4,
  heads: 4,
});
const { config } = architecture;
const { train, heldOut } = splitCorpus(tokenizer.encode(await readFile(CORPUS, 'utf8')), {
  contextLength: T,
});
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
  adam: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, maxGradNorm: 1 },
};
const weights = initialWeights(architecture.parameters, random.fork('weights'));
const trainer = await Trainer.create(gpu, pool, settings, weights, undefined, (record) => {
  latest = record;
});
const evaluator = new Evaluator(gpu, pool, trainer.model, undefined, [B, T], 'strided');
const sampler = await Sampler.create(gpu, pool, trainer.model, T);
const heldOutAll = heldOutBatches(heldOut, B, T, Number.MAX_SAFE_INTEGER);
const heldOutSome = heldOutBatches(heldOut, B, T, 8);

let step = existsSync(`${CHECKPOINT}/state.json`) ? await restore() : 0;
console.log(
  `${gpu.adapter.name}, ${dtype}. ${trainer.master.plan.parameters} parameters, ` +
    `${train.length} tokens, from step ${step}.`,
);
let stop = false;
process.on('SIGINT', () => {
  stop = true;
});
process.on('SIGTERM', () => {
  stop = true;
});

const started = performance.now();
const first = step;
while (step < steps && !stop) {
  step++;
  const schedule = {
    student_lr: PEAK_LR,
    lr_schedule: 'cosine',
    warmup_steps: 100,
    train_steps: steps,
  } as const;
  await trainer.step([batches.at(step - 1)], {
    step,
    learningRate: learningRate(step, schedule),
    temperature: 1,
    alpha: 0,
  });
  if (step % 10 === 0) {
    await trainer.drain();
    const speed = ((step - first) * B * T) / ((performance.now() - started) / 1000);
    console.log(
      `Step ${step}: Loss=${latest?.loss.toFixed(4)}, norm ${latest?.gradNorm.toFixed(2)}, ` +
        `${speed.toFixed(0)} tokens/s`,
    );
  }
  if (step % EVALUATE_EVERY === 0 || step === steps)
    await report(step === steps ? heldOutAll : heldOutSome);
}
await save();
if (step === steps) await writeFolder();
process.exit(0);

async function report(batches: typeof heldOutAll): Promise<void> {
  const { studentPerplexity, tokens } = await evaluator.run(batches, step);
  const text = await sampleText(sampler.generate, tokenizer, {
    prompt: 'The whale',
    count: 60,
    random: random.fork('sample'),
  });
  console.log(
    `Step ${step}: held-out PPL=${studentPerplexity?.toFixed(2)} on ${tokens} tokens. ` +
      `The whale${text}`,
  );
  await save();
}

async function save(): Promise<void> {
  const { master, mean, square, scaler } = await trainer.snapshot(step);
  await mkdir(CHECKPOINT, { recursive: true });
  for (const [name, bytes] of Object.entries({ master, mean, square, scaler })) {
    await writeFile(`${CHECKPOINT}/${name}.bin.new`, new Uint8Array(bytes));
  }
  await writeFile(`${CHECKPOINT}/state.json.new`, JSON.stringify({ step, config }));
  for (const name of ['master.bin', 'mean.bin', 'square.bin', 'scaler.bin', 'state.json']) {
    await rename(`${CHECKPOINT}/${name}.new`, `${CHECKPOINT}/${name}`);
  }
}

async function restore(): Promise<number> {
  const state = JSON.parse(await readFile(`${CHECKPOINT}/state.json`, 'utf8')) as {
    step: number;
    config: object;
  };
  if (JSON.stringify(state.config) !== JSON.stringify(config)) {
    throw new Error(
      `train:teacher: the checkpoint in ${CHECKPOINT} is another model's. ` +
        'Delete the folder to start again.',
    );
  }
  const read = async (name: string) =>
    new Uint8Array(await readFile(`${CHECKPOINT}/${name}.bin`)).buffer as ArrayBuffer;
  const [master, mean, square, scaler] = await Promise.all(
    ['master', 'mean', 'square', 'scaler'].map(read),
  );
  trainer.restore({ step: state.step, master, mean, square, scaler } satisfies Snapshot);
  return state.step;
}

/** config.json, model.safetensors, both ONNX files, and training.json with the run's figures. */
async function writeFolder(): Promise<void> {
  const { studentPerplexity, tokens } = await evaluator.run(heldOutAll, step);
  const trained = await trainer.master.read();
  await mkdir(`${FOLDER}/onnx`, { recursive: true });
  await writeFile(
    `${FOLDER}/config.json`,
    `${JSON.stringify(architecture.formatConfig('float32', tokenizer.endOfText), null, 2)}\n`,
  );
  await writeFile(`${FOLDER}/model.safetensors`, saveWeights(architecture, trained));
  const onnx = (type: 'f32' | 'f16') => joinPieces(architecture.onnxPieces(type, false), trained);
  await writeFile(`${FOLDER}/onnx/model.onnx`, onnx('f32'));
  await writeFile(`${FOLDER}/onnx/model_fp16.onnx`, onnx('f16'));
  const record = {
    steps: step,
    tokens_seen: step * B * T,
    batch_size: B,
    context: T,
    peak_learning_rate: PEAK_LR,
    seed: SEED,
    held_out_perplexity: studentPerplexity,
    held_out_tokens: tokens,
    parameters: trainer.master.plan.parameters,
    dtype,
    adapter: gpu.adapter.name,
  };
  await writeFile(`${FOLDER}/training.json`, `${JSON.stringify(record, null, 2)}\n`);
  console.log(
    `Wrote ${FOLDER}. Held-out perplexity ${studentPerplexity?.toFixed(2)} on ${tokens} tokens.`,
  );
}
