// A run with a cached teacher against the same run without a cache: losses, evaluation, memory,
// refusals, and reuse by the next run. The built-in models, at a size that a software adapter runs
// in seconds.

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { openCacheStorage } from '../../src/cli/cache-storage';
import { type Config, DEFAULTS } from '../../src/config';
import { decodeCorpus } from '../../src/data/corpus';
import { loadTokenizer, type Tokenizer, type Tokens } from '../../src/data/tokenizer';
import type { EvaluationRecord, StepRecord } from '../../src/distill/records';
import { Run } from '../../src/distill/run';
import { planMemory } from '../../src/distill/run-models';
import type { CacheStorage } from '../../src/distill/teacher/cache-file';
import { teacherFromWeights } from '../../src/distill/teacher/engine';
import type { MakeTeacher } from '../../src/distill/teacher/teacher';
import { readSafetensors } from '../../src/files/safetensors';
import type { Gpu } from '../../src/gpu/device';
import { parseConfig } from '../../src/model/families';
import type { Architecture } from '../../src/model/family';
import { initialWeights } from '../../src/model/parameters';
import { loadWeights } from '../../src/model/weights';
import { Random } from '../../src/tensor/random';
import { type MemoryStorage, memoryStorage } from '../memory-storage';
import { openTestDevice } from './harness';

const FOLDER = 'public/models/moby-teacher';
const CORPUS = 'public/corpus/moby-dick.txt';
const SMALL: Config = {
  ...DEFAULTS,
  student_layers: 1,
  batch_size: 2,
  max_length: 16,
  eval_steps: 3,
  eval_batches: 2,
  student_lr: 0.01,
  sample_tokens: 4,
  train_steps: 6,
  warmup_steps: 2,
  teacher_cache: 'on',
  model_dtype: 'float32',
};

let gpu: Gpu;
let tokenizer: Tokenizer;
let documents: Tokens[];
let teacherConfig: Architecture;
let weights: ReadonlyMap<string, Float32Array>;

beforeAll(async () => {
  gpu = await openTestDevice();
  teacherConfig = parseConfig(JSON.parse(await readFile(`${FOLDER}/config.json`, 'utf8')));
  tokenizer = await loadTokenizer(FOLDER, {
    read: (path) => readFile(path, 'utf8'),
    vocabularySize: teacherConfig.vocabularySize,
  });
  const file = `${FOLDER}/model.safetensors`;
  weights = loadWeights(readSafetensors(await readFile(file), file), teacherConfig, file);
  const text = decodeCorpus(CORPUS, await readFile(CORPUS)).slice(0, 60_000);
  documents = [{ ids: tokenizer.encode(text) }];
});

interface Watched {
  records: StepRecord[];
  evaluations: EvaluationRecord[];
  notes: string[];
  stages: [string, number | undefined, number | undefined][];
  /** Teachers made, and those not disposed of yet. */
  made: number;
  alive: number;
  run: Run;
}

/** Builds a run. */
async function start(
  changes: Partial<Config>,
  storage?: CacheStorage,
  signal?: AbortSignal,
): Promise<Watched> {
  const config: Config = { ...SMALL, ...changes };
  const watched = {
    records: [],
    evaluations: [],
    notes: [],
    stages: [],
    made: 0,
    alive: 0,
  } as unknown as Watched;
  const makeTeacher: MakeTeacher = async (gpu, shape) => {
    const teacher = await teacherFromWeights(gpu, weights, teacherConfig, shape);
    watched.made++;
    watched.alive++;
    return {
      ...teacher,
      async dispose() {
        watched.alive--;
        await teacher.dispose();
      },
    };
  };
  watched.run = await Run.create({
    gpu,
    config,
    tokenizer,
    teacherConfig,
    documents,
    makeTeacher,
    signal,
    cache: storage && {
      open: async () => storage,
      teacher: 'moby-teacher',
      note: (text) => watched.notes.push(text),
    },
    events: {
      stage: (stage, _, loaded, total) => watched.stages.push([stage, loaded, total]),
      record: (record) => watched.records.push(record),
      evaluation: (record) => watched.evaluations.push(record),
    },
  });
  return watched;
}

