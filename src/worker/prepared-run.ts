// A run that is built while somebody reads the page, up to its first step, so that it trains at
// once when they start it. It has the bits of one that is built then. Nothing of it is shown or
// kept before that. If anything goes wrong with it, the run is built when it is started.

import type { Config } from '../config';
import type { Gpu } from '../gpu/device';
import { formatLink } from '../link';
import { type BuiltRun, buildRun, type Measured, type Stage } from './build-run';
import type { DeviceUser } from './host';
import type { RunCommand } from './protocol';

type StartCommand = Extract<RunCommand, { type: 'start' }>;

export class PreparedRun implements DeviceUser {
  readonly #link: string;
  readonly #dropped = new AbortController();
  readonly #built: Promise<BuiltRun>;
  #gpu: Gpu | undefined;
  #stage: Stage = () => {};
  #taken = false;
  /** What the run has measured, until somebody listens. */
  readonly #told: ((to: Measured) => void)[] = [];
  #listener: Measured | undefined;

  constructor(config: Config, openDevice: () => Promise<Gpu>) {
    this.#link = formatLink(config);
    this.#built = this.#build({ ...config }, openDevice);
    // Whoever takes it asks; if nobody does, it is as if nothing had been tried.
    this.#built.catch(() => undefined);
  }

  /** Resolves once nothing is built any more, whether it is ready or not. */
  get settled(): Promise<unknown> {
    return this.#built.catch(() => undefined);
  }

  /** Whether this is the run of these settings, on the page's own text and models. */
  serves({ config, corpus, files, continues }: StartCommand): boolean {
    return !corpus && !files && !continues && formatLink(config) === this.#link;
  }

  /**
   * The run, once it is built; undefined if it cannot be had on this device. `listen` comes next.
   * @param stage what the run waits for, from now on
   */
  async take(gpu: Gpu, stage: Stage, signal: AbortSignal): Promise<BuiltRun | undefined> {
    this.#taken = true;
    this.#stage = stage;
    const drop = () => this.#dropped.abort(signal.reason);
    signal.addEventListener('abort', drop);
    if (signal.aborted) drop();
    const built = await this.#built.catch(() => undefined);
    signal.removeEventListener('abort', drop);
    if (this.#gpu === gpu && !this.#dropped.signal.aborted) return built;
    await built?.run.destroy().catch(() => undefined);
    return undefined;
  }

  /** Tells what the run has measured so far, and from now on. */
  listen(listener: Measured): void {
    this.#listener = listener;
    for (const tell of this.#told.splice(0)) tell(listener);
  }

  /** Ends it, and frees its memory. */
  async drop(): Promise<void> {
    this.#dropped.abort(new Error('Another run was started.'));
    const built = await this.#built.catch(() => undefined);
    await built?.run.destroy().catch(() => undefined);
  }

  /** Whoever takes the run hears of its errors; before that, it is of no use any more. */
  fail(): boolean {
    if (this.#taken) return false;
    this.#dropped.abort(new Error('The GPU reported an error.'));
    return true;
  }

  lose(gpu: Gpu): void {
    if (gpu === this.#gpu && !this.#taken) this.#dropped.abort(new Error('The device was lost.'));
  }

  async #build(config: Config, openDevice: () => Promise<Gpu>): Promise<BuiltRun> {
    const { signal } = this.#dropped;
    const gpu = await openDevice();
    this.#gpu = gpu;
    const tell = (what: (to: Measured) => void) => {
      if (this.#listener) what(this.#listener);
      else this.#told.push(what);
    };
    const events: Measured = {
      note: (text) => tell((to) => to.note(text)),
      record: (record) => tell((to) => to.record(record)),
      evaluation: (record) => tell((to) => to.evaluation(record)),
      snapshot: (...taken) => tell((to) => to.snapshot?.(...taken)),
      sample: (record) => tell((to) => to.sample?.(record)),
      nonFinite: (record) => tell((to) => to.nonFinite?.(record)),
      twin: {
        record: (record) => tell((to) => to.twin?.record(record)),
        evaluation: (record) => tell((to) => to.twin?.evaluation(record)),
      },
    };
    const stage: Stage = (...report) => this.#stage(...report);
    const start = performance.now();
    const built = await buildRun({ config, gpu, signal, stage, events });
    try {
      await built.run.begin();
      signal.throwIfAborted();
      // Somebody who waits gets these kernels with the first step.
      if (!this.#taken) await built.run.rehearse();
      signal.throwIfAborted();
    } catch (error) {
      await built.run.destroy().catch(() => undefined);
      throw error;
    }
    performance.measure('prepare a run', { start });
    return built;
  }
}
