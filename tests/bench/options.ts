// The benchmark's flags, the same in Node and on the page.

export const WORKLOADS = ['W1', 'W2', 'W3', 'W4', 'W5', 'W6', 'W7'] as const;
export type Workload = (typeof WORKLOADS)[number];

export interface Options {
  only: Workload[];
  /** Timed turns of each contestant; each workload has its own default. */
  turns?: number;
  /** The file for all timings. */
  json?: string;
}

export const USAGE = 'npm run bench -- [--only W1,W3] [--turns N] [--json FILE]';

/** @throws Error with the flag, its value and what is allowed */
export function parseOptions(args: readonly string[]): Options {
  const options: Options = { only: [...WORKLOADS] };
  for (let i = 0; i < args.length; i += 2) {
    const [flag, value] = [args[i], args[i + 1]];
    if (!['--only', '--turns', '--json'].includes(flag))
      throw new Error(`bench: there is no flag ${flag}. ${USAGE}`);
    if (value === undefined) throw new Error(`bench: ${flag} needs a value. ${USAGE}`);
    if (flag === '--json') options.json = value;
    if (flag === '--only') options.only = value.split(',').map(workload);
    if (flag === '--turns') {
      options.turns = Number(value);
      if (!Number.isInteger(options.turns) || options.turns < 1)
        throw new Error(`bench: --turns is ${value}; it must be a whole number of at least 1.`);
    }
  }
  return options;
}

function workload(name: string): Workload {
  const known = WORKLOADS.find((one) => one === name.toUpperCase());
  if (!known) throw new Error(`bench: --only names ${name}; choose from ${WORKLOADS.join(', ')}.`);
  return known;
}