async function finish(watched: Watched): Promise<Watched> {
  while (!watched.run.done) await watched.run.advance();
  await watched.run.drain();
  return watched;
}

async function whole(changes: Partial<Config>, storage?: CacheStorage): Promise<Watched> {
  const watched = await finish(await start(changes, storage));
  await watched.run.destroy();
  return watched;
}

const bytes = (totals: Partial<Record<string, number>>) =>
  Object.values(totals).reduce((a = 0, b = 0) => a + b, 0) as number;

/**
 * The cache stores logits less the largest in f16, which is off by up to 2^-11 of them; those that
 * matter are few nats below the largest.
 */
const F16 = 2e-3;

describe.each([
  ['mixed, fkl', {}],
  ['rkl', { loss: 'rkl' }],
  [
    'jsd, two batches a step, another temperature',
    { loss: 'jsd', gradient_accumulation: 2, temperature: 1 },
  ],
  ['mixed, tvd, sliced logits', { kd_loss: 'tvd', train_loss_path: 'strided' }],
] as [string, Partial<Config>][])('all tokens cached: %s', (_, changes) => {
  it('losses, gradient norms and evaluations equal those without a cache, within f16', async () => {
    const plain = await whole({ ...changes, teacher_cache: 'off' });
    const cached = await whole({ ...changes, cache_top_k: 0 }, memoryStorage());
    expect(cached.records).toHaveLength(6);
    for (const [i, { loss, kd, ce, gradNorm }] of cached.records.entries()) {
      const wanted = plain.records[i];
      expect(Math.abs(loss / wanted.loss - 1)).toBeLessThan(F16);
      expect(Math.abs(kd / wanted.kd - 1)).toBeLessThan(F16);
      expect(Math.abs(ce / wanted.ce - 1)).toBeLessThan(F16);
      // A norm's small differences grow from step to step.
      expect(Math.abs(gradNorm / wanted.gradNorm - 1)).toBeLessThan(5 * F16);
    }
    expect(cached.evaluations).toHaveLength(plain.evaluations.length);
    for (const [
      i,
      { teacherPerplexity, studentPerplexity, kl, klWords, sample, tokens },
    ] of cached.evaluations.entries()) {
      const wanted = plain.evaluations[i];
      expect(
        Math.abs((teacherPerplexity as number) / (wanted.teacherPerplexity as number) - 1),
      ).toBeLessThan(F16);
      expect(
        Math.abs((studentPerplexity as number) / (wanted.studentPerplexity as number) - 1),
      ).toBeLessThan(F16);
      expect(Math.abs((kl as number) / (wanted.kl as number) - 1)).toBeLessThan(F16);
      expect([klWords, tokens, sample?.teacher]).toEqual([
        undefined,
        wanted.tokens,
        wanted.sample?.teacher,
      ]);
    }
  });
});

