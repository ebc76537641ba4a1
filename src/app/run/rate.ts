// How fast a download is, from how much of it had come when: over the last seconds, so that a stall
// shows.

import { formatBytes, formatDuration } from '../shared/format';

/** Seconds that the speed is averaged over. */
const WINDOW = 5;

export class Rate {
  #of = '';
  #samples: { seconds: number; loaded: number }[] = [];

  /** "8.1 MB/s, 00:42 left" for the download `of`; undefined until there is something to tell. */
  tell(
    of: string,
    seconds: number,
    loaded: number | undefined,
    total: number | undefined,
  ): string | undefined {
    if (of !== this.#of || loaded === undefined) this.#samples = [];
    this.#of = of;
    if (loaded === undefined) return undefined;
    if (this.#samples.at(-1)?.loaded !== loaded) this.#samples.push({ seconds, loaded });
    while (this.#samples.length > 2 && seconds - this.#samples[1].seconds > WINDOW)
      this.#samples.shift();
    const [first] = this.#samples;
    const elapsed = seconds - first.seconds;
    // Under half a second the first bytes say nothing yet.
    if (elapsed < 0.5) return undefined;
    const speed = (loaded - first.loaded) / elapsed;
    const left =
      total !== undefined && speed > 0 ? `, ${formatDuration((total - loaded) / speed)} left` : '';
    return `${formatBytes(speed)}/s${left}`;
  }
}
