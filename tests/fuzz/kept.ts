// What is kept, and may come back damaged or from a stranger: checkpoints, journals, runs as one
// file, caches.

import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { checkConfig, DEFAULTS } from '../../src/config';
import { CacheError, CacheFile, type CacheIdentity } from '../../src/distill/teacher/cache-file';
import { sealed, unsealed } from '../../src/files/digest';
import { ModelFileError } from '../../src/files/download';
import { packEntry } from '../../src/reference/topk';
import { CheckpointError, readNewest, writeCheckpoint } from '../../src/runs/checkpoint';
import { JOURNAL, JournalWriter } from '../../src/runs/journal';
import { Library } from '../../src/runs/library';
import { MemoryStorage } from '../../src/runs/memory-storage';
import { openRunFile, unpackRun } from '../../src/runs/run-file';
import { memoryStorage } from '../memory-storage';
import { pack } from '../zip-fixture';
import { bytesLike, jsonText, textLike } from './mutate';
import { type Attack, encode, known, Misread, Told } from './run';

const config = { ...DEFAULTS, alpha: 0.25, prompt: 'The sea', train_steps: 40 };
const [RUN, OTHER] = ['20261126-100000-aaaaaa', '20261126-100001-bbbbbb'];
const facts = { config, student: {}, dtype: 'f32' as const, adapter: 'a', data: 'abc' };
const kept = new MemoryStorage();
const buffer = Float32Array.of(1, 2, 3, 4).buffer;
const snapshot = { step: 3, master: buffer, mean: buffer, square: buffer, scaler: buffer };
await writeCheckpoint(kept, '', facts, snapshot);
const journal = new JournalWriter(kept, '');
await journal.begin({
  id: RUN,
  time: '2026-11-26T10:00:00Z',
  link: '#v=1',
  config,
  adapter: { name: 'a' },
  dtype: 'f32',
  student: {},
});
for (let step = 1; step <= 4; step++)
  journal.step({
    step,
    loss: 5 - step,
    ce: 4,
    kd: 1,
    gradNorm: 1,
    learningRate: 0.001,
    lossScale: 64,
    applied: step !== 2,
    appliedTotal: step,
    skippedTotal: 0,
    tokens: 64,
    seconds: step,
  });
for (const step of [2, 4])
  journal.evaluation({
    step,
    tried: 1,
    succeeded: 1,
    failed: 0,
    tokens: 9,
    studentPerplexity: 40,
    kl: 0.5,
    overlap: 0.5,
    overlapMass: 0.5,
    confidence: 0.5,
    accuracy: 0.5,
    teacherEntropy: 1,
    studentEntropy: 1,
    softEntropy: 2,
    agreement: 0.5,
    teacherPerplexity: 30,
    klByPosition: [[0, 9, 9, 0.5]],
    klByFrequency: [[1, 9, 9, 0.5]],
    calibration: [[0, 1, 9, 0.5, 0.5]],
    path: 'strided',
    bytesCopied: 0,
    milliseconds: 1,
    experts: [0, 1].map((layer) => ({ layer, chosen: 1, load: [0.75, 0.25, 0], entropy: 0.9 })),
  });
journal.changed({ step: 2, changes: { alpha: 0.5 } });
journal.timing({ step: 4, seconds: 4 });
await journal.flush();
const CHECKPOINT = 'checkpoint-3.bin';
const checkpoint = kept.files.get(CHECKPOINT) as Uint8Array<ArrayBuffer>;
const metrics = new TextDecoder().decode(kept.files.get(JOURNAL));

const checkpoints = known({
  name: 'checkpoint',
  inputs: fc.oneof(
    bytesLike(checkpoint),
    // With a right checksum, as whoever changes the header by hand might write it.
    jsonText(
      JSON.parse(new TextDecoder().decode(checkpoint.subarray(0, checkpoint.indexOf(10)))),
    ).map((text) => {
      const line = encode(text);
      const sum = createHash('sha256').update(line).digest('hex');
      const arrays = checkpoint.subarray(checkpoint.indexOf(10) + 66);
      return new Uint8Array(Buffer.concat([line, encode(`\n${sum}\n`), arrays]));
    }),
  ),
  async read(bytes) {
    const storage = new MemoryStorage();
    storage.files.set(CHECKPOINT, bytes);
    const read = await readNewest(storage, '', () => {});
    const { step, ...arrays } = read.snapshot;
    const isStep = Number.isSafeInteger(step) && step >= 0;
    const same = Object.values(arrays).every(
      (one) => !Buffer.compare(Buffer.from(one), Buffer.from(buffer)),
    );
    if (!isStep || !same) throw new Misread('a state that was never written');
  },
  errors: [CheckpointError],
  says: /^checkpoint-3\.bin/,
  hinted: true,
});

/** A library that has taken in a run. */
const libraryOf = (storage: MemoryStorage) =>
  new Library(storage, { exclusive: (task) => task(), open: async () => new Set() });
