// A run as one file on disk: unpacked before it is resumed, and packed when it has stopped.

import { openAsBlob } from 'node:fs';
import { basename } from 'node:path';
import { CheckpointError } from '../runs/checkpoint';
import { openRunFile, packRun, RUN_FILE, unpackRun } from '../runs/run-file';
import type { RunStorage } from '../runs/storage';
import { replaceFile } from './durable';

/** @throws CheckpointError if the file is missing or no run; ModelFileError if it is damaged */
export async function unpackFile(path: string, storage: RunStorage): Promise<void> {
  const zip = await openAsBlob(path).catch((error: NodeJS.ErrnoException) => {
    const what = `${path} cannot be read: ${error.message}`;
    throw new CheckpointError('none', `${what}.`, { cause: error });
  });
  await unpackRun(await openRunFile(path, zip), storage, '');
}

/** Replaces the file as a whole or not at all. */
export async function packFile(storage: RunStorage, path: string): Promise<void> {
  const name = basename(path).replace(new RegExp(`(${RUN_FILE}|\\.zip)$`, 'i'), '');
  const zip = await packRun(storage, '', name, 'Copy its folder instead.');
  await replaceFile(path, zip.stream() as ReadableStream<Uint8Array> & AsyncIterable<Uint8Array>);
}
