// A run's state in one file, `checkpoint-<step>.bin`: a line of JSON that describes it, a line with
// the SHA-256 of that line, then the optimiser's arrays with the bytes of their GPU buffers. The
// first line has the SHA-256 of each array, so that a damaged checkpoint is refused. A folder keeps
// the last two, so that there is one to take instead.
//
// Version 1 was a single `checkpoint.bin` without checksums. It is still read.

import type { Config } from '../config';
import { shownJson } from '../quote';
import type { ModelIdentities } from './identity';
import { inFolder, type RunStorage, type StoredEntry } from './storage';

/** What a resumed run must know about the run that it continues. */
export interface RunFacts {
  /** With the changes of live settings up to the checkpoint. */
  config: Config;
  /** Where the command line found its models and texts; none for a run of the page. */
  places?: object;
  /** The student's config, as its family has it. */
  student: object;
  dtype: 'f16' | 'f32';
  adapter: string;
  /** What ran the teacher; unknown in old checkpoints. */
  engine?: string;
  /** SHA-256 of all documents' tokens, in hex. */
  data: string;
  /** Unknown in old checkpoints. */
  models?: ModelIdentities;
}

const ARRAYS = ['master', 'mean', 'square', 'scaler'] as const;

/** The step, and the arrays of the optimiser's state as their buffers have them. */
export type Arrays = { step: number } & Record<(typeof ARRAYS)[number], ArrayBuffer>;

export interface Checkpoint {
  facts: RunFacts;
  snapshot: Arrays;
}

interface Header extends RunFacts {
  version: 1 | 2;
  step: number;
  /** Byte length of each array, in the file's order. */
  bytes: number[];
  /** Of each array. Version 1 has none. */
  sha256?: string[];
}

const VERSION = 2;
/** Bytes to search for the end of the header, which is a few thousand bytes long. */
const LONGEST_HEADER = 2 ** 20;
const HASH_LETTERS = 64;
const FILE_NAME = /^checkpoint(?:-(\d+))?\.bin$/;
/** With what an interrupted write left. */
const ANY_FILE_NAME = /^checkpoint(?:-\d+)?\.bin(?:\.new)?$/;

