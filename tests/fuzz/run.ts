// Attacks a reader with changed inputs. Each is read rightly, or refused in a message that names
// what was read and says what to do; at once, in bounded memory, and with nothing polluted.

import fc from 'fast-check';

export interface Attack<Input = never> {
  name: string;
  inputs: fc.Arbitrary<Input>;
  /** Of all tries, for an attack whose tries take long. */
  share?: number;
  /**
   * Reads an input. What it throws must be a refusal; so is what it returns of an input that it
   * refuses without throwing.
   * @throws Error that names itself "Misread" if what was read is not right
   */
  read(input: Input): unknown;
  /** Errors that refuse an input. */
  errors: readonly (abstract new (
    ...args: never[]
  ) => Error)[];
  /** What a refusal's message has in it. */
  says: RegExp;
  /** The next step depends on the caller, who adds it. */
  hinted?: boolean;
}

/** A value that was accepted and is wrong. */
export class Misread extends Error {}

/** A refusal that is told, not thrown. */
export class Told extends Error {}

/** A row of the table, whatever its inputs are. */
export const known = <Input>(attack: Attack<Input>) => attack as unknown as Attack;

/** An answer with a problem is a refusal. */
export function told<Answer extends object>(answer: Answer): Exclude<Answer, { problem: string }> {
  if ('problem' in answer) throw new Told(String(answer.problem));
  return answer as Exclude<Answer, { problem: string }>;
}

export const encode = (text: string) => new TextEncoder().encode(text);

export interface Outcome {
  name: string;
  tries: number;
  accepted: number;
  /** Of CPU time, in milliseconds. */
  slowest: number;
  /** One line for each failure, with the seed and the number of its input. */
  failures: string[];
}

/** Inputs that are made at a time. */
const BATCH = 250;
const MOST_MILLISECONDS = 1000;
const MOST_BYTES = 64 * 2 ** 20;
/** A message is read by a person. */
const LONGEST_MESSAGE = 1200;
/** As in quote.ts, but for the line breaks between a list of problems. */
const UNSEEN = /(?!\n)\p{Cc}|[\p{Cs}\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/u;
/** A second sentence, a second clause, or what is allowed. */
const NEXT_STEP = /[.!?;:] \S|must|expected|limit|in place of|takes/;

const used = () => {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
};

export async function run<Input>(
  attack: Attack<Input>,
  runs: number,
  seed: number,
): Promise<Outcome> {
  const outcome: Outcome = { name: attack.name, tries: 0, accepted: 0, slowest: 0, failures: [] };
  const tries = Math.ceil(runs * (attack.share ?? 1));
  for (let done = 0; done < tries; done += BATCH) {
    const numRuns = Math.min(BATCH, tries - done);
    const batchSeed = seed + done / BATCH;
    for (const [i, input] of fc.sample(attack.inputs, { numRuns, seed: batchSeed }).entries()) {
      const fail = (what: string) =>
        outcome.failures.push(`${attack.name}, seed ${batchSeed}, input ${i}: ${what}`);
      const before = used();
      const started = process.cpuUsage();
      const problem = await problemOf(attack, input);
      const { user, system } = process.cpuUsage(started);
      const milliseconds = (user + system) / 1000;
      const grown = used() - before;
      outcome.tries++;
      if (problem === undefined) outcome.accepted++;
      else if (problem !== '') fail(problem);
      outcome.slowest = Math.max(outcome.slowest, milliseconds);
      if (milliseconds > MOST_MILLISECONDS) fail(`took ${Math.round(milliseconds)} ms`);
      if (grown > MOST_BYTES) fail(`took ${Math.round(grown / 2 ** 20)} MiB`);
      for (const name in {}) fail(`gave every object a ${name}`);
    }
  }
  return outcome;
}

/** Undefined if it was accepted, '' if it was refused well, otherwise what is wrong. */
async function problemOf<Input>(attack: Attack<Input>, input: Input): Promise<string | undefined> {
  try {
    await attack.read(input);
    return undefined;
  } catch (error) {
    if (!(error instanceof Error)) return `threw ${error}`;
    const isRefusal = error instanceof Told || attack.errors.some((kind) => error instanceof kind);
    if (!isRefusal) return `${error.name}: ${error.stack?.slice(0, 600)}`;
    const hint = 'hint' in error ? ` ${error.hint}` : '';
    const message = `${error.message}${hint}`;
    if (message.length > LONGEST_MESSAGE) return `a message of ${message.length} characters`;
    if (UNSEEN.test(message)) return `a message with unseen characters: ${JSON.stringify(message)}`;
    if (!attack.says.test(message)) return `a message that does not say ${attack.says}: ${message}`;
    if (!attack.hinted && !NEXT_STEP.test(message))
      return `a message without a next step: ${message}`;
    return '';
  }
}
