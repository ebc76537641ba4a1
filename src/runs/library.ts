// All runs that are kept: a folder each, with its journal, checkpoints, label and the user's own
// texts. `sweeps.json` has the sweeps. `index.json` has a row for each run, so that a long list
// opens quickly; it is derived, and made again where it is missing or out of date. A run that is
// about to change leaves it first: if that is interrupted, its row is made again from its folder.
// The folders are listed once, since a browser keeps an object for each that is listed.

import { CheckpointError, checkpointsAmong, dropSpare } from './checkpoint';
import { JOURNAL, type Journal, parseJournal } from './journal';
import { isRunId } from './names';
import { type Drop, type Label, type RunRow, rowOf, toDrop } from './row';
import { readLabel } from './shape';
import { inFolder, type RunStorage, type StoredEntry } from './storage';
import type { Sweep } from './sweep';

const INDEX = 'index.json';
const BUDGET = 'budget.json';
const LABEL = 'label.json';
const SWEEPS = 'sweeps.json';
/** Older sweeps are forgotten; their runs stay. */
const MOST_SWEEPS = 50;
/** Version of the sweeps' file. One of a later version stays as it is. */
const SWEEPS_VERSION = 1;
/** Version of the index. One of another version is made again. */
const VERSION = 2;
/** Bytes, until somebody chooses. */
const DEFAULT_BUDGET = 1e9;
/** A deleted run can be brought back for this long. */
const UNDO_MILLISECONDS = 10 * 60_000;

export interface LibraryOptions {
  /** Runs a task while no other tab runs one. */
  exclusive<Value>(task: () => Promise<Value>): Promise<Value>;
  /** Ids of the runs that a tab is working on, this one included. */
  open(): Promise<ReadonlySet<string>>;
}

export class Library {
  /**
   * The folders were listed, and nothing has left the index here since. A run that another tab took
   * out of it before it was killed is missing until the page is loaded again.
   */
  #listed = false;

  constructor(
    readonly storage: RunStorage,
    private readonly options: LibraryOptions,
  ) {}

  /** Every run, the newest first; those deleted too, as long as they can be brought back. */
  rows(): Promise<RunRow[]> {
    return this.options.exclusive(async () => {
      const index = await this.#index();
      const rows = await this.#upToDate(index);
      if (!same(rows, index)) await this.#writeIndex(rows);
      return rows;
    });
  }

  /** What a run reported. Undefined if it is not kept. */
  async journal(id: string): Promise<Journal | undefined> {
    const bytes = await this.storage.read(`${id}/${JOURNAL}`);
    return bytes && parseJournal(new TextDecoder().decode(bytes));
  }

