// Snapshots of a run's state: copied on the GPU at an evaluation, and read back while training goes
// on. A run whose device is lost continues from the newest, and a keeper writes it to disk.

import { READ_AT_ONCE } from '../gpu/device';
import { Spacing } from './spacing';
import type { Snapshot } from './training-state';

export class Snapshots {
  /** The newest that has arrived. */
  latest: Snapshot | undefined;
  #reading: { step: number; arrived: Promise<Snapshot> } | undefined;
  #arrival = Promise.resolve();
  readonly #spacing = new Spacing();

  /**
   * @param parameters of a student
   * @param read reads the state back
   */
  constructor(
    private readonly parameters: number,
    private readonly read: (step: number) => Promise<Snapshot>,
  ) {}

  /**
   * Takes one, unless that is slow and the last one is recent. Resolves when the state may change
   * again.
   * @param onArrival gets it, unless the run has ended by then
   */
  async take(step: number, onArrival: (snapshot: Snapshot) => void): Promise<void> {
    await this.arrived();
    if (!this.#spacing.isDue(this.parameters)) return;
    const taken = this.#spacing.time(async () => {
      const arrived = this.read(step);
      this.#reading = { step, arrived };
      this.latest = await arrived;
    });
    // Fails where the device is lost or the run is destroyed, which others report.
    this.#arrival = taken.then(
      () => onArrival(this.latest as Snapshot),
      () => undefined,
    );
    if (4 * this.parameters > READ_AT_ONCE) await this.#arrival;
  }

  /** Waits for one that is on its way. */
  arrived(): Promise<void> {
    return this.#arrival;
  }

  /** The state at `step`, the run's present one. */
  async at(step: number): Promise<Snapshot> {
    return this.#reading?.step === step ? this.#reading.arrived : this.read(step);
  }
}