it('masked rows have their own teacher and cache; memory is as planned', async () => {
  const masked: Partial<Config> = { packing: 'masked', eval_steps: 6, sample_tokens: 0 };
  const [{ ids }] = documents;
  documents = Array.from({ length: 60 }, (_, i) => ({ ids: ids.slice(11 * i, 11 * (i + 1)) }));
  onTestFinished(() => {
    documents = [{ ids }];
  });
  const before = gpu.memory.totals();
  const plain = await start({ ...masked, teacher_cache: 'off' });
  const planned = await planMemory({
    gpu,
    config: plain.run.config,
    dtype: 'f32',
    student: plain.run.student,
    makeTeacher: (counting, shape) => teacherFromWeights(counting, undefined, teacherConfig, shape),
  });
  expect(bytes(gpu.memory.totals()) - bytes(before)).toBe(bytes(planned));
  await finish(plain);
  await plain.run.destroy();
  const storage = memoryStorage();
  const packed = await whole({ ...masked, packing: 'on', cache_top_k: 0 }, storage);
  const cached = await whole({ ...masked, cache_top_k: 0 }, storage);
  expect([packed, cached].map(({ run }) => run.cache?.found)).toEqual([false, false]);
  for (const [i, { ce, kd, tokens }] of cached.records.entries()) {
    const wanted = plain.records[i];
    expect(Math.abs(ce / wanted.ce - 1)).toBeLessThan(F16);
    expect(Math.abs(kd / wanted.kd - 1)).toBeLessThan(F16);
    // The first token of a document is no target.
    expect(tokens).toBe(wanted.tokens);
    expect(tokens).toBeLessThan(packed.records[i].tokens);
  }
  const [own, others] = [cached, packed].map(
    ({ evaluations }) => evaluations[0].teacherPerplexity!,
  );
  const uncached = plain.evaluations[0].teacherPerplexity as number;
  expect(Math.abs(own / uncached - 1)).toBeLessThan(F16);
  expect(Math.abs(others / uncached - 1)).toBeGreaterThan(F16);
});

describe('64 tokens cached', () => {
  let plain: Watched;
  let cached: Watched;
  let storage: MemoryStorage;
  let memory: Record<'before' | 'built' | 'done', Partial<Record<string, number>>>;
  beforeAll(async () => {
    plain = await whole({ teacher_cache: 'off' });
    storage = memoryStorage();
    const before = gpu.memory.totals();
    cached = await start({}, storage);
    const built = gpu.memory.totals();
    await finish(cached);
    memory = { before, built, done: gpu.memory.totals() };
  });

  it('the run reports the size of its cache, and the stage’s progress reaches its end', () => {
    const report = cached.run.cache;
    expect(report).toMatchObject({
      V: teacherConfig.vocabularySize,
      k: 64,
      bytesPerPosition: 4 + 64 * 4,
      found: false,
    });
    expect(report?.bytes).toBe(storage.bytes.length);
    expect(report?.seconds).toBeGreaterThan(0);
    const counted = cached.stages.filter(
      ([stage, loaded]) => stage === 'cache' && loaded !== undefined,
    );
    expect(counted).toHaveLength(6 + 2);
    expect(counted.at(-1)?.[1]).toBe((6 + 2) * 2 * 16 * 260);
    expect(counted.at(-1)?.[1]).toBe(counted.at(-1)?.[2]);
  });

  it('frees the teacher before the student is built; memory is as planned', async () => {
    expect([cached.made, cached.alive]).toEqual([1, 0]);
    expect(memory.built.teacher).toBe(memory.before.teacher);
    expect(memory.done).toEqual(memory.built);
    const planned = await planMemory({
      gpu,
      config: SMALL,
      dtype: 'f32',
      student: cached.run.student,
      makeTeacher: () => Promise.reject(new Error('A plan with a cache needs no teacher.')),
    });
    expect(bytes(memory.built) - bytes(memory.before)).toBe(bytes(planned));
  });

  it('losses fall as without a cache, with a slightly smaller KL: the tail hides some', () => {
    for (const [i, { kd, ce }] of cached.records.entries()) {
      const wanted = plain.records[i];
      expect(kd).toBeLessThan(wanted.kd * (1 + F16));
      expect(kd).toBeGreaterThan(0.5 * wanted.kd);
      expect(Math.abs(ce / wanted.ce - 1)).toBeLessThan(0.05);
    }
    expect(cached.records[5].loss).toBeLessThan(cached.records[0].loss);
  });

  it('an evaluation has the perplexity of all logits, and the number of tokens of its KL', () => {
    const [first, ...rest] = cached.evaluations;
    const wanted = plain.evaluations[0];
    expect(first.teacherPerplexity).toBe(wanted.teacherPerplexity);
    expect(
      rest.every(({ teacherPerplexity }) => teacherPerplexity === wanted.teacherPerplexity),
    ).toBe(true);
    expect(first.klWords).toBe(64);
    expect(first.agreement).toBe(wanted.agreement);
    // Two kernels sum the same exponentials, in f32.
    expect(
      Math.abs((first.studentPerplexity as number) / (wanted.studentPerplexity as number) - 1),
    ).toBeLessThan(1e-5);
    const { kl } = cached.run.cache ?? {};
    expect(kl?.full).toBe(wanted.kl);
    expect(kl?.kept).toBe(first.kl);
    expect(kl?.kept).toBeLessThan(kl?.full as number);
    expect(kl?.kept).toBeGreaterThan(0.5 * (kl?.full as number));
    expect(first.sample?.teacher).toBe(wanted.sample?.teacher);
  });

  it('a change of temperature is refused with both values; alpha may change', async () => {
    expect(() => cached.run.change({ temperature: 3, alpha: 0.1 })).toThrow(
      'Temperature is fixed at 2: the cache’s tail mass was computed at T = 2, not 3. ' +
        'Use cache_top_k=0 to change it.',
    );
    cached.run.change({ temperature: 2, alpha: 0.5 });
    await cached.run.destroy();
    expect(gpu.memory.totals()).toEqual(memory.before);
    expect(storage.closed).toBe(1);
  });

  it('the next run finds the cache, makes no teacher, and gives the same bits', async () => {
    const again = await whole({}, storage);
    expect([again.made, again.notes]).toEqual([0, []]);
    expect(again.run.cache).toMatchObject({ found: true, kl: cached.run.cache?.kl });
    expect(again.run.teacherParameters).toBe(cached.run.teacherParameters);
    expect(again.records).toEqual(cached.records);
    const timeless = (all: EvaluationRecord[]) =>
      all.map(({ milliseconds: _, ...figures }) => figures);
    expect(timeless(again.evaluations)).toEqual(timeless(cached.evaluations));
  });

  it('a run with another seed reports what differs, and writes its own cache', async () => {
    const other = await whole({ seed: 2, train_steps: 2 }, storage);
    expect(other.made).toBe(1);
    expect(other.notes).toHaveLength(1);
    expect(other.notes[0]).toMatch(
      new RegExp(
        'belongs to another run: training batches 6, not 2; text "\\w+", not "\\w+"\\. ' +
          'The run writes a new one\\.',
      ),
    );
    expect((await whole({ seed: 2, train_steps: 2 }, storage)).made).toBe(0);
  });
});

