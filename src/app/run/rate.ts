// The speed of a download over the last seconds, so that a stall shows.

import { formatBytes, formatDuration } from '../shared/format';

/** Seconds that the speed is averaged over. */
const WINDOW = 5;

export class Rate {
  #name = '';
  #samples: { seconds: number; loaded: number }[] = [];

  /** "8.1 MB/s, 00:42 left" for the download `name`; undefined until there is a measurement. */
  tell(
    name: string,
    seconds: number,
    loaded: number | undefined,
    total: number | undefined,
  ): string | undefined {
    if (name !== this.#name || loaded === undefined) this.#samples = [];
    this.#name = name;
    if (loaded === undefined) return undefined;
    if (this.#samples.at(-1)?.loaded !== loaded) this.#samples.push({ seconds, loaded });
    while (this.#samples.length > 2 && seconds - this.#samples[1].seconds > WINDOW)
      this.#samples.shift();
    const [first] = this.#samples;
    const elapsed = seconds - first.seconds;
    // The first half second is too short to measure.
    if (elapsed < 0.5) return undefined;
    const speed = (loaded - first.loaded) / elapsed;
    const left =
      total !== undefined && speed > 0 ? `, ${formatDuration((total - loaded) / speed)} left` : '';
    return `${formatBytes(speed)}/s${left}`;
  }
}
