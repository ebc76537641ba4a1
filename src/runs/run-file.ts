// A run as one file: a .zip of its folder, which the page and the command line write and read
// alike. What else the command line leaves in a run's folder, such as the student, stays out.

import { zipFiles } from '../files/unzip';
import { writeZip } from '../files/zip';
import { CheckpointError } from './checkpoint';
import { JOURNAL, parseJournal, type RunSettings } from './journal';
import { inFolder, type RunStorage } from './storage';

/** What such a file's name ends with. */
export const RUN_FILE = '.run.zip';
const CONTENTS = /^(metrics\.jsonl|label\.json|checkpoint(-\d+)?\.bin|text-\d+)$/;

/**
 * Packs the run in `folder` ('' for the storage's root). A run that trains may go on writing.
 * @param name of the folder inside the file
 * @throws CheckpointError if there is no run; ExportError from 4 GiB
 */
export async function packRun(storage: RunStorage, folder: string, name: string): Promise<Blob> {
  const names = (await storage.list(folder)).map((entry) => entry.name);
  if (!names.includes(JOURNAL))
    throw new CheckpointError('none', `There is no ${JOURNAL}, so there is no run to save.`);
  // The records are read last: they may be ahead of a checkpoint, and never behind one.
  const ordered = [...names.filter((file) => file !== JOURNAL && CONTENTS.test(file)), JOURNAL];
  const entries = [];
  for (const file of ordered) {
    const content = await storage.read(inFolder(folder, file));
    // Another checkpoint has taken its place meanwhile.
    if (!content) continue;
    entries.push({
      name: `${name}/${file}`,
      bytes: content.length,
      async *chunks() {
        yield content;
      },
    });
  }
  return writeZip(entries, { date: new Date() });
}

/** A run's file, with nothing but its first line read. */
export interface PackedRun {
  settings: RunSettings;
  /** By their names in the run's folder. */
  files: ReadonlyMap<string, () => Promise<Blob>>;
}

/** @throws CheckpointError if it is no run; ModelFileError if it is no .zip, or a damaged one */
export async function openRunFile(name: string, zip: Blob): Promise<PackedRun> {
  const all = await zipFiles(name, zip);
  const path = [...all.keys()].find((other) => other.split('/').at(-1) === JOURNAL);
  const journal = path && (await all.get(path)?.());
  if (path === undefined || !journal) {
    throw new CheckpointError(
      'none',
      `${name} has no ${JOURNAL}, so it is no run. Choose a file that the page saved or that ` +
        '--run_file wrote, or the .zip of a folder that npm run distill has written.',
    );
  }
  const { settings } = parseJournal(await journal.text());
  if (!settings)
    throw new CheckpointError('damaged', `${name}: the first line of ${JOURNAL} is damaged.`);
  const folder = path.slice(0, -JOURNAL.length);
  const files = [...all].flatMap(([other, read]): [string, () => Promise<Blob>][] => {
    const file = other.slice(folder.length);
    return other.startsWith(folder) && CONTENTS.test(file) ? [[file, read]] : [];
  });
  return { settings, files: new Map(files) };
}

/**
 * Writes a packed run into an empty folder, the records last. If that fails, nothing remains.
 * @throws StorageError, or ModelFileError for a file that is damaged
 */
export async function unpackRun(
  { files }: PackedRun,
  storage: RunStorage,
  folder: string,
): Promise<void> {
  const ordered = [...files].sort(([a], [b]) => Number(a === JOURNAL) - Number(b === JOURNAL));
  try {
    for (const [file, read] of ordered)
      await storage.write(inFolder(folder, file), [
        new Uint8Array(await (await read()).arrayBuffer()),
      ]);
  } catch (error) {
    for (const file of files.keys()) await storage.remove(inFolder(folder, file));
    if (folder !== '') await storage.remove(folder);
    throw error;
  }
}
