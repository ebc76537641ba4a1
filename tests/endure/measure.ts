// What grows while something runs: figures by steps, and the slope of each after the first.

/** Figures of one moment. Bytes, but for milliseconds a step. */
export type Sample = { step: number } & Record<string, number>;

/** Before that, caches fill and functions are compiled. */
const SETTLED = 500;
/** Bytes in 1,000 steps, or in 100 runs. */
const MOST_GROWTH = 2 ** 20;
/** Of the time of a step: a busy machine is slower now and then. */
const MOST_SLOWER = 0.25;
/** Figures in milliseconds. */
const TIMES = ['step time', 'CPU time'];

/**
 * Growth a step: the median of the slopes between any two samples. What comes once, such as a
 * service that the browser starts for itself after some minutes, is no growth.
 */
function slope(samples: readonly Sample[], name: string): number {
  const slopes = samples.flatMap((from, i) =>
    samples.slice(i + 1).map((to) => (to[name] - from[name]) / (to.step - from.step)),
  );
  return median(slopes);
}

const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1];

interface Judging {
  /** The first steps, which do not count. */
  settled?: number;
  /** Steps that growth is told for. */
  unit?: number;
  /** Of figures that it has, growth is only what is more than here, in the same unit. */
  beside?: Readonly<Record<string, number>>;
  /** Which figures are judged; the others are only shown. All are, by default. */
  judges?(name: string): boolean;
}

/** Growth of each figure in `unit` steps. */
export function growths(
  samples: readonly Sample[],
  { settled = SETTLED, unit = 1000 }: Judging = {},
): Record<string, number> {
  const counted = samples.filter(({ step }) => step >= settled);
  const names = Object.keys(counted[0]).filter((name) => name !== 'step');
  return Object.fromEntries(names.map((name) => [name, unit * slope(counted, name)]));
}

/** Rows of the table, and what does not hold. */
export function judge(what: string, samples: readonly Sample[], judging: Judging = {}) {
  const { settled = SETTLED, unit = 1000, beside = {}, judges = () => true } = judging;
  const counted = samples.filter(({ step }) => step >= settled);
  const [first, last] = [counted[0], counted[counted.length - 1]];
  const rows: string[] = [];
  const failures: string[] = [];
  for (const [name, growth] of Object.entries(growths(samples, judging))) {
    const isTime = TIMES.includes(name);
    const more = growth - Math.max(0, beside[name] ?? 0);
    const than = name in beside ? ' more than in a page that does nothing' : '';
    const shown = (value: number) =>
      isTime ? `${value.toFixed(1)} ms` : `${(value / 2 ** 20).toFixed(2)} MB`;
    rows.push(
      `| ${what} | ${name} | ${shown(first[name])} at ${first.step} | ` +
        `${shown(last[name])} at ${last.step} | ${shown(growth)} in ${unit} |`,
    );
    if (!judges(name)) continue;
    const third = Math.ceil(counted.length / 3);
    const timeOf = (part: readonly Sample[]) => median(part.map((sample) => sample[name]));
    const slower = timeOf(counted.slice(-third)) / timeOf(counted.slice(0, third)) - 1;
    if (isTime ? slower > MOST_SLOWER : more > MOST_GROWTH)
      failures.push(
        isTime
          ? `${what}: the last steps take ${Math.round(100 * slower)}% longer than the first`
          : `${what}: ${name} grows by ${shown(more)} in ${unit}${than}`,
      );
  }
  return { rows, failures };
}
