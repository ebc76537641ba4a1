// The user's own texts in a run's folder, so that the run can go on where they are not: in another
// tab, or on another machine.

import type { RunSettings } from './journal';
import { inFolder, type RunStorage } from './storage';

/** Bytes. Longer texts are not kept, and must be given again. */
const LONGEST_TEXTS = 64 * 2 ** 20;

export interface TextFile<Bytes> {
  name: string;
  bytes: Bytes;
}

/** Keeps them. Undefined, and nothing is kept, if they are too long. @throws StorageError */
export async function keepTexts(
  storage: RunStorage,
  folder: string,
  files: readonly TextFile<ArrayBuffer | Uint8Array>[],
  reading: object,
): Promise<RunSettings['texts']> {
  const total = files.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
  if (total > LONGEST_TEXTS) return undefined;
  for (const [i, { bytes }] of files.entries())
    await storage.write(inFolder(folder, `text-${i}`), [new Uint8Array(bytes)]);
  return { names: files.map(({ name }) => name), reading };
}

/** Undefined unless all are there. */
export async function readTexts(
  storage: RunStorage,
  folder: string,
  texts: RunSettings['texts'],
): Promise<TextFile<Uint8Array<ArrayBuffer>>[] | undefined> {
  if (!texts) return undefined;
  const files: TextFile<Uint8Array<ArrayBuffer>>[] = [];
  for (const [i, name] of texts.names.entries()) {
    const bytes = await storage.read(inFolder(folder, `text-${i}`));
    if (!bytes) return undefined;
    files.push({ name, bytes });
  }
  return files;
}
