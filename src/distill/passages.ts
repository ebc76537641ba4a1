// The passages of the held-out text that the student predicts least and most like its teacher, so
// that a person can read what was not learned. Pure.

import type { Batch } from '../data/batches';
import type { Tokenizer } from '../data/tokenizer';
import type { TokenFigures } from './evaluate';
import { type Label, labelsOf } from './loss-paths';

/** Tokens of a passage: two lines or so to read. */
const LENGTH = 20;
/** Passages of each kind. */
const SHOWN = 3;

export interface Passage {
  /** From the start of the window that the models see to the passage's last token. */
  ids: number[];
  /** The place of its first token among them. */
  from: number;
  /** What stands before it in that window, and each of its tokens. */
  before: string;
  texts: string[];
  /** KL(teacher ‖ student) of each token, and their mean, in nats. */
  kl: number[];
  mean: number;
  /** Of each layer with experts: how many it has, and which one each token goes to first. */
  experts?: { layer: number; experts: number; chosen: number[] }[];
}

export interface Passages {
  /** The student had been trained for so many steps. */
  step: number;
  worst: Passage[];
  best: Passage[];
}

type Found = Pick<Passage, 'ids' | 'from' | 'kl' | 'mean' | 'experts'>;

/** Collects an evaluation's batches, and finds one worst and one best passage of each window. */
export class PassageFinder {
  readonly #worst: Found[] = [];
  readonly #best: Found[] = [];

  /** @param T of the batches */
  constructor(private readonly T: number) {}

  /** A window of held-out text counts as a whole, or not at all. */
  add(batch: Batch, { kl, experts }: Pick<TokenFigures, 'kl' | 'experts'>): void {
    const windows = new Map<number, Label[]>();
    for (const label of labelsOf(batch, this.T)) {
      const window = Math.floor(label.row / (this.T - 1));
      const labels = windows.get(window);
      if (labels) labels.push(label);
      else windows.set(window, [label]);
    }
    for (const [window, all] of windows) {
      const labels = longestRun(all);
      const values = labels.map(({ row }) => kl[row]);
      if (!values.every(Number.isFinite)) continue;
      const length = Math.min(LENGTH, labels.length);
      const passages = Array.from({ length: labels.length - length + 1 }, (_, first) => {
        const own = values.slice(first, first + length);
        return { first, kl: own, mean: own.reduce((a, b) => a + b) / length };
      });
      const inputs = batch.inputs.subarray(window * this.T, (window + 1) * this.T);
      const found = ({ first, ...figures }: (typeof passages)[number]): Found => {
        const from = labels[first].position;
        const at = window * this.T + from;
        return {
          ids: [...inputs.subarray(0, from + length)],
          from,
          ...figures,
          ...(experts.length > 0 && {
            experts: experts.map(({ chosen, ...layer }) => ({
              ...layer,
              chosen: [...chosen.subarray(at, at + length)],
            })),
          }),
        };
      };
      this.#worst.push(found(passages.reduce((a, b) => (b.mean > a.mean ? b : a))));
      this.#best.push(found(passages.reduce((a, b) => (b.mean < a.mean ? b : a))));
    }
  }

  /** The worst and the best few, the most extreme first. Of few windows, fewer. */
  passages(tokenizer: Pick<Tokenizer, 'decode'>): Pick<Passages, 'worst' | 'best'> {
    const shown = Math.min(SHOWN, Math.ceil(this.#worst.length / 2));
    const first = (found: Found[], order: (a: Found, b: Found) => number) =>
      found
        .toSorted(order)
        .slice(0, shown)
        .map((passage) => ({ ...passage, ...textsOf(passage, tokenizer) }));
    return {
      worst: first(this.#worst, (a, b) => b.mean - a.mean),
      best: first(this.#best, (a, b) => a.mean - b.mean),
    };
  }
}

/** The longest part of a window in which every token counts; all of it, unless it is masked. */
function longestRun(labels: Label[]): Label[] {
  let longest: Label[] = [];
  let first = 0;
  for (let end = 1; end <= labels.length; end++) {
    if (end < labels.length && labels[end].row === labels[end - 1].row + 1) continue;
    if (end - first > longest.length) longest = labels.slice(first, end);
    first = end;
  }
  return longest;
}

/** A token's text may depend on those before it: a space at its start, half a character. */
function textsOf({ ids, from }: Found, tokenizer: Pick<Tokenizer, 'decode'>) {
  const upTo = (count: number) => tokenizer.decode(ids.slice(0, count));
  const ends = Array.from({ length: ids.length - from + 1 }, (_, i) => upTo(from + i));
  return {
    before: ends[0],
    texts: ends.slice(1).map((text, i) => text.slice(ends[i].length)),
  };
}