  /** Changes parts of a run's label; nothing if the run is gone. @throws StorageError */
  label(id: string, change: Label): Promise<void> {
    return this.options.exclusive(async () => {
      if ((await this.storage.list(id)).length === 0) return;
      const label = encode({ ...(await this.#label(id)), ...change });
      await this.#forget([id]);
      const write = () => this.storage.write(`${id}/${LABEL}`, [label]);
      await write().catch(async () => {
        // A full disk must not keep a run from being deleted.
        await this.storage.remove(INDEX);
        if (change.deleted) await dropSpare(this.storage, id);
        await write();
      });
      await this.#replace(id);
    });
  }

  /** Brings a run's row up to date. */
  refresh(id: string): Promise<void> {
    return this.options.exclusive(() => this.#replace(id));
  }

  async budget(): Promise<number> {
    const { bytes } = ((await this.#json(BUDGET)) ?? {}) as { bytes?: unknown };
    return typeof bytes === 'number' && bytes >= 0 ? bytes : DEFAULT_BUDGET;
  }

  async setBudget(bytes: number): Promise<void> {
    await this.options.exclusive(() => this.storage.write(BUDGET, [encode({ bytes })]));
  }

  /** Every sweep, the newest first. */
  async sweeps(): Promise<Sweep[]> {
    const { version, sweeps } = await this.#sweeps();
    return version <= SWEEPS_VERSION && Array.isArray(sweeps) ? sweeps : [];
  }

  async #sweeps(): Promise<{ version: number; sweeps?: Sweep[] }> {
    return { version: SWEEPS_VERSION, ...((await this.#json(SWEEPS)) as object | undefined) };
  }

  /**
   * Adds a sweep, or replaces what was kept of it.
   * @throws CheckpointError for a later version's
   */
  keepSweep(sweep: Sweep): Promise<void> {
    return this.options.exclusive(async () => {
      if ((await this.#sweeps()).version > SWEEPS_VERSION) {
        throw new CheckpointError(
          'newer',
          'A later version of this page has kept its sweeps here. Reload the page to get it.',
        );
      }
      const others = (await this.sweeps()).filter(({ id }) => id !== sweep.id);
      const sweeps = [sweep, ...others].sort((a, b) => b.time.localeCompare(a.time));
      const kept = sweeps.slice(0, MOST_SWEEPS);
      await this.storage.write(SWEEPS, [encode({ version: SWEEPS_VERSION, sweeps: kept })]);
    });
  }

  /**
   * Drops what was deleted long enough ago, and what the budget has no room for.
   * @returns the names of whole runs that the budget dropped
   */
  tidy(now = new Date()): Promise<string[]> {
    return this.options.exclusive(async () => {
      const index = await this.#index();
      let rows = await this.#upToDate(index);
      const open = await this.options.open();
      const due: RunRow[] = [];
      for (const row of rows) {
        if (open.has(row.id)) continue;
        const { deleted } = row.label;
        const isDue = deleted && now.getTime() - Date.parse(deleted) > UNDO_MILLISECONDS;
        if (isDue || !(await this.#began(row))) due.push(row);
      }
      await this.#forget(due.map(({ id }) => id));
      for (const { id } of due) await this.#remove(id);
      rows = rows.filter((row) => !due.includes(row));
      const drops = toDrop(rows, await this.budget(), open);
      const { names, left } = await this.#drop(drops, rows);
      if (!same(left, index)) await this.#writeIndex(left);
      return names;
    });
  }

  /**
   * The storage is full: drops what was deleted, even if it could still be brought back, and the
   * checkpoints before the last, but not those of runs that another tab has open.
   * @param own the run that needs the room
   * @returns whether that made room
   */
  makeRoom(own: string): Promise<boolean> {
    return this.options.exclusive(async () => {
      const rows = await this.#upToDate(await this.#index());
      const deleted = new Set(rows.filter(({ label }) => label.deleted).map(({ id }) => id));
      const all = toDrop(rows, Number.NEGATIVE_INFINITY, await this.options.open());
      const drops = all.filter(({ what, id }) => what === 'spare' || deleted.has(id));
      const { left } = await this.#drop(drops, rows);
      const ofOwn = await dropSpare(this.storage, own);
      await this.#writeIndex(left);
      return ofOwn || drops.length > 0;
    });
  }

  /** Drops what is listed. Returns the rows that are left, and the names of dropped runs. */
  async #drop(
    drops: readonly Drop[],
    rows: readonly RunRow[],
  ): Promise<{ left: RunRow[]; names: string[] }> {
    const names: string[] = [];
    let left = [...rows];
    await this.#forget(drops.map(({ id }) => id));
    for (const { what, id } of drops) {
      if (what === 'run') {
        names.push(rows.find((row) => row.id === id)?.name ?? id);
        await this.#remove(id);
        left = left.filter((row) => row.id !== id);
      } else {
        await dropSpare(this.storage, id);
        const row = await this.#row(id);
        left = left.map((other) => (other.id === id ? row : other));
      }
    }
    return { left, names };
  }

  /**
   * Removes a run's folder. What would make a run of the rest goes last, so that an interruption
   * leaves whole records, or what `tidy` removes.
   */
  async #remove(id: string): Promise<void> {
    const last = [JOURNAL, LABEL];
    const names = (await this.storage.list(id)).map(({ name }) => name);
    for (const name of names.sort((a, b) => last.indexOf(a) - last.indexOf(b)))
      await this.storage.remove(inFolder(id, name));
    await this.storage.remove(id);
  }

  /**
   * Whether there are records, which come before any checkpoint. Without them, the run was
   * interrupted before its first, or while it was taken in or removed.
   */
  async #began({ id, state }: RunRow): Promise<boolean> {
    if (state !== 'unreadable') return true;
    return (await this.storage.read(`${id}/${JOURNAL}`, 0, 1)) !== undefined;
  }

  async #upToDate(index: readonly RunRow[] | undefined): Promise<RunRow[]> {
    const known = new Map(index?.map((row) => [row.id, row]));
    const open = await this.options.open();
    const rows: RunRow[] = [];
    for (const id of index && this.#listed ? known.keys() : await this.#folders()) {
      const row = known.get(id);
      const isOpen = open.has(id);
      // One that is open, or was, has moved on.
      rows.push(row && !isOpen && !row.open ? row : await this.#row(id, isOpen));
    }
    return rows.sort((a, b) => b.time.localeCompare(a.time) || b.id.localeCompare(a.id));
  }

  async #folders(): Promise<string[]> {
    const entries = await this.storage.list('');
    this.#listed = true;
    return entries
      .filter(({ name, bytes }) => bytes === undefined && isRunId(name))
      .map(({ name }) => name);
  }

  async #replace(id: string): Promise<void> {
    const isOpen = (await this.options.open()).has(id);
    const index = (await this.#index()) ?? (await this.#upToDate(undefined));
    const rows = index.filter((row) => row.id !== id);
    rows.push(await this.#row(id, isOpen));
    await this.#writeIndex(rows.sort((a, b) => b.time.localeCompare(a.time)));
  }

  async #row(id: string, isOpen = false): Promise<RunRow> {
    const journal = (await this.journal(id)) ?? parseJournal('');
    const files = await this.storage.list(id);
    const [last, ...spare] = checkpointsAmong(files);
    const sum = (entries: readonly StoredEntry[]) =>
      entries.reduce((total, { bytes = 0 }) => total + bytes, 0);
    return rowOf(id, journal, await this.#label(id), {
      open: isOpen,
      checkpoint: last?.step,
      bytes: sum(files),
      spareBytes: sum(spare),
    });
  }

  async #label(id: string): Promise<Label> {
    return readLabel(await this.#json(`${id}/${LABEL}`));
  }

  /** Undefined if there is none of this version. */
  async #index(): Promise<RunRow[] | undefined> {
    const { version, rows } = ((await this.#json(INDEX)) ?? {}) as {
      version?: number;
      rows?: RunRow[];
    };
    return version === VERSION && Array.isArray(rows) ? rows : undefined;
  }

  /** Takes runs that are about to change out of the index. */
  async #forget(ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return;
    this.#listed = false;
    const index = (await this.#index()) ?? [];
    const others = index.filter(({ id }) => !ids.includes(id));
    if (others.length < index.length) await this.#writeIndex(others);
  }

  /** Where it cannot be written, it is made again from the folders next time. */
  async #writeIndex(rows: readonly RunRow[]): Promise<void> {
    try {
      await this.storage.write(INDEX, [encode({ version: VERSION, rows })]);
    } catch {
      await this.storage.remove(INDEX);
    }
  }

  /** Undefined if there is no such file, or what it has is not JSON. */
  async #json(path: string): Promise<unknown> {
    const bytes = await this.storage.read(path);
    try {
      return bytes && JSON.parse(new TextDecoder().decode(bytes));
    } catch {
      return undefined;
    }
  }
}

/** A run that is open is looked at anew each time, whatever the index says of it. */
const same = (rows: readonly RunRow[], index: readonly RunRow[] = []) =>
  rows.length === index.length &&
  rows.every((row, i) => {
    const before = index[i];
    return row === before || (row.id === before.id && row.open && before.open);
  });

const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
