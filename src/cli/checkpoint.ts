// A run's state as one file: a line of JSON that says what it is, then the optimiser's arrays as
// they lie on the GPU. Written beside and renamed, so that the file is always whole: the last
// checkpoint, or the one before it.

import { open, rename } from 'node:fs/promises';
import type { Config } from '../config';
import type { Snapshot } from '../distill/trainer';
import type { Places } from './flags';

/** What a run needs to know of the one that it continues. */
export interface RunFacts {
  config: Config;
  places: Places;
  /** The student's config, as its family has it. */
  student: object;
  dtype: 'f16' | 'f32';
  adapter: string;
  /** Of all documents' tokens, SHA-256 in hex. */
  data: string;
}

interface Header extends RunFacts {
  version: 1;
  step: number;
  /** Bytes of each array, in order. */
  bytes: number[];
}

const ARRAYS = ['master', 'mean', 'square', 'scaler'] as const;
/** A header is a few thousand bytes; a file without a line break so far is something else. */
const MOST_HEADER = 2 ** 20;

export class CheckpointError extends Error {
  override name = 'CheckpointError';
}

/** @throws the file system's error, e.g. of a full disk; the checkpoint before it stays */
export async function writeCheckpoint(
  path: string,
  facts: RunFacts,
  snapshot: Snapshot,
): Promise<void> {
  const bytes = ARRAYS.map((name) => snapshot[name].byteLength);
  const header: Header = { version: 1, step: snapshot.step, bytes, ...facts };
  const file = await open(`${path}.new`, 'w');
  try {
    await file.writeFile(`${JSON.stringify(header)}\n`);
    for (const name of ARRAYS) await file.writeFile(new Uint8Array(snapshot[name]));
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
}

/** @throws CheckpointError if there is no whole checkpoint of this version */
export async function readCheckpoint(
  path: string,
): Promise<{ facts: RunFacts; snapshot: Snapshot }> {
  const file = await open(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
    throw new CheckpointError(
      `${path} is not there, so there is nothing to go on from. Start without --resume.`,
    );
  });
  try {
    const { size } = await file.stat();
    const start = Buffer.alloc(Math.min(size, MOST_HEADER));
    await file.read(start, 0, start.length, 0);
    const end = start.indexOf('\n');
    const { version, step, bytes, ...facts } = parseHeader(
      start.subarray(0, Math.max(0, end)).toString(),
      path,
    );
    if (version !== 1) {
      throw new CheckpointError(
        `${path} has version ${version}; this Stillhouse reads 1. Use the one that wrote it.`,
      );
    }
    const needed = bytes.reduce((sum, count) => sum + count, end + 1);
    if (size !== needed) {
      const told = `${path} is ${size} bytes long, its first line says ${needed}`;
      throw new CheckpointError(
        `${told}. It is damaged; start without --resume, in another folder.`,
      );
    }
    let at = end + 1;
    const arrays: ArrayBuffer[] = [];
    for (const count of bytes) {
      const array = new Uint8Array(count);
      for (let done = 0; done < count; )
        done += (await file.read(array, done, count - done, at + done)).bytesRead;
      arrays.push(array.buffer);
      at += count;
    }
    const [master, mean, square, scaler] = arrays;
    return { facts, snapshot: { step, master, mean, square, scaler } };
  } finally {
    await file.close();
  }
}

function parseHeader(line: string, path: string): Header {
  try {
    const header = JSON.parse(line) as Header;
    if (Array.isArray(header.bytes) && header.bytes.length === ARRAYS.length) return header;
  } catch {
    // Told below: whatever it is, it is no checkpoint.
  }
  throw new CheckpointError(
    `${path} is no checkpoint of Stillhouse. Start without --resume, in another folder.`,
  );
}
