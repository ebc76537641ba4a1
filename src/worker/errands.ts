// What is done with a run between two of its steps, one thing after another: it must not train
// meanwhile.

import { GpuError } from '../gpu/device';

export class Errands {
  readonly #waiting: (() => Promise<void>)[] = [];
  /** The one that runs, and what the device told of it. */
  #running: { failure?: GpuError } | undefined;

  /** `run` must be called soon. */
  add<Result>(task: () => Promise<Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#waiting.push(() => this.#attempt(task).then(resolve, reject));
    });
  }

  /** Runs all that wait. Returns whether there was any. */
  async run(): Promise<boolean> {
    const any = this.#waiting.length > 0;
    for (let task = this.#waiting.shift(); task; task = this.#waiting.shift()) await task();
    return any;
  }

  /**
   * An error that no call throws: of the errand that runs, if there is no memory for it. Its result
   * is then wrong, and the run's state is not. Returns whether it is taken.
   */
  fail(error: unknown): boolean {
    if (!this.#running || !(error instanceof GpuError)) return false;
    this.#running.failure ??= error;
    return true;
  }

  async #attempt<Result>(task: () => Promise<Result>): Promise<Result> {
    const running: { failure?: GpuError } = {};
    this.#running = running;
    try {
      const result = await task();
      if (running.failure) throw running.failure;
      return result;
    } catch (error) {
      throw running.failure ?? error;
    } finally {
      this.#running = undefined;
    }
  }
}
