// What is believed later and is no run: the teacher's cache, downloaded blocks, a student's files
// and a recipe's, cut off while they are written.

import { openCacheStorage as openInNode } from '../../src/cli/cache-storage';
import { diskCache } from '../../src/cli/disk-cache';
import { writeFolder } from '../../src/cli/student-folder';
import { DEFAULTS } from '../../src/config';
import { prepareData } from '../../src/distill/data';
import type { StudentFile } from '../../src/distill/export/export';
import { writeRecipe } from '../../src/distill/recipe/recipe';
import { startingWeights } from '../../src/distill/run-setup';
import { CacheError, CacheFile, type CacheIdentity } from '../../src/distill/teacher/cache-file';
import { browserCache } from '../../src/files/block-cache';
import { type BlockCache, httpSource } from '../../src/files/http';
import { filesSource } from '../../src/files/source';
import { SCALER } from '../../src/kernels/sources';
import { gpt2 } from '../../src/model/gpt2/gpt2';
import { initialWeights, planArena } from '../../src/model/parameters';
import { saveWeights } from '../../src/model/weights';
import { packEntry } from '../../src/reference/topk';
import { Random } from '../../src/tensor/random';
import { openCacheStorage as openOnPage } from '../../src/worker/cache-storage';
import type { Attack } from '../fuzz/run';
import { cuts, expectThat, type Scenario } from './cuts';
import type { Disk } from './disk';
import { mount } from './node-disk';
import { usePageDisk } from './page-disk';

const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;

// The teacher's cache.

const identity: CacheIdentity = {
  teacher: 'a',
  dtype: 'f32',
  V: 3,
  k: 3,
  temperature: 0,
  batchSize: 2,
  contextLength: 8,
  trainBatches: 6,
  heldOutBatches: 2,
  tokens: 'abc',
  prompt: '',
  sampleTokens: 0,
};
const other = { ...identity, tokens: 'another text' };
const BATCHES = identity.trainBatches + identity.heldOutBatches;

/** All tokens' logits: in these any bits below 0 are valid, zeros too. */
const batchOf = (salt: number, place: number) =>
  Uint32Array.from(
    Array.from({ length: 16 }, (_, row) => [
      ...packEntry({ ids: [0, 1, 2], values: [0, -salt - place, -row], tail: 0 }, identity.V),
    ]).flat(),
  );

async function writeCache(
  storage: Awaited<ReturnType<typeof openInNode>>,
  its: CacheIdentity,
  salt: number,
) {
  await CacheFile.create(storage, its, async (file) => {
    for (let place = 0; place < BATCHES; place++) await file.write(place, batchOf(salt, place));
    return { seconds: 1 };
  });
}

const caches = (
  name: string,
  page: boolean,
  open: (disk: Disk) => ReturnType<typeof openInNode>,
): Scenario => ({
  name,
  page,
  // Of another run, so that the file is written over.
  start: async (disk) => writeCache(await open(disk), other, 1),
  async work(disk, done) {
    const storage = await open(disk);
    await writeCache(storage, identity, 2);
    await storage.close();
    done('written');
  },
  async check(disk, done, lost) {
    let found = false;
    for (const [its, salt] of [
      [identity, 2],
      [other, 1],
    ] as const) {
      try {
        const file = await CacheFile.open(await open(disk), its);
        for (let place = 0; place < BATCHES; place++) {
          const entries = await file.read(place);
          const isRight = same(
            new Uint8Array(entries.buffer),
            new Uint8Array(batchOf(salt, place).buffer),
          );
          expectThat(isRight, `batch ${place} is another`);
        }
        found ||= its === identity;
      } catch (error) {
        if (!(error instanceof CacheError)) throw error;
      }
    }
    expectThat(found || lost || !done.has('written'), 'the cache is lost');
    await writeCache(await open(disk), identity, 3);
  },
});

// Downloads.

/** Two blocks, the last a short one. */
const SIZE = 2 ** 21 + 1000;
const BLOCKS = 2;
const model = Uint8Array.from({ length: SIZE }, (_, i) => (i * 31 + (i >> 9)) & 255);
let fetched = 0;

/** Reads the file through a cache, as loading a model does. */
async function download(cache: BlockCache): Promise<Uint8Array> {
  const before = globalThis.fetch;
  globalThis.fetch = async (_, init) => {
    const from = Number(/(\d+)-/.exec(new Headers(init?.headers).get('range') ?? '')?.[1]);
    const headers = { 'content-range': `bytes ${from}-${SIZE - 1}/${SIZE}`, etag: '"1"' };
    const body = new ReadableStream({
      pull(controller) {
        const sent = from + at;
        if (sent >= SIZE) return controller.close();
        const piece = model.slice(sent, Math.min(SIZE, sent + 2 ** 20));
        at += piece.length;
        fetched += piece.length;
        controller.enqueue(piece);
      },
    });
    let at = 0;
    return new Response(body, { status: 206, headers });
  };
  try {
    const source = httpSource({
      label: 'a',
      address: (file) => `https://a.invalid/${file}`,
      cache,
    });
    return await source.range('model.safetensors', 0, SIZE);
  } finally {
    globalThis.fetch = before;
  }
}

