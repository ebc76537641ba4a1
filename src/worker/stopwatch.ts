// A clock that can be stopped: how long a run has trained, without its pauses.

export class Stopwatch {
  #total = 0;
  #since: number | undefined;

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
