// Keeps one run while it trains: its journal and its checkpoints. They are written one after
// another behind the run, which waits only when it rests. Where that fails, because the disk is
// full for example, the run goes on in memory, and keeping it is tried again at each checkpoint.

import { isLarge, Spacing } from '../distill/spacing';
import { type Arrays, checkpointsIn, type RunFacts, writeCheckpoint } from './checkpoint';
import { JournalWriter, type RunSettings } from './journal';
import { inFolder, type RunStorage, StorageError } from './storage';
import { keepTexts, type TextFile } from './texts';

/** How often a run that is over and could not be kept is tried again. */
const AGAIN_MILLISECONDS = 5000;

/** Where a run is kept. A library is one; so is a folder by itself. */
export interface RunPlace {
  readonly storage: RunStorage;
  /** What is told of the run elsewhere is to be brought up to date. */
  refresh(id: string): Promise<void>;
  /** The storage is full: drops what this run can spare. Returns whether that made room. */
  makeRoom(id: string): Promise<boolean>;
}

/** The user's own texts, and how they are read. */
export interface OwnTexts {
  files: readonly TextFile<ArrayBuffer | Uint8Array>[];
  reading: object;
}

export class RunKeeper {
  /** Of the last checkpoint; 0 without one. */
  savedStep = 0;
  /** What was told last is not kept. */
  failing = false;
  readonly #spacing = new Spacing();
  readonly #journal: JournalWriter;
  /** Must succeed before anything else is written. */
  #beginning: (() => Promise<unknown>) | undefined;
  /** Writes the newest checkpoint, until that is done. */
  #unsaved: (() => Promise<void>) | undefined;
  /** A checkpoint is on its way. */
  #writing = false;
  /** Tasks run one after another. */
  #queue: Promise<void> = Promise.resolve();

  /**
   * @param id the run's folder; '' for the storage's root
   * @param onChange is told why the run can no longer be kept, and with `undefined` that it is kept
   * again
   */
  constructor(
    private readonly place: RunPlace,
    readonly id: string,
    private readonly onChange: (problem: unknown) => void,
  ) {
    this.#journal = new JournalWriter(place.storage, id);
  }

  /** Starts the run's folder. Texts that are too long are not kept. */
  begin(settings: Omit<RunSettings, 'version'>, own?: OwnTexts): Promise<void> {
    this.#beginning = async () => {
      const texts = own && (await keepTexts(this.place.storage, this.id, own.files, own.reading));
      await this.#journal.begin(texts ? { ...settings, texts } : settings);
    };
    return this.#try(() => this.place.refresh(this.id));
  }

  /** Goes on after `step`, from whose checkpoint the run continues. What came later is dropped. */
  resume(step: number, settings: Omit<RunSettings, 'version'>): Promise<void> {
    this.#beginning = async () => {
      const { storage } = this.place;
      const all = await checkpointsIn(storage, this.id);
      for (const { name } of all.filter((other) => other.step > step))
        await storage.remove(inFolder(this.id, name));
      this.savedStep = all.find((other) => other.step <= step)?.step ?? 0;
      await this.#journal.resume(step, settings);
    };
    return this.#try(async () => {});
  }

  /** Takes reports in the order in which they come. */
  get report(): Omit<JournalWriter, 'begin' | 'resume' | 'flush'> {
    return this.#journal;
  }

  /**
   * Whether a checkpoint of so many parameters may be written now. A large student's run trains on
   * while one is on its way, and until it was long enough ago. Any other waits for the one before,
   * so that it is never two checkpoints ahead of what is kept.
   */
  async isDue(parameters: number): Promise<boolean> {
    if (!isLarge(parameters)) await this.#queue;
    return !this.#writing && this.#spacing.isDue(parameters);
  }

  /**
   * Writes a checkpoint, after everything that was reported before it. A run that trains need not
   * wait.
   */
  save(facts: RunFacts, snapshot: Arrays, seconds: number): Promise<void> {
    const save = async () => {
      await this.#spacing.time(async () => {
        this.#journal.timing({ step: snapshot.step, seconds });
        await this.#journal.flush();
        await writeCheckpoint(this.place.storage, this.id, facts, snapshot);
      });
      this.savedStep = snapshot.step;
      if (this.#unsaved === save) this.#unsaved = undefined;
    };
    this.#unsaved = save;
    this.#writing = true;
    return this.#try(save).then(() => {
      this.#writing = false;
    });
  }

  /**
   * Tries what has failed again and again, for a run that does not train any more. Resolves when it
   * is kept, or `ended`.
   */
  async insist(ended: () => boolean): Promise<void> {
    while (this.failing && !ended()) {
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MILLISECONDS));
      if (!this.failing || ended()) return;
      await this.#try(async () => {
        await this.#unsaved?.();
        await this.#journal.flush();
        await this.place.refresh(this.id);
      });
    }
  }

  /** Waits until all that was to be written is, or has failed. */
  written(): Promise<void> {
    return this.#queue;
  }

  /** Brings the run's row up to date. */
  settle(): Promise<void> {
    return this.#try(async () => {
      await this.#journal.flush();
      await this.place.refresh(this.id);
    });
  }

  /** Lets go of the run's files. */
  async close(): Promise<void> {
    await this.#try(() => this.#journal.flush());
    await this.place.storage.close(this.id).catch(() => undefined);
  }

  #try(task: () => Promise<void>): Promise<void> {
    this.#queue = this.#queue.then(async () => {
      try {
        await this.#attempt(task);
      } catch (error) {
        if (!this.failing) this.onChange(error);
        this.failing = true;
        return;
      }
      if (this.failing && !this.#unsaved) {
        this.failing = false;
        this.onChange(undefined);
      }
    });
    return this.#queue;
  }

  /** Once more if the storage was full and there was something to drop. */
  async #attempt(task: () => Promise<void>): Promise<void> {
    const whole = async () => {
      await this.#beginning?.();
      this.#beginning = undefined;
      await task();
    };
    try {
      await whole();
    } catch (error) {
      const isFull = error instanceof StorageError && error.kind === 'full';
      if (!isFull || !(await this.place.makeRoom(this.id))) throw error;
      await whole();
    }
  }
}
