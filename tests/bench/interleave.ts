// Timing in turns: contestants alternate in one process, so that a machine's noise affects all of
// them equally. The result is the ratio of medians; absolute times mean something only on a GPU.

export interface Contestant {
  name: string;
  /** Restores what the last run changed; not timed. */
  prepare?(): Promise<void>;
  /** Does the work once and waits for the GPU. */
  run(): Promise<void>;
}

export interface Timing {
  name: string;
  /** Milliseconds of each timed turn, in order. */
  milliseconds: number[];
  median: number;
  min: number;
}

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

/** `turns` timed turns each, A B C A B C …, after `warmups` untimed ones, which compile. */
export async function interleaved(
  contestants: readonly Contestant[],
  turns: number,
  warmups = 2,
): Promise<Timing[]> {
  const times = contestants.map((): number[] => []);
  for (let turn = -warmups; turn < turns; turn++) {
    for (const [i, contestant] of contestants.entries()) {
      await contestant.prepare?.();
      const start = performance.now();
      await contestant.run();
      if (turn >= 0) times[i].push(performance.now() - start);
    }
  }
  return contestants.map(({ name }, i) => {
    const milliseconds = times[i];
    return { name, milliseconds, median: median(milliseconds), min: Math.min(...milliseconds) };
  });
}
