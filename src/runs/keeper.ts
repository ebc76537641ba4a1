// Keeps one run while it trains: its journal and its checkpoints. Where that fails, because the
// disk is full for example, the run goes on in memory and says so once.

import { type Arrays, checkpointsIn, type RunFacts, writeCheckpoint } from './checkpoint';
import { JournalWriter, type RunSettings } from './journal';
import type { Library } from './library';

/** Writing checkpoints takes at most 1 / SPACING of a run's time, unless they must be written. */
const SPACING = 64;

export class RunKeeper {
  /** Of the last checkpoint; 0 without one. */
  savedStep = 0;
  readonly #journal: JournalWriter;
  #failed = false;
  /** When the last checkpoint was written, and how long it took. */
  #last = { at: Number.NEGATIVE_INFINITY, milliseconds: 0 };
  /** Tasks run one after another. */
  #queue: Promise<unknown> = Promise.resolve();

  /** @param say is told, once, why the run is no longer kept */
  constructor(
    private readonly library: Library,
    readonly id: string,
    private readonly say: (text: string) => void,
  ) {
    this.#journal = new JournalWriter(library.storage, id);
  }

  /** Starts the run's folder. */
  begin(settings: Omit<RunSettings, 'version'>): Promise<void> {
    return this.#try(async () => {
      await this.#journal.begin(settings);
      await this.library.refresh(this.id);
    });
  }

  /** Goes on after `step`, from whose checkpoint the run continues. What came later is dropped. */
  resume(step: number, settings: Omit<RunSettings, 'version'>): Promise<void> {
    return this.#try(async () => {
      const { storage } = this.library;
      const all = await checkpointsIn(storage, this.id);
      for (const { name } of all.filter((other) => other.step > step))
        await storage.remove(`${this.id}/${name}`);
      this.savedStep = all.find((other) => other.step <= step)?.step ?? 0;
      await this.#journal.resume(step, settings);
    });
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

  /** Whether so much time has passed since the last checkpoint that another costs little. */
  get due(): boolean {
    return performance.now() >= this.#last.at + SPACING * this.#last.milliseconds;
  }

  /** Writes a checkpoint, after everything that was reported before it. */
  save(facts: RunFacts, snapshot: Arrays, seconds: number): Promise<void> {
    return this.#try(async () => {
      const started = performance.now();
      this.#journal.timing({ step: snapshot.step, seconds });
      await this.#journal.flush();
      await writeCheckpoint(this.library.storage, this.id, facts, snapshot);
      this.savedStep = snapshot.step;
      this.#last = { at: performance.now(), milliseconds: performance.now() - started };
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
      if (this.#failed) return;
      try {
        await task();
      } catch (error) {
        this.#failed = true;
        const why = error instanceof Error ? error.message : String(error);
        this.say(`This run is no longer kept: ${why} Training goes on.`);
      }
    });
    this.#queue = done;
    return done;
  }
}
