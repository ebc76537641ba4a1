// The page's kept runs: the requests about them, and the lock that lets only one tab work on a run.

import { CheckpointError } from '../runs/checkpoint';
import type { Journal } from '../runs/journal';
import { Library } from '../runs/library';
import { MemoryStorage } from '../runs/memory-storage';
import { isRunId, nameOf, newRunId } from '../runs/names';
import type { Label } from '../runs/row';
import { openRunFile, packRun, RUN_FILE, unpackRun } from '../runs/run-file';
import { type RunStorage, StorageError } from '../runs/storage';
import type { Sweep } from '../runs/sweep';
import { OpfsStorage } from './opfs-storage';
import type { KeptRuns } from './protocol';

const FOLDER = 'runs';
const LIBRARY_LOCK = 'stillhouse runs';
const RUN_LOCK = 'stillhouse run ';

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
    sweeps: await library.sweeps(),
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

export async function keepSweep(sweep: Sweep): Promise<KeptRuns> {
  const { library } = await openLibrary();
  await library.keepSweep(sweep);
  return listRuns();
}

export async function keepRuns(budget: number): Promise<KeptRuns> {
  const { library } = await openLibrary();
  await library.setBudget(budget);
  await library.tidy();
  return listRuns();
}

/** The run as one file, which the command line and this page open. */
export async function saveRun(id: string): Promise<{ name: string; zip: Blob }> {
  const { library } = await openLibrary();
  const row = (await library.rows()).find((other) => other.id === id);
  const name = (row?.name ?? nameOf(id)).replace(/[^\p{L}\p{N}]+/gu, '-');
  const instead = 'It stays here, where it can go on and its student can be downloaded.';
  return { name: `${name}${RUN_FILE}`, zip: await packRun(library.storage, id, name, instead) };
}

/** Takes in a run's file. Its id is new if the library has one of that id. */
export async function openRun(name: string, zip: Blob): Promise<string> {
  const { library } = await openLibrary();
  const packed = await openRunFile(name, zip);
  const { id: wanted = '' } = packed.settings;
  const taken = (await library.storage.list('')).some((entry) => entry.name === wanted);
  const id = isRunId(wanted) && !taken ? wanted : newRunId();
  const release = await lockRun(id);
  await unpackRun(packed, library.storage, id).finally(release);
  if (taken) await library.label(id, { name: `${nameOf(wanted)}, opened again` });
  await library.refresh(id);
  return id;
}
