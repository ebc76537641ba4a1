// The page's kept runs: the requests about them, and the lock that lets only one tab work on a run.

import { zipFiles } from '../files/unzip';
import { writeZip } from '../files/zip';
import { CheckpointError } from '../runs/checkpoint';
import { JOURNAL, type Journal, parseJournal } from '../runs/journal';
import { Library } from '../runs/library';
import { MemoryStorage } from '../runs/memory-storage';
import { isRunId, nameOf, newRunId } from '../runs/names';
import type { Label } from '../runs/row';
import { type RunStorage, StorageError } from '../runs/storage';
import { OpfsStorage } from './opfs-storage';
import type { KeptRuns } from './protocol';

const FOLDER = 'runs';
const LIBRARY_LOCK = 'stillhouse runs';
const RUN_LOCK = 'stillhouse run ';
/** What a saved run may contain. */
const FILE_NAME = /^(metrics\.jsonl|label\.json|checkpoint(-\d+)?\.bin|text-\d+)$/;

let opening: Promise<{ library: Library; lasting: boolean }> | undefined;

/** The library of this origin. Without private storage, one in memory. */
export function openLibrary(): Promise<{ library: Library; lasting: boolean }> {
  opening ??= open();
  return opening;
}

async function open() {
  let storage: RunStorage;
  let lasting = true;
  try {
    storage = await OpfsStorage.open(FOLDER);
  } catch {
    // Private windows of some browsers have none.
    storage = new MemoryStorage();
    lasting = false;
  }
  const library = new Library(storage, {
    exclusive: (task) => navigator.locks.request(LIBRARY_LOCK, task),
    open: openRuns,
  });
  // What is over the budget, or was deleted, goes when nobody waits for it.
  await library.tidy().catch(() => []);
  return { library, lasting };
}

async function openRuns(): Promise<ReadonlySet<string>> {
  const { held = [] } = await navigator.locks.query();
  const names = held.map(({ name = '' }) => name).filter((name) => name.startsWith(RUN_LOCK));
  return new Set(names.map((name) => name.slice(RUN_LOCK.length)));
}

/**
 * Keeps other tabs from the run. Call the result to let it go.
 * @throws StorageError if another tab works on it
 */
export function lockRun(id: string): Promise<() => Promise<void>> {
  return new Promise((resolve, reject) => {
    const held = navigator.locks.request(
      RUN_LOCK + id,
      { ifAvailable: true },
      (lock) =>
        new Promise<void>((letGo) => {
          const release = () => {
            letGo();
            return held;
          };
          if (lock) return resolve(release);
          letGo();
          reject(new StorageError('busy', `Another tab of this page has “${nameOf(id)}” open.`));
        }),
    );
    held.catch(reject);
  });
}

export async function listRuns(): Promise<KeptRuns> {
  const { library, lasting } = await openLibrary();
  const rows = await library.rows();
  const { quota } = await navigator.storage.estimate().catch(() => ({ quota: undefined }));
  return {
    rows,
    lasting,
    persisted: await navigator.storage.persisted().catch(() => false),
    bytes: rows.reduce((sum, { bytes }) => sum + bytes, 0),
    budget: await library.budget(),
    quota,
  };
}

export async function readRun(id: string): Promise<Journal> {
  const { library } = await openLibrary();
  const journal = await library.journal(id);
  if (!journal) throw new CheckpointError('none', `There is no run “${nameOf(id)}” any more.`);
  return journal;
}

export async function labelRun(id: string, label: Label): Promise<KeptRuns> {
  const { library } = await openLibrary();
  await library.label(id, label);
  return listRuns();
}

export async function keepRuns(budget: number): Promise<KeptRuns> {
  const { library } = await openLibrary();
  await library.setBudget(budget);
  await library.tidy();
  return listRuns();
}

/** The run's folder as a .zip, which the command line and this page read. */
export async function saveRun(id: string): Promise<{ name: string; zip: Blob }> {
  const { library } = await openLibrary();
  const { storage } = library;
  const files = (await storage.list(id)).filter(({ name }) => FILE_NAME.test(name));
  if (files.length === 0) throw new CheckpointError('none', 'There is no such run any more.');
  const row = (await library.rows()).find((other) => other.id === id);
  const name = (row?.name ?? nameOf(id)).replace(/[^\p{L}\p{N}]+/gu, '-');
  // Read at once: a run that trains goes on writing.
  const contents = await Promise.all(
    files.map(async (file) => ({
      name: `${name}/${file.name}`,
      content: (await storage.read(`${id}/${file.name}`)) ?? new Uint8Array(),
    })),
  );
  const entries = contents.map(({ name: path, content }) => ({
    name: path,
    bytes: content.length,
    async *chunks() {
      yield content;
    },
  }));
  return { name, zip: await writeZip(entries, { date: new Date() }) };
}

/** Takes in a run's folder from a .zip. Its id is new if the library has one of that id. */
export async function openRun(name: string, zip: Blob): Promise<string> {
  const { library } = await openLibrary();
  const files = await zipFiles(name, zip);
  const journalPath = [...files.keys()].find((path) => path.split('/').at(-1) === JOURNAL);
  const journal = journalPath && (await files.get(journalPath)?.());
  if (journalPath === undefined || !journal) {
    throw new CheckpointError(
      'none',
      `${name} has no ${JOURNAL}, so it is no run. Choose a run that was saved here, or the ` +
        '.zip of a folder that npm run distill has written.',
    );
  }
  const { settings } = parseJournal(await journal.text());
  if (!settings)
    throw new CheckpointError('damaged', `${name}: the first line of ${JOURNAL} is damaged.`);
  const wanted = settings.id && isRunId(settings.id) ? settings.id : newRunId();
  const taken = (await library.storage.list('')).some((entry) => entry.name === wanted);
  const id = taken ? newRunId() : wanted;
  const folder = journalPath.slice(0, -JOURNAL.length);
  for (const [path, read] of files) {
    const file = path.slice(folder.length);
    if (!path.startsWith(folder) || !FILE_NAME.test(file)) continue;
    await library.storage.write(`${id}/${file}`, [
      new Uint8Array(await (await read()).arrayBuffer()),
    ]);
  }
  if (taken) await library.label(id, { name: `${nameOf(wanted)}, opened again` });
  await library.refresh(id);
  return id;
}