/** none: there is no checkpoint. newer: a later version wrote it. misfit: of another run. */
export class CheckpointError extends Error {
  override name = 'CheckpointError';
  constructor(
    readonly kind: 'none' | 'damaged' | 'newer' | 'misfit',
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/**
 * Writes a checkpoint and then removes all others but the one before it.
 * @throws the storage's error, e.g. for a full disk; the previous checkpoints are then kept
 */
export async function writeCheckpoint(
  storage: RunStorage,
  folder: string,
  facts: RunFacts,
  snapshot: Arrays,
): Promise<void> {
  const arrays = ARRAYS.map((name) => new Uint8Array(snapshot[name]));
  const header: Header = {
    version: VERSION,
    step: snapshot.step,
    bytes: arrays.map(({ length }) => length),
    sha256: await Promise.all(arrays.map(sha256)),
    ...facts,
  };
  const line = new TextEncoder().encode(JSON.stringify(header));
  const end = new TextEncoder().encode(`\n${await sha256(line)}\n`);
  const name = `checkpoint-${snapshot.step}.bin`;
  await storage.write(inFolder(folder, name), [line, end, ...arrays]);

  const files = await storage.list(folder);
  const before = checkpointsAmong(files).find(({ step }) => step < snapshot.step);
  for (const { name: other } of files) {
    if (ANY_FILE_NAME.test(other) && other !== name && other !== before?.name)
      await storage.remove(inFolder(folder, other));
  }
}

/** A folder's checkpoints, the newest first. One of version 1 counts as the oldest. */
export const checkpointsIn = async (storage: RunStorage, folder: string) =>
  checkpointsAmong(await storage.list(folder));

/** Those among a folder's files, in that order. */
export function checkpointsAmong(
  files: readonly StoredEntry[],
): { name: string; step: number; bytes: number }[] {
  const found: { name: string; step: number; bytes: number }[] = [];
  for (const { name, bytes } of files) {
    const match = FILE_NAME.exec(name);
    if (match && bytes !== undefined) found.push({ name, step: Number(match[1] ?? 0), bytes });
  }
  return found.sort((a, b) => b.step - a.step);
}

/** Removes the checkpoints before the last. Returns whether there were any. */
export async function dropSpare(storage: RunStorage, folder: string): Promise<boolean> {
  const [, ...spare] = await checkpointsIn(storage, folder);
  for (const { name } of spare) await storage.remove(inFolder(folder, name));
  return spare.length > 0;
}

/**
 * The newest checkpoint that is not damaged. `say` is told of each that is.
 * @throws CheckpointError if there is none
 */
export async function readNewest(
  storage: RunStorage,
  folder: string,
  say: (text: string) => void,
): Promise<Checkpoint> {
  const found = await checkpointsIn(storage, folder);
  for (const [i, { name }] of found.entries()) {
    try {
      return await readCheckpoint(storage, folder, name);
    } catch (error) {
      const isDamaged = error instanceof CheckpointError && error.kind === 'damaged';
      if (!isDamaged || i === found.length - 1) throw error;
      say(`${error.message} The checkpoint before it, ${found[i + 1].name}, is taken.`);
    }
  }
  throw new CheckpointError('none', 'There is no checkpoint, so there is nothing to resume.');
}

/** @throws CheckpointError if the file is damaged or of a later version */
async function readCheckpoint(
  storage: RunStorage,
  folder: string,
  name: string,
): Promise<Checkpoint> {
  const path = inFolder(folder, name);
  const start = (await storage.read(path, 0, LONGEST_HEADER)) ?? new Uint8Array();
  const end = Math.max(0, start.indexOf('\n'.charCodeAt(0)));
  const line = start.subarray(0, end);
  const { version, step, bytes, sha256: hashes, ...facts } = parseHeader(line, name);
  let at = end + 1;
  if (version > 1) {
    at += HASH_LETTERS + 1;
    const second = new TextDecoder().decode(start.subarray(end + 1, at));
    if (second !== `${await sha256(line)}\n`)
      throw damaged(name, 'its first line does not match its checksum');
  }
  const size = (await storage.list(folder)).find((entry) => entry.name === name)?.bytes;
  const needed = bytes.reduce((sum, count) => sum + count, at);
  if (size !== needed)
    throw damaged(name, `it has ${size} bytes, but its first line says ${needed}`);
  const arrays: ArrayBuffer[] = [];
  for (const [i, count] of bytes.entries()) {
    const array = await storage.read(path, at, at + count);
    if (array?.length !== count) throw damaged(name, 'it ended while it was read');
    if (hashes && hashes[i] !== (await sha256(array)))
      throw damaged(name, `${WHAT[i]} do not match their checksum`);
    arrays.push(array.buffer);
    at += count;
  }
  const [master, mean, square, scaler] = arrays;
  return { facts, snapshot: { step, master, mean, square, scaler } };
}

const WHAT = ['the weights', 'the first moments', 'the second moments', 'the loss scaler’s bytes'];

const damaged = (name: string, why: string) =>
  new CheckpointError('damaged', `${name} is damaged: ${why}.`);

/** @throws CheckpointError unless every field is what a checkpoint has */
function parseHeader(line: Uint8Array, name: string): Header {
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder().decode(line));
  } catch {
    // Not JSON, so not a checkpoint: reported below.
  }
  const { version, step, bytes, sha256: hashes, ...facts } = (header ?? {}) as Header;
  if (typeof version === 'number' && version > VERSION) {
    throw new CheckpointError(
      'newer',
      `${name} has version ${version}; this Stillhouse reads versions up to ${VERSION}. ` +
        'Resume with the version that wrote it.',
    );
  }
  const isLength = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
  const isChecked = version === 1 || (Array.isArray(hashes) && hashes.length === ARRAYS.length);
  const isCheckpoint =
    isLength(version) && Array.isArray(bytes) && bytes.length === ARRAYS.length && isChecked;
  if (!isCheckpoint)
    throw new CheckpointError('damaged', `${name} is not a Stillhouse checkpoint.`);
  const isState = bytes.every((count) => isLength(count) && count % 4 === 0);
  // The weights and both moments are equally long.
  if (!isLength(step) || !isState || bytes[0] !== bytes[1] || bytes[0] !== bytes[2])
    throw damaged(
      name,
      `its first line says step ${shownJson(step)} and arrays of ${shownJson(bytes)} bytes`,
    );
  const { config, student, data } = facts;
  const isConfig = typeof config === 'object' && config !== null;
  if (!isConfig || typeof student !== 'object' || student === null || typeof data !== 'string')
    throw damaged(name, 'its first line lacks the settings, the student or the data');
  return { version, step, bytes, sha256: version === 1 ? undefined : hashes, ...facts };
}

/** In hex. */
async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * Identifies a run's data: the hash of each document's length and tokens, and of which are learned
 * if not all are. The same on the page and the command line.
 */
export function dataHash(
  documents: readonly { ids: Uint32Array; learned?: Uint8Array }[],
): Promise<string> {
  const parts = documents.flatMap(({ ids, learned }): Uint8Array[] => [
    new TextEncoder().encode(`${ids.length} `),
    new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength),
    learned ?? new Uint8Array(0),
  ]);
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return sha256(whole);
}