it('a run whose loss needs no teacher caches the held-out batches only', async () => {
  const storage = memoryStorage();
  const cached = await whole({ loss: 'ce', train_steps: 2 }, storage);
  expect(cached.run.cache?.bytes).toBe(2 ** 16 + 2 * (2 * 16 * 260 + 32));
  expect(cached.evaluations.at(-1)?.kl).toBeGreaterThan(0);
});

describe('a loss that 64 tokens do not serve is refused before the teacher is made', () => {
  it.each([
    [{ loss: 'rkl' }, 'serves forward KL, fkl; this run’s loss is rkl'],
    [{ kd_loss: 'jsd' }, 'serves forward KL, fkl; this run’s loss is jsd'],
    [{ train_loss_path: 'reshape' }, 'train_loss_path=reshape needs all of the teacher’s logits'],
  ] as [Partial<Config>, string][])('%j', async (changes, message) => {
    await expect(start(changes, memoryStorage())).rejects.toThrow(message);
    await expect(start(changes, memoryStorage())).rejects.toThrow('cache_top_k=0');
  });

  it('teacher_cache=on without a place to write', async () => {
    await expect(start({})).rejects.toThrow(
      'There is no place to write the teacher’s cache. Use teacher_cache=off.',
    );
  });
});

describe('a full disk', () => {
  it.each([true, false])(
    'is noted, and the run goes on with its teacher (room known: %s)',
    async (knowsRoom) => {
      const storage = memoryStorage();
      Object.assign(storage, { capacity: 90_000, knowsRoom });
      const plain = await whole({ teacher_cache: 'off', train_steps: 2 });
      const uncached = await start({ train_steps: 2 }, storage);
      expect(uncached.notes).toEqual([
        expect.stringMatching(/(full|room for).* The run continues with the teacher in memory\.$/),
      ]);
      expect([uncached.made, uncached.alive, uncached.run.cache]).toEqual([1, 1, undefined]);
      expect([storage.bytes.length, storage.closed]).toEqual([0, 1]);
      await finish(uncached);
      expect(uncached.records).toEqual(plain.records);
      await uncached.run.destroy();
      expect(uncached.alive).toBe(0);
    },
  );

  it('a storage that cannot be opened leaves the teacher in memory', async () => {
    const broken = {
      open: () => Promise.reject(new Error('another tab of this page is using it')),
    };
    const notes: string[] = [];
    const run = await Run.create({
      gpu,
      config: { ...SMALL, train_steps: 1 },
      tokenizer,
      teacherConfig,
      documents,
      makeTeacher: (gpu, shape) => teacherFromWeights(gpu, weights, teacherConfig, shape),
      cache: { ...broken, teacher: 'moby-teacher', note: (text) => notes.push(text) },
      events: { stage: () => {}, record: () => {}, evaluation: () => {} },
    });
    expect(notes).toEqual([
      'The teacher’s cache cannot be opened: another tab of this page is using it. ' +
        'The run continues with the teacher in memory.',
    ]);
    expect(run.cache).toBeUndefined();
    await run.destroy();
  });
});

