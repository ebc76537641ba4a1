// Measures what the page's lessons show, and writes src/app/lessons/recorded.json: next-token
// distributions of a built-in teacher and of students distilled from it, and what students of
// several sizes and several α reach. The same seed and adapter give the same figures.
//
//   npm run record:lessons -- [--teacher moby-teacher] [--steps 800]
//
// It trains eight small students: some minutes on two cores without a GPU.

import { readFile, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { textOf } from '../built-in';
import { type Config, DEFAULTS } from '../config';
import { decodeCorpus } from '../data/corpus';
import { loadTokenizer } from '../data/tokenizer';
import { prepareData } from '../distill/data';
import type { EvaluationRecord } from '../distill/records';
import { Run } from '../distill/run';
import { teacherFromWeights } from '../distill/teacher/engine';
import {
  type FullPlace,
  type LessonFile,
  logProbabilities,
  packTable,
  type Trained,
} from '../distributions';
import { readSafetensors } from '../files/safetensors';
import { CommandBatch } from '../gpu/command-batch';
import { openGpu } from '../gpu/device';
import { bufferOf, Pool, persistentTensor, Recorder } from '../gpu/program';
import { parseConfig } from '../model/families';
import type { Architecture } from '../model/family';
import { Arena, fill, planArena, type Weights } from '../model/parameters';
import { loadWeights } from '../model/weights';
import { Layout } from '../tensor/layout';
import { openDawn } from './dawn';
import { choosePlaces, type Position } from './lesson-places';

const FILE = 'src/app/lessons/recorded.json';
/** Several α, all of this width and few steps; the default is among the widths. */
const BY_ALPHA = { width: 64, others: [0, 0.4, 1] };
const FEW = 200;
/** Batches of a student's evaluation, and of the positions that are looked at. */
const EVAL_BATCHES = 16;
const READ_BATCHES = 8;
/** Tokens before a place: a model needs a context, and a reader too. */
const LEAST_CONTEXT = 24;
const SHOWN_CONTEXT = 16;
/** The share of a token's occurrences that must end a word for it to count as one. */
const WORD_SHARE = 0.6;
const LIKELIEST = 8;
const PARTS = 4;

const { values: flags } = parseArgs({
  options: {
    teacher: { type: 'string', default: DEFAULTS.teacher_model },
    steps: { type: 'string', default: '800' },
  },
});
const many = Number(flags.steps);
if (!(Number.isInteger(many) && many > FEW)) {
  throw new Error(`record:lessons: --steps ${flags.steps}; it must be an integer above ${FEW}.`);
}
/** Several widths, and few and many steps; the distributions are of those with many. */
const byWidthChanges: Partial<Config>[] = [
  { student_width: 16, train_steps: FEW },
  { student_width: 16, train_steps: many },
  { student_width: 32, train_steps: many },
  { student_width: 64, train_steps: FEW },
  { student_width: 64, train_steps: many },
];
const folder = `public/models/${flags.teacher}`;
const gpu = await openGpu(await openDawn());
const teacherConfig = parseConfig(JSON.parse(await readFile(`${folder}/config.json`, 'utf8')));
const V = teacherConfig.vocabularySize;
const tokenizer = await loadTokenizer(folder, {
  read: (path) => readFile(path, 'utf8'),
  vocabularySize: V,
});
const file = `${folder}/model.safetensors`;
const teacherWeights = loadWeights(
  readSafetensors(await readFile(file), file),
  teacherConfig,
  file,
);
const corpus = `public/${textOf({ teacher_model: flags.teacher, corpus: 'auto' }).file}`;
const tokens = tokenizer.encode(decodeCorpus(corpus, await readFile(corpus)));

// The students.
const settings: Config = { ...DEFAULTS, sample_tokens: 0, eval_batches: EVAL_BATCHES };
const B = settings.batch_size;
const T = settings.max_length;
let teacher: { parameters: number; perplexity: number; heldOutTokens: number } | undefined;
const byWidth: Trained[] = [];
const longest = new Map<string, { architecture: Architecture; weights: Weights }>();
for (const changes of byWidthChanges) {
  const { run, trained } = await distil(changes);
  byWidth.push(trained);
  if (trained.steps === many) longest.set(`width ${trained.width}`, await weightsOf(run));
  await run.destroy();
}
const { width, others } = BY_ALPHA;
const byAlpha = byWidth.filter((one) => one.width === width && one.steps === FEW);
for (const alpha of others) {
  const { run, trained } = await distil({ alpha, student_width: width, train_steps: FEW });
  byAlpha.push(trained);
  await run.destroy();
}
byAlpha.sort((a, b) => a.alpha - b.alpha);

// What the models say at held-out positions.
const { heldOut } = prepareData([{ ids: tokens }], { ...settings, eval_batches: READ_BATCHES });
const logits = new Map([['teacher', await logitsOf(teacherConfig, teacherWeights)]]);
for (const [name, { architecture, weights }] of longest)
  logits.set(name, await logitsOf(architecture, weights));
const students = [...longest.keys()];
const rowOf = (model: string, row: number) => logits.get(model)!.subarray(row * V, (row + 1) * V);

const frequencies = logFrequencies();
const told: { told: number; kl: Record<string, number> }[] = [];
const positions: Position[] = [];
for (const [index, { inputs, targets }] of heldOut.entries()) {
  for (let i = 0; i < inputs.length; i++) {
    if (targets[i] < 0) continue;
    const row = index * B * T + i;
    const logP = logProbabilities(rowOf('teacher', row));
    const p = logP.map(Math.exp);
    const klTo = (logQ: Float64Array) =>
      p.reduce((sum, pv, v) => sum + pv * (logP[v] - logQ[v]), 0);
    const logQ = students.map((name) => logProbabilities(rowOf(name, row)));
    told.push({
      told: klTo(frequencies),
      kl: Object.fromEntries(students.map((name, s) => [name, klTo(logQ[s])])),
    });
    if (i % T < LEAST_CONTEXT) continue;
    const likeliest = [...p.keys()].sort((a, b) => p[b] - p[a]).slice(0, LIKELIEST);
    const [narrow, wide] = [logQ[0], logQ[logQ.length - 1]].map((q) => Math.exp(q[likeliest[0]]));
    positions.push({ row, next: targets[i], likeliest, p, narrow, wide });
  }
}
told.sort((a, b) => a.told - b.told);

const words = wordShares();
const places = choosePlaces(positions, (id) => words[id] >= WORD_SHARE);
const tables = Object.fromEntries(
  Object.entries(places).map(([role, chosen]) => [
    role,
    packTable(chosen.map(fullPlace), tokenText),
  ]),
) as LessonFile['tables'];
for (const [role, chosen] of Object.entries(places)) {
  for (const position of chosen) {
    const { text } = fullPlace(position);
    const top = position.likeliest
      .slice(0, 5)
      .map((id) => `${tokenText(id)} ${position.p[id].toFixed(3)}`);
    console.log(`${role}: …${text}[${tokenText(position.next)}] ${top.join(', ')}`);
  }
}

const recorded: LessonFile = {
  teacher: flags.teacher,
  teacherParameters: teacher!.parameters,
  teacherPerplexity: teacher!.perplexity,
  vocabularySize: V,
  heldOutTokens: teacher!.heldOutTokens,
  adapter: gpu.adapter.name,
  date: new Date().toISOString().slice(0, 10),
  tables,
  byWidth,
  byAlpha,
  byContext: Array.from({ length: PARTS }, (_, part) => {
    const cut = (k: number) => Math.round((k * told.length) / PARTS);
    const some = told.slice(cut(part), cut(part + 1));
    const mean = (of: (one: (typeof some)[number]) => number) =>
      some.reduce((sum, one) => sum + of(one), 0) / some.length;
    return {
      told: mean((one) => one.told),
      kl: Object.fromEntries(students.map((name) => [name, mean((one) => one.kl[name])])),
    };
  }),
};
const short = (_: string, value: unknown) =>
  typeof value === 'number' ? Number(value.toPrecision(6)) : value;
const json = `${JSON.stringify(recorded, short)}\n`;
await writeFile(FILE, json);
console.log(`Wrote ${FILE}: ${json.length.toLocaleString('en')} bytes.`);
process.exit(0);

/** Trains a student with the default settings and these changes, and evaluates it at the end. */
async function distil(changes: Partial<Config>): Promise<{ run: Run; trained: Trained }> {
  const config = {
    ...settings,
    ...changes,
    eval_steps: changes.train_steps ?? settings.train_steps,
  };
  let evaluation: EvaluationRecord | undefined;
  const run = await Run.create({
    gpu,
    config,
    tokenizer,
    teacherConfig,
    documents: [{ ids: tokens }],
    makeTeacher: (device, shape) =>
      teacherFromWeights(device, teacherWeights, teacherConfig, shape),
    events: {
      stage() {},
      record() {},
      evaluation(record) {
        evaluation = record;
      },
    },
  });
  while (!run.done) await run.advance();
  await run.drain();
  const { studentPerplexity, teacherPerplexity, kl, tokens: heldOutTokens } = evaluation!;
  teacher = {
    parameters: run.teacherParameters!,
    perplexity: teacherPerplexity!,
    heldOutTokens,
  };
  const trained = {
    width: config.student_width,
    parameters: run.studentParameters,
    steps: config.train_steps,
    alpha: config.alpha,
    perplexity: studentPerplexity!,
    kl: kl!,
  };
  console.log(JSON.stringify(trained));
  return { run, trained };
}

async function weightsOf(run: Run): Promise<{ architecture: Architecture; weights: Weights }> {
  const weights = new Map<string, Float32Array>();
  for (const { name } of run.student.parameters) weights.set(name, await run.parameter(name));
  return { architecture: run.student, weights };
}

/** A model's logits (positions, V) over the held-out batches, in f32. */
async function logitsOf(architecture: Architecture, weights: Weights): Promise<Float32Array> {
  const plan = planArena(architecture.parameters, gpu.limits.buffer);
  const arena = new Arena(gpu, plan, 'f32', 'weights', 'weights');
  await fill(gpu, [arena], weights);
  const input = persistentTensor(gpu, 'data', 'tokens', Layout.contiguous([B, T]), 'u32');
  const output = persistentTensor(gpu, 'logits', 'logits', Layout.contiguous([B * T, V]), 'f32');
  const recorder = new Recorder(gpu, new Pool(gpu));
  const model = architecture.withWeights(arena);
  model.head(recorder, model.forward(recorder, input).hidden, output);
  const program = await recorder.build('logits');
  const all = new Float32Array(heldOut.length * B * T * V);
  for (const [index, { inputs }] of heldOut.entries()) {
    gpu.device.queue.writeBuffer(bufferOf(input), 0, inputs as Uint32Array<ArrayBuffer>);
    const commands = new CommandBatch(gpu, 'logits');
    commands.run(program);
    await commands.submit();
    all.set(new Float32Array(await gpu.read(bufferOf(output))), index * B * T * V);
  }
  return all;
}

/** ln of each token's share (V) of the whole text, with one more of each, so that none is 0. */
function logFrequencies(): Float64Array {
  const counts = new Float64Array(V).fill(1);
  for (const id of tokens) counts[id]++;
  return counts.map((count) => Math.log(count / (tokens.length + V)));
}

/** For each token that begins a word of letters: the share of its occurrences that end it too. */
function wordShares(): Float64Array {
  const texts = Array.from({ length: V }, (_, id) => tokenText(id));
  const [ends, all] = [new Float64Array(V), new Float64Array(V)];
  for (let i = 0; i + 1 < tokens.length; i++) {
    all[tokens[i]]++;
    if (!/^\p{L}/u.test(texts[tokens[i + 1]])) ends[tokens[i]]++;
  }
  return ends.map((count, id) => (/^ \p{L}+$/u.test(texts[id]) ? count / all[id] : 0));
}

function tokenText(id: number): string {
  return tokenizer.decode([id]);
}

function fullPlace({ row, next }: Position): FullPlace {
  const { inputs } = heldOut[Math.floor(row / (B * T))];
  const i = row % (B * T);
  const before = tokenizer.decode(inputs.subarray(i + 1 - SHOWN_CONTEXT, i + 1));
  // From the first whole word on, on one line.
  const text = before.replace(/\s+/g, ' ').replace(/^\S* /, '');
  return {
    text,
    next,
    logits: new Map([...logits.keys()].map((model) => [model, rowOf(model, row)])),
  };
}
