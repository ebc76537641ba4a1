// How often a student's state is read back, and written to disk: at every evaluation, but that of
// a large student so seldom that it takes little of the run's time.

/** Parameters. */
const LARGE = 4e6;
/** Reading takes at most 1 / SPACING of a run's time, and writing as much. */
const SPACING = 100;
/** One that seems to have taken longer has met a machine that slept. */
const LONGEST_MILLISECONDS = 60_000;

export const isLarge = (parameters: number): boolean => parameters > LARGE;

export class Spacing {
  /** When the last checkpoint was written, and how long it took. */
  #last = { at: Number.NEGATIVE_INFINITY, milliseconds: 0 };

  /** Whether a checkpoint of so many parameters may be written now. */
  isDue(parameters: number): boolean {
    return (
      !isLarge(parameters) || performance.now() >= this.#last.at + SPACING * this.#last.milliseconds
    );
  }

  /** Writes one. */
  async time(write: () => Promise<void>): Promise<void> {
    const started = performance.now();
    await write();
    const at = performance.now();
    this.#last = { at, milliseconds: Math.min(at - started, LONGEST_MILLISECONDS) };
  }
}