it('an aborted pass frees its memory and leaves no cache', async () => {
  const before = gpu.memory.totals();
  const storage = memoryStorage();
  const ended = new AbortController();
  const write = storage.write;
  let writes = 0;
  storage.write = async (at, data) => {
    await write(at, data);
    if (++writes === 3) ended.abort(new Error('The run was dropped.'));
  };
  await expect(start({}, storage, ended.signal)).rejects.toThrow('The run was dropped.');
  expect(gpu.memory.totals()).toEqual(before);
  expect(storage.closed).toBe(1);
  storage.write = write;
  const next = await whole({ train_steps: 1 }, storage);
  expect(next.notes[0]).toMatch(
    /damaged: it has no header, because writing it was interrupted\. The run writes a new one\./,
  );
});

it('a student that fails to load closes the new cache, and the next run finds it', async () => {
  const before = gpu.memory.totals();
  const storage = memoryStorage();
  const { student } = (await whole({ teacher_cache: 'off', train_steps: 1 })).run;
  let reads = 0;
  const parameters = [...initialWeights(student.parameters, new Random(1))];
  const failing = Run.create({
    gpu,
    config: SMALL,
    tokenizer,
    teacherConfig,
    documents,
    makeTeacher: (gpu, shape) => teacherFromWeights(gpu, weights, teacherConfig, shape),
    student: {
      architecture: student,
      // Read once to compare the cache with the full logits, then to train.
      weights: async (sink) => {
        if (++reads === 2) throw new Error('The connection was lost.');
        for (const [name, values] of parameters)
          await sink(name, 0, values as Float32Array<ArrayBuffer>);
      },
    },
    cache: { open: async () => storage, teacher: 'moby-teacher', note: () => {} },
    events: { stage: () => {}, record: () => {}, evaluation: () => {} },
  });
  await expect(failing).rejects.toThrow('The connection was lost.');
  expect([reads, storage.closed]).toEqual([2, 1]);
  expect(gpu.memory.totals()).toEqual(before);
  expect((await whole({}, storage)).made).toBe(0);
});

it('a file in Node keeps a cache from one run to the next', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'stillhouse-cache-'));
  const path = join(folder, 'teacher.cache');
  const first = await whole({ train_steps: 2 }, await openCacheStorage(path));
  const second = await whole({ train_steps: 2 }, await openCacheStorage(path));
  expect([first.made, second.made]).toEqual([1, 0]);
  expect(second.records).toEqual(first.records);
  await rm(folder, { recursive: true });
});