/** @throws Misread if a row would show what is none */
async function look(storage: MemoryStorage): Promise<void> {
  // Beside another one.
  storage.files.set(`${OTHER}/${JOURNAL}`, encode(metrics));
  const library = libraryOf(storage);
  await library.tidy();
  const rows = await library.rows();
  if (rows.length !== 2) throw new Misread(`${rows.length} runs, not 2`);
  for (const row of rows) {
    if (checkConfig(row.config).length > 0 && row.state !== 'unreadable')
      throw new Misread('settings that are not valid');
    for (const text of [row.name, row.time, row.adapter, row.data])
      if (typeof text !== 'string') throw new Misread('a name that is no text');
    for (const figure of [row.step, row.perplexity ?? 0, row.seconds, ...row.curve])
      if (!Number.isFinite(figure)) throw new Misread('a figure that is none');
  }
}

const lines = metrics
  .trimEnd()
  .split('\n')
  .map((line) => JSON.parse(line));
/** The journal of a run, changed as text or in one of its lines. */
export const journalText = fc.oneof(
  textLike(metrics, [
    '{',
    '}',
    '"step":',
    'null',
    '\n',
    '{"type":"step"}\n',
    '{"type":"config"}\n',
  ]),
  fc
    .nat(lines.length - 1)
    .chain((at) =>
      jsonText(lines[at]).map((text) =>
        lines.map((line, i) => `${i === at ? text : JSON.stringify(line)}\n`).join(''),
      ),
    ),
);
const journals = known({
  name: JOURNAL,
  inputs: journalText,
  async read(text) {
    const storage = new MemoryStorage();
    storage.files.set(`${RUN}/${JOURNAL}`, encode(text));
    storage.files.set(`${RUN}/${CHECKPOINT}`, checkpoint);
    await look(storage);
  },
  errors: [],
  says: /\w/,
});

const runFiles = known({
  name: 'run file',
  inputs: fc.oneof(
    journalText.map((text) => ({ text, change: (bytes: Uint8Array<ArrayBuffer>) => bytes })),
    bytesLike(
      new Uint8Array(
        await pack([{ name: `r/${JOURNAL}`, content: encode(metrics) }]).arrayBuffer(),
      ),
    ).map((bytes) => ({ text: '', change: () => bytes })),
  ),
  async read({ text, change }) {
    const whole = pack([
      { name: `r/${JOURNAL}`, content: encode(text), deflate: true },
      { name: `r/${CHECKPOINT}`, content: checkpoint },
      { name: 'r/label.json', content: encode('{"name": 5, "deleted": {}}') },
    ]);
    const bytes = change(new Uint8Array(await whole.arrayBuffer()));
    const storage = new MemoryStorage();
    await unpackRun(await openRunFile('a.run.zip', new Blob([bytes])), storage, RUN);
    await look(storage);
  },
  errors: [CheckpointError, ModelFileError],
  says: /^a\.run\.zip|^checkpoint-3\.bin/,
  hinted: true,
});

const identity: CacheIdentity = {
  teacher: 'a',
  dtype: 'f32',
  V: 100,
  k: 2,
  temperature: 2,
  batchSize: 1,
  contextLength: 2,
  trainBatches: 2,
  heldOutBatches: 1,
  tokens: 'abc',
  prompt: 'x',
  sampleTokens: 1,
};
const cacheStorage = memoryStorage();
const entry = packEntry({ ids: [3, 7], values: [0, -1], tail: -2 }, identity.V);
await CacheFile.create(cacheStorage, identity, async (file) => {
  for (let place = 0; place < 3; place++)
    await file.write(place, Uint32Array.from([...entry, ...entry]));
  return { seconds: 1 };
});
const wholeCache = cacheStorage.bytes.slice();
/** Where the header's JSON begins, behind a magic number and its length. */
const HEADER = 12;
const LONGEST_HEADER = 2 ** 15;
const headerEnd = HEADER + new DataView(wholeCache.buffer).getUint32(HEADER - 4, true);
/** With a right checksum of the header. */
const otherHeader = jsonText(
  JSON.parse(new TextDecoder().decode(wholeCache.subarray(HEADER, headerEnd))),
).map((text) => {
  const bytes = wholeCache.slice();
  const json = encode(text).slice(0, LONGEST_HEADER);
  new DataView(bytes.buffer).setUint32(HEADER - 4, json.length, true);
  bytes.set(json, HEADER);
  bytes.set(createHash('sha256').update(json).digest(), HEADER + json.length);
  return bytes;
});
const caches = known({
  name: "teacher's cache",
  inputs: fc.oneof(bytesLike(wholeCache), otherHeader),
  async read(bytes) {
    const storage = memoryStorage();
    storage.bytes = bytes;
    const file = await CacheFile.open(storage, identity);
    for (let place = 0; place < 3; place++)
      if (
        Buffer.compare(
          Buffer.from((await file.read(place)).buffer),
          Buffer.from(Uint32Array.from([...entry, ...entry]).buffer),
        ) !== 0
      )
        throw new Misread(`batch ${place} differs`);
  },
  errors: [CacheError],
  says: /cache/,
  hinted: true,
});

const block = Uint8Array.from({ length: 500 }, (_, i) => i);
const blocks = known({
  name: 'block of a model, cached',
  inputs: bytesLike(await sealed(block)),
  async read(bytes) {
    const read = await unsealed(bytes, block.length);
    if (!read) throw new Told('It is damaged. It is read again.');
    if (Buffer.compare(read, block) !== 0) throw new Misread('other bytes');
  },
  errors: [],
  says: /again/,
});

export const KEPT: readonly Attack[] = [checkpoints, journals, runFiles, caches, blocks];