const downloads = (name: string, page: boolean, open: (disk: Disk) => BlockCache): Scenario => {
  const counting = (disk: Disk, done: (what: string) => void): BlockCache => {
    const { get, put } = open(disk);
    return {
      get,
      async put(key, bytes) {
        await put(key, bytes);
        done(key);
        if (disk.dead) throw new Error('The process is dead.');
      },
    };
  };
  return {
    name,
    page,
    share: 0.1,
    async work(disk, done) {
      await download(counting(disk, done));
    },
    async check(disk, done, lost) {
      fetched = 0;
      expectThat(same(await download(open(disk)), model), 'the model is another');
      // The last request runs to the file's end, in pieces that nobody has asked for yet.
      const missing = BLOCKS - done.size;
      if (missing === 0 && !lost) expectThat(fetched <= 2 ** 20, `${fetched} bytes came again`);
      fetched = 0;
      expectThat(same(await download(open(disk)), model), 'the kept model is another');
    },
  };
};

/** Cache Storage: an entry is there or not, or damaged. */
function pageCache(disk: Disk): BlockCache {
  const path = (url: string) => encodeURIComponent(url).slice(-60);
  const cache = {
    async match(url: string) {
      return disk.exists(path(url)) ? new Response(disk.open(path(url), false).read()) : undefined;
    },
    async put(url: string, response: Response) {
      const file = disk.open(path(url), true);
      file.write(0, new Uint8Array(await response.arrayBuffer()));
    },
  };
  return browserCache(() => {}, { open: async () => cache } as unknown as CacheStorage);
}

// Folders of files.

const FILES = [
  'config.json',
  'tokenizer.json',
  'onnx/model.onnx',
  'model.safetensors',
  'README.md',
];
const filesOf = (version: number) =>
  FILES.map((name, i) => ({
    name,
    bytes: 300,
    async *chunks() {
      for (const part of [1, 2, 3]) yield new Uint8Array(100).fill(16 * version + 4 * i + part);
    },
  }));

async function bytesOf(file: Pick<StudentFile, 'chunks'>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of file.chunks()) parts.push(part);
  return Buffer.concat(parts);
}

const exported: Scenario = {
  name: 'a student’s files',
  async start(disk) {
    await writeFolder(`${mount(disk)}/a/student`, filesOf(1));
  },
  async work(disk, done) {
    await writeFolder(`${mount(disk)}/a/student`, filesOf(2));
    done('written');
  },
  async check(disk, done) {
    for (const [i, file] of filesOf(2).entries()) {
      const found = disk.open(`a/student/${file.name}`, false).read();
      const isNew = same(found, await bytesOf(file));
      const isOld = same(found, await bytesOf(filesOf(1)[i]));
      expectThat(isNew || (isOld && !done.has('written')), `${file.name} is half-written`);
    }
  },
};

/** Without distill.py, nothing of a recipe can be run. */
const recipe: Scenario = {
  name: 'a recipe’s files',
  share: 0.5,
  async work(disk, done) {
    await writeFolder(`${mount(disk)}/recipe`, await recipeFiles());
    done('written');
  },
  async check(disk, done) {
    const isThere = disk.exists('recipe/distill.py');
    expectThat(isThere || !done.has('written'), 'the recipe is lost');
    if (!isThere) return;
    for (const { name, content } of await recipeFiles()) {
      const path = `recipe/${name}`;
      expectThat(disk.exists(path), `${name} is missing beside distill.py`);
      expectThat(same(disk.open(path, false).read(), content), `${name} is half-written`);
    }
  },
};

let made: Promise<(StudentFile & { content: Uint8Array })[]> | undefined;

/** Of a run that is at step 5, all in memory. */
function recipeFiles() {
  made ??= (async () => {
    const student = gpt2({
      vocab_size: 64,
      n_positions: 8,
      n_embd: 8,
      n_layer: 1,
      n_head: 1,
      layer_norm_epsilon: 1e-5,
      activation_function: 'gelu_new',
    });
    const initial = initialWeights(student.parameters, new Random(1));
    const teacher = new Map([
      ['config.json', new Blob([JSON.stringify(student.formatConfig('float32'))])],
      ['model.safetensors', new Blob([saveWeights(student, initial)])],
    ]);
    const config = { ...DEFAULTS, batch_size: 3, max_length: 4, train_steps: 9 };
    const documents = [{ ids: Uint32Array.from({ length: 500 }, (_, i) => (i * i) % 50) }];
    const { count } = planArena(student.parameters);
    const [array, scaler] = [new ArrayBuffer(4 * count), new ArrayBuffer(SCALER.bytes)];
    const { files } = await writeRecipe(
      {
        config,
        student,
        data: prepareData(documents, config),
        weights: startingWeights(config, student),
        snapshot: { step: 5, master: array, mean: array, square: array, scaler },
      },
      {
        teacher: filesSource(teacher),
        tokenizer: { files: new Map([['tokenizer.json', Uint8Array.of(123, 125)]]), endOfText: 0 },
        corpus: { name: 'a.txt', own: true, sha256: 'ab' },
      },
    );
    return Promise.all(
      files.map(async (file) => {
        const content = await bytesOf(file);
        return {
          ...file,
          content,
          async *chunks() {
            yield new Uint8Array(content);
          },
        };
      }),
    );
  })();
  return made;
}

export const FILE_CUTS: readonly Attack[] = [
  caches('the teacher’s cache in Node', false, (disk) => openInNode(`${mount(disk)}/cache.bin`)),
  caches('the teacher’s cache of the page', true, (disk) => {
    usePageDisk(disk);
    return openOnPage();
  }),
  downloads('a download in Node', false, (disk) => diskCache(`${mount(disk)}/blocks`, () => {})),
  downloads('a download of the page', true, pageCache),
  exported,
  recipe,
].map(cuts);
