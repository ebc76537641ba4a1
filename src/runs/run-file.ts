// A run as one file: a .zip of its folder, which the page and the command line write and read
// alike. What else the command line leaves in a run's folder, such as the student, stays out.

import { zipFiles } from '../files/unzip';
import { requireFit, writeZip, ZIP64 } from '../files/zip';
import { CheckpointError, checkpointsIn } from './checkpoint';
import { JOURNAL, parseJournal, type RunSettings } from './journal';
import { inFolder, type RunStorage } from './storage';

/** What such a file's name ends with. */
export const RUN_FILE = '.run.zip';
const CONTENTS = /^(metrics\.jsonl|label\.json|checkpoint(-\d+)?\.bin|text-\d+)$/;

/**
 * Packs the run in `folder` ('' for the storage's root). A run that trains may go on writing. Of a
 * run of 4 GiB only the last checkpoint is packed.
 * @param name of the folder inside the file
 * @param instead what to do with a run that is too large all the same
 * @throws CheckpointError if there is no run; ExportError if it is too large
 */
export async function packRun(
  storage: RunStorage,
  folder: string,
  name: string,
  instead: string,
): Promise<Blob> {
  const all = await storage.list(folder);
  if (!all.some((entry) => entry.name === JOURNAL))
    throw new CheckpointError('none', `There is no ${JOURNAL}, so there is no run to save.`);
  let files = all.filter((entry) => CONTENTS.test(entry.name));
  const total = () => files.reduce((sum, { bytes = 0 }) => sum + bytes, 0);
  if (total() >= ZIP64) {
    const spare = (await checkpointsIn(storage, folder)).slice(1).map((other) => other.name);
    files = files.filter((entry) => !spare.includes(entry.name));
  }
  const limit = { what: `The run ${name}`, instead };
  requireFit(total(), limit);
  const others = files.map((entry) => entry.name).filter((file) => file !== JOURNAL);
  const entries = [];
  // The records are read last: they may be ahead of a checkpoint, and never behind one.
  for (const file of [...others, JOURNAL]) {
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
  return writeZip(entries, { ...limit, date: new Date() });
}

/** A run's file, with nothing but its first line read. */
export interface PackedRun {
  settings: RunSettings;
  /** By their names in the run's folder. */
  files: ReadonlyMap<string, () => Promise<Blob>>;
}

/** Whether a file is a run's records alone, as a run in PyTorch leaves them, by its name. */
export const isRecords = (path: string): boolean => path.endsWith('.jsonl');

/**
 * Opens a run's .zip, or its records.
 * @throws CheckpointError if it is no run; ModelFileError if it is no .zip, or a damaged one
 */
export async function openRunFile(name: string, file: Blob): Promise<PackedRun> {
  if (isRecords(name)) {
    const { settings } = parseJournal(await file.text());
    if (settings) return { settings, files: new Map([[JOURNAL, async () => file]]) };
    const what = `${name} does not begin with a run’s settings, so it is no run.`;
    throw new CheckpointError('none', `${what} Choose a ${JOURNAL}; a text goes on Data.`);
  }
  const all = await zipFiles(name, file);
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
 * Writes a packed run into a folder without a run. The records come last: without them, there is no
 * run, and what else is there was left by an interruption and goes. If it fails, nothing remains.
 * @throws StorageError, or ModelFileError for a file that is damaged
 */
export async function unpackRun(
  { files }: PackedRun,
  storage: RunStorage,
  folder: string,
): Promise<void> {
  const ordered = [...files].sort(([a], [b]) => Number(a === JOURNAL) - Number(b === JOURNAL));
  try {
    for (const { name } of await storage.list(folder))
      if (CONTENTS.test(name)) await storage.remove(inFolder(folder, name));
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
