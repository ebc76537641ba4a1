// How long a step of the run takes beside one of its twin, on this machine. It changes no bit: the
// twin's pace is a setting, which somebody may choose by what is measured here.

/** One step of so many is timed: that takes an empty queue. The first is slower than all others. */
const EVERY = 10;
const SECOND = 2;

export class TwinPace {
  readonly #ratios: number[] = [];

  /** Whether to time this step. */
  isDue(step: number): boolean {
    return step % EVERY === SECOND;
  }

  /** Milliseconds that a step of each took. */
  add(first: number, twin: number): void {
    if (twin > 0) this.#ratios.push(first / twin);
  }

  /** How many of the twin's steps take as long as one of the run's; undefined until measured. */
  get median(): number | undefined {
    return this.#ratios.toSorted((a, b) => a - b)[this.#ratios.length >> 1];
  }
}
