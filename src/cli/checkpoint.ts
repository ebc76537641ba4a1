// A run's state in one file: a line of JSON that describes it, then the optimiser's arrays with the
// bytes of their GPU buffers. Written to a temporary file and renamed, so that an interrupted write
// leaves the previous checkpoint intact.

import { open, rename } from 'node:fs/promises';
import type { Config } from '../config';
import type { Snapshot } from '../distill/training-state';
import type { Places } from './flags';

/** What a resumed run must know about the run that it continues. */
export interface RunFacts {
  config: Config;
  places: Places;
  /** The student's config, as its family has it. */
  student: object;
  dtype: 'f16' | 'f32';
  adapter: string;
  /** SHA-256 of all documents' tokens, in hex. */
  data: string;
}

interface Header extends RunFacts {
  version: 1;
  step: number;
  /** Byte length of each array, in the file's order. */
  bytes: number[];
}

const ARRAYS = ['master', 'mean', 'square', 'scaler'] as const;
/** Bytes to search for the end of the header, which is a few thousand bytes long. */
const LONGEST_HEADER = 2 ** 20;

export class CheckpointError extends Error {
  override name = 'CheckpointError';
}

/** @throws the file system's error, e.g. for a full disk; the previous checkpoint is then kept */
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

/** @throws CheckpointError if there is no complete checkpoint of this version */
export async function readCheckpoint(
  path: string,
): Promise<{ facts: RunFacts; snapshot: Snapshot }> {
  const file = await open(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
    throw new CheckpointError(
      `${path} does not exist, so there is nothing to resume. Start without --resume.`,
    );
  });
  try {
    const { size } = await file.stat();
    const start = Buffer.alloc(Math.min(size, LONGEST_HEADER));
    await file.read(start, 0, start.length, 0);
    const end = start.indexOf('\n');
    const { version, step, bytes, ...facts } = parseHeader(
      start.subarray(0, Math.max(0, end)).toString(),
      path,
    );
    if (version !== 1) {
      throw new CheckpointError(
        `${path} has version ${version}; this Stillhouse reads version 1. ` +
          'Resume with the version that wrote it.',
      );
    }
    const needed = bytes.reduce((sum, count) => sum + count, end + 1);
    if (size !== needed) {
      throw new CheckpointError(
        `${path} is damaged: it has ${size} bytes, but its first line says ${needed}. ` +
          'Start without --resume, in another folder.',
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
    // Not JSON, so not a checkpoint: reported below.
  }
  throw new CheckpointError(
    `${path} is not a Stillhouse checkpoint. Start without --resume, in another folder.`,
  );
}
