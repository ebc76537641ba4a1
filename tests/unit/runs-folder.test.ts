// A run's folder: a checkpoint is whole or refused and the one before it taken, and the journal
// continues after a checkpoint. The same on disk and in memory.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { DiskStorage } from '../../src/cli/disk-storage';
import { storyOf, whyUseless } from '../../src/cli/outcome';
import { DEFAULTS } from '../../src/config';
import type { EvaluationRecord, StepRecord } from '../../src/distill/records';
import { fingerprinted } from '../../src/files/fingerprint';
import { filesSource } from '../../src/files/source';
import {
  CheckpointError,
  checkpointsIn,
  dataHash,
  type RunFacts,
  readNewest,
  writeCheckpoint,
} from '../../src/runs/checkpoint';
import { identities } from '../../src/runs/identity';
import { JournalWriter, parseJournal, type RunSettings } from '../../src/runs/journal';
import { MemoryStorage } from '../../src/runs/memory-storage';
import { openRunFile, packRun, unpackRun } from '../../src/runs/run-file';
import { requireSame } from '../../src/runs/same-run';
import type { RunStorage } from '../../src/runs/storage';
import { keepTexts, readTexts } from '../../src/runs/texts';
import { replay } from '../../src/worker/kept-run';

const folder = mkdtempSync(join(tmpdir(), 'stillhouse-runs-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let folders = 0;
const STORAGES: [string, () => RunStorage][] = [
  ['memory', () => new MemoryStorage()],
  ['disk', () => new DiskStorage(join(folder, `${folders++}`))],
];

const utf8 = (text: string) => new TextEncoder().encode(text);
const floats = (...values: number[]) => Float32Array.from(values).buffer;
const snapshotAt = (step: number) => ({
  step,
  master: floats(1, 2, step),
  mean: floats(4, 5, 6),
  square: floats(7, 8, 9),
  scaler: floats(65536),
});
const facts: RunFacts = {
  config: { ...DEFAULTS, prompt: 'Zwölf\nWale' },
  places: { data: ['a.txt'] },
  student: { vocab_size: 97, n_embd: 16 },
  dtype: 'f32',
  adapter: 'test',
  engine: 'stillhouse',
  data: 'abc',
};
const settings: RunSettings = {
  ...facts,
  version: 2,
  time: '2026-11-26T12:00:00.000Z',
  link: '#v=1&x',
  adapter: { name: 'test' },
  data: { name: 'book', own: false, sha256: 'abc' },
};
const fail = (text: string) => expect.fail(text);

describe.each(STORAGES)('in %s', (_, make) => {
  test('files grow, are replaced, listed in folders, read in parts and removed', async () => {
    const storage = make();
    expect([await storage.list(''), await storage.read('a/b')]).toEqual([[], undefined]);
    await storage.append('a/b', utf8('one'));
    await storage.append('a/b', utf8('two'));
    await storage.flush('a/b');
    await storage.write('a/c', [utf8('thr'), utf8('ee')]);
    await storage.write('a/c', [utf8('four')]);
    expect(await storage.list('')).toEqual([{ name: 'a' }]);
    const entries = (await storage.list('a')).sort((x, y) => x.name.localeCompare(y.name));
    expect(entries).toEqual([
      { name: 'b', bytes: 6 },
      { name: 'c', bytes: 4 },
    ]);
    const text = async (...range: [number?, number?]) =>
      new TextDecoder().decode(await storage.read('a/b', ...range));
    expect([await text(), await text(2, 4), await text(4, 99), await text(99)]).toEqual([
      'onetwo',
      'et',
      'wo',
      '',
    ]);
    await storage.close('a');
    await storage.remove('a/b');
    expect((await storage.list('a')).map(({ name }) => name)).toEqual(['c']);
    await storage.remove('a');
    await storage.remove('a');
    expect(await storage.list('a')).toEqual([]);
  });

  test('a checkpoint is read back unchanged, and the last two are kept', async () => {
    const storage = make();
    for (const step of [3, 7, 20]) await writeCheckpoint(storage, 'run', facts, snapshotAt(step));
    const read = await readNewest(storage, 'run', fail);
    expect(read).toEqual({ facts, snapshot: snapshotAt(20) });
    expect((await checkpointsIn(storage, 'run')).map(({ step }) => step)).toEqual([20, 7]);
    // The rest of an interrupted write does not count, and goes with the next one.
    await storage.append('run/checkpoint-25.bin.new', utf8('half'));
    expect((await readNewest(storage, 'run', fail)).snapshot.step).toBe(20);
    await storage.close('run');
    await writeCheckpoint(storage, 'run', facts, snapshotAt(30));
    expect((await storage.list('run')).map(({ name }) => name).sort()).toEqual([
      'checkpoint-20.bin',
      'checkpoint-30.bin',
    ]);
  });

  test('a resumed journal drops what came after the checkpoint', async () => {
    const storage = make();
    const journal = new JournalWriter(storage, 'run');
    await journal.begin(settings);
    journal.evaluation(evaluation(0));
    for (const number of [1, 2, 3]) journal.step(step(number));
    journal.changed({ step: 4, changes: { alpha: 0.5 } });
    journal.evaluation(evaluation(3));
    await journal.flush();
    await storage.append('run/metrics.jsonl', utf8('{"type":"step","st'));
    await storage.close('run');

    const resumed = new JournalWriter(storage, 'run');
    await resumed.resume(2, settings);
    expect([resumed.lastStep?.step, resumed.lastEvaluation?.step]).toEqual([2, 0]);
    resumed.step(step(3));
    const read = await resumed.read();
    expect(read.settings).toEqual(settings);
    expect(read.steps).toEqual([1, 2, 3].map(step));
    expect([read.evaluations, read.changes]).toEqual([[evaluation(0)], []]);
    expect(read.resumed).toEqual([{ step: 2, time: settings.time }]);
    // NaN is null in the file, never 0.
    const text = new TextDecoder().decode(await storage.read('run/metrics.jsonl'));
    expect(text).toContain('"kd":null');
    await storage.close('run');
  });
});

/** A folder whose checkpoint at step 7, but not that at step 3, has been changed. */
async function damagedBy(change: (bytes: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>) {
  const storage = new MemoryStorage();
  for (const step of [3, 7]) await writeCheckpoint(storage, '', facts, snapshotAt(step));
  const bytes = (await storage.read('checkpoint-7.bin')) as Uint8Array<ArrayBuffer>;
  await storage.write('checkpoint-7.bin', [change(bytes)]);
  return storage;
}

test('a checkpoint with any one bit flipped is refused, and the one before it taken', async () => {
  const storage = await damagedBy((bytes) => bytes);
  const bytes = storage.files.get('checkpoint-7.bin') as Uint8Array;
  for (let at = 0; at < bytes.length; at++) {
    bytes[at] ^= 1 << (at % 8);
    const said: string[] = [];
    const { snapshot } = await readNewest(storage, '', (text) => said.push(text)).catch((error) => {
      // The flipped bit may raise the version, which an older file does not stand in for.
      expect([at, error.kind]).toEqual([expect.any(Number), 'newer']);
      return { snapshot: snapshotAt(3) };
    });
    expect(snapshot.step, `byte ${at}`).toBe(3);
    bytes[at] ^= 1 << (at % 8);
  }
});

test.each<[string, (bytes: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>, string]>([
  ['cut', (bytes) => bytes.slice(0, -4), 'bytes, but its first line says'],
  ['empty', () => new Uint8Array(), 'is not a Stillhouse checkpoint'],
  ['foreign', () => utf8('PK\u0003\u0004'), 'is not a Stillhouse checkpoint'],
  [
    'with a bit of the weights flipped',
    (bytes) => bytes.fill(bytes[bytes.length - 40] ^ 4, -40, -39),
    'is damaged: the weights do not match their checksum.',
  ],
])('a checkpoint that is %s is told by what is wrong', async (_, change, message) => {
  const storage = await damagedBy(change);
  const said: string[] = [];
  await readNewest(storage, '', (text) => said.push(text));
  expect(said).toEqual([
    expect.stringMatching(/^checkpoint-7\.bin is .* The checkpoint before it, checkpoint-3\.bin, /),
  ]);
  expect(said[0]).toContain(message);
  await storage.remove('checkpoint-3.bin');
  await expect(readNewest(storage, '', fail)).rejects.toMatchObject({ kind: 'damaged' });
});

test('no checkpoint, or one of a later version, is an error of its own', async () => {
  const storage = new MemoryStorage();
  await expect(readNewest(storage, '', fail)).rejects.toThrow('There is no checkpoint');
  await writeCheckpoint(storage, '', facts, snapshotAt(3));
  await storage.write('checkpoint-9.bin', [utf8('{"version":3}\n')]);
  // The run goes on with the version that wrote it; an older checkpoint would lose its steps.
  await expect(readNewest(storage, '', fail)).rejects.toThrow(
    'checkpoint-9.bin has version 3; this Stillhouse reads versions up to 2.',
  );
});

test('a checkpoint and metrics of version 1 are read', async () => {
  const storage = new MemoryStorage();
  const { step: at, ...arrays } = snapshotAt(5);
  const { engine: _, ...old } = facts;
  const bytes = Object.values(arrays).map(({ byteLength }) => byteLength);
  const header = (fields: object) =>
    utf8(`${JSON.stringify({ version: 1, step: at, bytes, ...old, ...fields })}\n`);
  const write = (fields: object) =>
    storage.write('checkpoint.bin', [
      header(fields),
      ...Object.values(arrays).map((array) => new Uint8Array(array)),
    ]);
  await write({});
  expect(await readNewest(storage, '', fail)).toEqual({ facts: old, snapshot: snapshotAt(5) });
  for (const fields of [{ step: 'x' }, { step: -1 }, { config: null }, { bytes: [12, 12, 8, 8] }]) {
    await write(fields);
    await expect(readNewest(storage, '', fail), JSON.stringify(fields)).rejects.toThrow(
      CheckpointError,
    );
  }
  const config = '{"type":"config","version":1,"config":{}}';
  const lines = [config, JSON.stringify({ type: 'step', ...step(1), loss: 2 }), ''].join('\n');
  expect(parseJournal(lines)).toMatchObject({ settings: { version: 1 }, steps: [{ loss: 2 }] });
});

test('a resumed journal keeps the steps of the twin, which has a pace of its own', async () => {
  const storage = new MemoryStorage();
  const first = new JournalWriter(storage, '');
  const paced = { ...settings, config: { ...settings.config, twin_pace: 1.5 } };
  await first.begin(paced);
  for (const at of [1, 2, 3, 4]) first.step(step(at));
  for (const at of [1, 2, 3, 4, 5, 6]) first.twinStep(step(at));
  await first.flush();
  const { steps, twin } = await new JournalWriter(storage, '').resume(2, paced);
  expect([steps.at(-1)?.step, twin.steps.at(-1)?.step]).toEqual([2, 3]);
});

test('a resumed journal that finds no room keeps what it is told until it does', async () => {
  const storage = new MemoryStorage();
  const first = new JournalWriter(storage, '');
  await first.begin(settings);
  for (const at of [1, 2, 3]) first.step(step(at));
  await first.flush();
  const journal = new JournalWriter(storage, '');
  storage.capacity = 0;
  await expect(journal.resume(2, settings)).rejects.toMatchObject({ kind: 'full' });
  journal.step(step(3));
  storage.capacity = Number.POSITIVE_INFINITY;
  expect((await journal.resume(2, settings)).steps.map((record) => record.step)).toEqual([1, 2]);
  journal.step(step(4));
  expect((await journal.read()).steps.map((record) => record.step)).toEqual([1, 2, 3, 4]);
});

test('a run as one file is the run and nothing else, and is unpacked whole or not', async () => {
  const storage = new MemoryStorage();
  const journal = new JournalWriter(storage, '');
  await journal.begin(settings);
  journal.step(step(1));
  await journal.flush();
  for (const at of [1, 2]) await writeCheckpoint(storage, '', facts, snapshotAt(at));
  const texts = await keepTexts(storage, '', [{ name: 'a.txt', bytes: utf8('Wal') }], {});
  await storage.write('model.safetensors', [utf8('a student')]);
  const zip = await packRun(storage, '', 'amber-heron', '');
  const packed = await openRunFile('it.zip', zip);
  expect(packed.settings).toMatchObject({ time: settings.time, places: facts.places });

  const other = new MemoryStorage();
  await unpackRun(packed, other, 'here');
  expect([...other.files.keys()].sort()).toEqual(
    ['checkpoint-1.bin', 'checkpoint-2.bin', 'metrics.jsonl', 'text-0'].map((n) => `here/${n}`),
  );
  for (const [path, bytes] of other.files)
    expect(bytes).toEqual(storage.files.get(path.slice('here/'.length)));
  expect(await readTexts(other, 'here', texts)).toEqual([{ name: 'a.txt', bytes: utf8('Wal') }]);

  const bytes = new Uint8Array(await zip.arrayBuffer());
  bytes[bytes.length >> 1] ^= 1;
  const damaged = await openRunFile('it.zip', new Blob([bytes]));
  await expect(unpackRun(damaged, other, 'there')).rejects.toThrow('it.zip: amber-heron/');
  expect(await other.list('there')).toEqual([]);
  const full = new MemoryStorage(zip.size >> 1);
  await expect(unpackRun(packed, full, 'there')).rejects.toMatchObject({ kind: 'full' });
  expect(full.files.size).toBe(0);
  await expect(packRun(other, 'there', 'x', '')).rejects.toThrow('no run to save');
});

test('of a run that is too large for one file, only the last checkpoint is packed', async () => {
  const storage = new MemoryStorage();
  const journal = new JournalWriter(storage, '');
  await journal.begin(settings);
  for (const at of [1, 2]) await writeCheckpoint(storage, '', facts, snapshotAt(at));
  const list = storage.list.bind(storage);
  /** As if each checkpoint had so many GiB. */
  const pack = (gib: number) => {
    storage.list = async (folder) =>
      (await list(folder)).map((entry) =>
        entry.name.startsWith('checkpoint') ? { ...entry, bytes: gib * 2 ** 30 } : entry,
      );
    return packRun(storage, '', 'amber-heron', 'Copy its folder instead.');
  };
  const { files } = await openRunFile('it.zip', await pack(3));
  expect([...files.keys()]).toEqual(['checkpoint-2.bin', 'metrics.jsonl']);
  await expect(pack(5)).rejects.toThrow(
    'The run amber-heron has 5.00 GiB, but a .zip holds 4. Copy its folder instead.',
  );
});

test('damaged lines of a journal are left out and listed, also by a resumed run', async () => {
  const storage = new MemoryStorage();
  const whole = JSON.stringify({ type: 'step', ...step(1) });
  // A step that does not say whether it was applied is none.
  const text = `{"type":"config"}\nhello\nnull\n${whole}\n{"type":"step","step":2}\n{"type":"st`;
  await storage.write('metrics.jsonl', [utf8(text)]);
  const { damaged, steps } = parseJournal(text);
  expect([damaged, steps]).toEqual([[2, 3, 5], [step(1)]]);
  const journal = new JournalWriter(storage, '');
  await journal.resume(2, settings);
  expect(await journal.read()).toMatchObject({ damaged: [], steps: [{ step: 1 }] });
});

test('of changed settings, a journal gives valid ones that this version changes live', () => {
  const line = (changes: object) => JSON.stringify({ type: 'changed', step: 2, changes });
  const { changes, damaged } = parseJournal(
    `${line({ alpha: 0.5, no_setting: {}, train_steps: 9 })}\n${line({ alpha: [[]] })}\n`,
  );
  expect(changes).toEqual([{ step: 2, changes: { alpha: 0.5 } }]);
  expect(damaged).toEqual([2]);
});

test('a group of an evaluation has its bounds, its tokens and its figures', () => {
  const counts = { step: 1, tried: 1, succeeded: 1, failed: 0, tokens: 9 };
  const lines = [[1, 2, 3, 4], [1, 2, 3, null], [1, 2, 3], [1, null, 3, 4], []].map((group) =>
    JSON.stringify({ type: 'evaluation', ...counts, klByPosition: [group] }),
  );
  expect(parseJournal(`${lines.join('\n')}\n`).damaged).toEqual([3, 4, 5]);
});

test('a run continues with its checkpoint’s settings where its journal’s are not valid', () => {
  const initialOf = (alpha: unknown) => {
    const journal = parseJournal(`${JSON.stringify({ type: 'config', config: { alpha } })}\n`);
    const [event] = replay('a-run-of-it', { journal, snapshot: snapshotAt(1), facts, seconds: 1 });
    return event.type === 'continued' ? event.initial.alpha : undefined;
  };
  expect([initialOf(0.25), initialOf([[]])]).toEqual([0.25, facts.config.alpha]);
});

test('a full storage fails the next flush and keeps the previous checkpoint', async () => {
  const storage = new MemoryStorage();
  const journal = new JournalWriter(storage, '');
  await journal.begin(settings);
  await writeCheckpoint(storage, '', facts, snapshotAt(3));
  const used = [...storage.files.values()].reduce((sum, { length }) => sum + length, 0);
  storage.capacity = used + 10;
  journal.step(step(4));
  await expect(journal.flush()).rejects.toMatchObject({ kind: 'full' });
  await expect(writeCheckpoint(storage, '', facts, snapshotAt(4))).rejects.toThrow('no room');
  expect((await readNewest(storage, '', fail)).snapshot.step).toBe(3);
});

test('a checkpoint of other data or sizes does not fit; another adapter changes the bits', () => {
  const said: string[] = [];
  const say = (text: string) => said.push(text);
  requireSame(facts, facts, fail);
  const changed = { ...facts, data: 'x', student: { vocab_size: 97 } };
  expect(() => requireSame(facts, changed, say)).toThrow(
    'The checkpoint does not fit: the data or the tokenizer changed, and the student’s sizes ' +
      'changed: n_embd is unset, but 16 in the checkpoint. Restore what changed, or start a new',
  );
  requireSame(facts, { ...facts, adapter: 'other', engine: 'onnxruntime' }, say);
  expect(said).toEqual([
    'The checkpoint was made on test in f32 and with the teacher in stillhouse. ' +
      'The run continues, but with different bits.',
  ]);
});

test('another teacher of the same name does not fit, and the message says in what', async () => {
  const weights = Float32Array.from({ length: 100_000 }, (_, i) => i);
  const read = async (values: Float32Array<ArrayBuffer>, revision: string, part = 1) => {
    const files = new Map([
      ['config.json', new Blob(['{}'])],
      ['model.safetensors', new Blob([values])],
    ]);
    const [source, fingerprint] = fingerprinted(filesSource(files));
    await source.read('config.json');
    const bytes = values.byteLength * part;
    // In pieces, and one of them twice, as loading may.
    for (let at = 0; at < bytes; at += 100_000)
      await source.range('model.safetensors', at, Math.min(at + 100_000, bytes));
    await source.range('model.safetensors', 0, 5000);
    const opened = { reference: 'org/name', source, fingerprint };
    const models = await identities({ ...opened, source: { ...source, revision: () => revision } });
    return { ...facts, models };
  };
  const before = await read(weights, '0123456789abcdef');
  expect(before.models.teacher.files?.['model.safetensors'].bytes).toBe(65_536);
  requireSame(before, await read(weights, 'fedcba9876543210'), fail);
  requireSame(facts, before, fail);
  const trained = weights.map((value) => value + 1);
  const other = await read(trained, 'fedcba9876543210');
  expect(() => requireSame(before, other, fail)).toThrow(
    'The checkpoint does not fit: the teacher org/name is another model: other ' +
      'model.safetensors (revision fedcba9876, but 0123456789 in the checkpoint).',
  );
  // What was not read, because a cache took its place, says nothing.
  requireSame(before, await read(trained, '', 0.5), fail);
});

test('the hash of the data is that of lengths and tokens, wherever they lie', async () => {
  const ids = Uint32Array.of(9, 1, 2, 3);
  const hash = await dataHash([{ ids: ids.subarray(1) }, { ids: Uint32Array.of() }]);
  // printf '3 \1\0\0\0\2\0\0\0\3\0\0\0000 ' | sha256sum
  expect(hash).toBe('39b78ed750a916779fe3d954150e3b6ec46c3b7bc06792981731f1413f04d5ec');
  const other = await dataHash([{ ids: Uint32Array.of(1, 2) }, { ids: Uint32Array.of(3) }]);
  expect(other).not.toBe(hash);
  const learned = Uint8Array.of(1, 0, 1);
  expect(await dataHash([{ ids: ids.subarray(1), learned }])).not.toBe(hash);
});

test('a student that no step changed, or without a finite perplexity, is of no use', () => {
  const last = (fields: Partial<StepRecord>) => ({ ...step(9), ...fields });
  const useful = { ...evaluation(9), studentPerplexity: 12 };
  const start = { step: 0, applied: 0 };
  expect(whyUseless(start, last({ appliedTotal: 9 }), useful)).toBeUndefined();
  expect(whyUseless(start, last({ appliedTotal: 0 }), useful)).toMatch(/^no step changed/);
  const from4 = { step: 4, applied: 4 };
  expect(whyUseless(from4, last({ appliedTotal: 4 }), useful)).toMatch(/^no step after step 4 /);
  // A run that is resumed when it is done has no steps of its own.
  expect(whyUseless({ step: 9, applied: 9 }, last({ appliedTotal: 9 }), useful)).toBeUndefined();
  const broken = { ...useful, studentPerplexity: Number.NaN };
  expect(whyUseless(start, last({ appliedTotal: 9 }), broken)).toMatch(/^the student is broken/);
  // Without a valid token there is no perplexity; that is told by itself.
  expect(whyUseless(start, last({ appliedTotal: 9 }), evaluation(0))).toBeUndefined();
});

test('a model card gets every evaluation and at most 25 of the steps', () => {
  const steps = Array.from({ length: 60 }, (_, i) => step(i + 1));
  const story = storyOf({ ...parseJournal(''), steps, evaluations: [evaluation(0)] });
  expect(story.losses).toHaveLength(25);
  expect([story.losses[24].step, story.evaluations.length]).toEqual([60, 1]);
});

function step(number: number): StepRecord {
  const loss = number / 2;
  return { step: number, applied: true, loss, lossScale: 1, kd: Number.NaN } as StepRecord;
}

function evaluation(number: number): EvaluationRecord {
  const tokens = number > 0 ? 5 : 0;
  return { step: number, tried: 1, succeeded: 1, failed: 0, tokens } as EvaluationRecord;
}
