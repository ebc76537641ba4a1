// Keeps one run while it trains: its journal and its checkpoints. Where that fails, because the
// disk is full for example, the run goes on in memory, and keeping it is tried again at each
// checkpoint.

import { type Arrays, checkpointsIn, type RunFacts, writeCheckpoint } from './checkpoint';
import { JournalWriter, type RunSettings } from './journal';
import type { Library } from './library';
import { Spacing } from './spacing';
import { StorageError } from './storage';

export class RunKeeper {
  /** Of the last checkpoint; 0 without one. */
  savedStep = 0;
  readonly spacing = new Spacing();
  readonly #journal: JournalWriter;
  /** Must succeed before anything else is written. */
  #beginning: (() => Promise<unknown>) | undefined;
  #failed = false;
  /** Tasks run one after another. */
  #queue: Promise<unknown> = Promise.resolve();

  /**
   * @param onChange is told why the run can no longer be kept, and with `undefined` that it is kept
   * again
   */
  constructor(
    private readonly library: Library,
    readonly id: string,
    private readonly onChange: (problem: unknown) => void,
  ) {
    this.#journal = new JournalWriter(library.storage, id);
  }

  /** Starts the run's folder. */
  begin(settings: Omit<RunSettings, 'version'>): Promise<void> {
    this.#beginning = () => this.#journal.begin(settings);
    return this.#try(() => this.library.refresh(this.id));
  }

  /** Goes on after `step`, from whose checkpoint the run continues. What came later is dropped. */
  resume(step: number, settings: Omit<RunSettings, 'version'>): Promise<void> {
    this.#beginning = async () => {
      const { storage } = this.library;
      const all = await checkpointsIn(storage, this.id);
      for (const { name } of all.filter((other) => other.step > step))
        await storage.remove(`${this.id}/${name}`);
      this.savedStep = all.find((other) => other.step <= step)?.step ?? 0;
      await this.#journal.resume(step, settings);
    };
    return this.#try(async () => {});
  }

  /** Takes reports in the order in which they come. */
  get report(): Pick<
    JournalWriter,
    | 'step'
    | 'evaluation'
    | 'twinStep'
    | 'twinEvaluation'
    | 'sample'
    | 'changed'
    | 'note'
    | 'timing'
    | 'verdict'
  > {
    return this.#journal;
  }

  /** Writes a checkpoint, after everything that was reported before it. */
  save(facts: RunFacts, snapshot: Arrays, seconds: number): Promise<void> {
    return this.#try(async () => {
      await this.spacing.time(async () => {
        this.#journal.timing({ step: snapshot.step, seconds });
        await this.#journal.flush();
        await writeCheckpoint(this.library.storage, this.id, facts, snapshot);
      });
      this.savedStep = snapshot.step;
      if (this.#failed) this.onChange(undefined);
      this.#failed = false;
    });
  }

  /** Brings the run's row up to date. */
  settle(): Promise<void> {
    return this.#try(async () => {
      await this.#journal.flush();
      await this.library.refresh(this.id);
    });
  }

  /** Lets go of the run's files. */
  async close(): Promise<void> {
    await this.#try(() => this.#journal.flush());
    await this.library.storage.close(this.id).catch(() => undefined);
  }

  #try(task: () => Promise<void>): Promise<void> {
    const done = this.#queue.then(async () => {
      try {
        await this.#attempt(task);
      } catch (error) {
        if (!this.#failed) this.onChange(error);
        this.#failed = true;
      }
    });
    this.#queue = done;
    return done;
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
      if (!isFull || !(await this.library.makeRoom(this.id))) throw error;
      await whole();
    }
  }
}
