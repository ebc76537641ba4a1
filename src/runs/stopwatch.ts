// A clock that can be stopped: how long a run has trained, without its pauses.

export class Stopwatch {
  #total: number;
  #since: number | undefined;

  /** @param milliseconds trained before, by a run that goes on */
  constructor(milliseconds = 0) {
    this.#total = milliseconds;
  }

  start(): void {
    this.#since ??= performance.now();
  }

  stop(): void {
    this.#total = this.milliseconds;
    this.#since = undefined;
  }

  get milliseconds(): number {
    return this.#total + (this.#since === undefined ? 0 : performance.now() - this.#since);
  }
}
