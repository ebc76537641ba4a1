// Chooses the places in held-out text that the lessons show, by rules that hold for any teacher.
// Each role has a condition and a score: the best place that meets the condition is taken. Pure.

import type { Role } from '../distributions';

/** What the rules know of a position in held-out text. */
export interface Position {
  /** Its row among all logits. */
  row: number;
  /** The token that follows in the text. */
  next: number;
  /** Ids of the teacher's likeliest tokens, the likeliest first. */
  likeliest: number[];
  /** The teacher's probabilities (V). */
  p: Float64Array;
  /** The narrowest and the widest student's probability of the teacher's likeliest token. */
  narrow: number;
  wide: number;
}

/** Tokens that are shown by name must be whole words, which a person can judge. */
type IsWord = (id: number) => boolean;

/** Undefined if the place does not serve; otherwise the higher the better. */
type Rule = (position: Position, isWord: IsWord) => number | undefined;

/** Tokens that a picture shows. */
const SHOWN = 8;

/** Below this the teacher says no more than that a word follows. */
const LEAST = 0.001;

const RULES: Record<Exclude<Role, 'fork'>, Rule> = {
  // The teacher is sure of one word, but not so sure that nothing else is left, and right.
  sure: ({ next, likeliest, p }, isWord) =>
    next === likeliest[0] && isWord(next) && p[next] < 0.97 ? p[next] : undefined,
  // Many words fit; the text has one of them, which is not the likeliest.
  open: ({ next, likeliest, p }, isWord) => {
    const shown = likeliest.slice(0, SHOWN);
    if (!shown.slice(1).includes(next) || !isWord(next) || p[shown[0]] > 0.25) return undefined;
    return shown.reduce((sum, id) => sum + (isWord(id) ? p[id] : 0), 0);
  },
  // The text goes on with a word that the teacher holds unlikely, while it is sure of another.
  surprise: ({ next, likeliest: [first], p }, isWord) =>
    isWord(next) && isWord(first) && p[next] > LEAST && p[next] < 0.02 ? p[first] : undefined,
  // The wide student has learnt what the teacher says, and the narrow one gives it far less.
  hard: ({ next, likeliest, narrow, wide }, isWord) =>
    next === likeliest[0] && isWord(next) && wide > 0.1 ? wide / narrow : undefined,
};

/** Two places are compared for each pair, so only some are: the surest of each word. */
const MOST_PER_WORD = 3;
const MOST_CANDIDATES = 240;

/**
 * The positions of each role; `fork` has two, where the teacher is sure of different words although
 * much else is alike.
 * @throws Error if no position serves
 */
export function choosePlaces(
  positions: readonly Position[],
  isWord: IsWord,
): Record<Role, Position[]> {
  const taken = new Set<Position>();
  const best = (role: Exclude<Role, 'fork'>): Position[] => {
    let found: { position: Position; score: number } | undefined;
    for (const position of positions) {
      const score = taken.has(position) ? undefined : RULES[role](position, isWord);
      if (score !== undefined && score > (found?.score ?? -Infinity)) found = { position, score };
    }
    if (!found) throw new Error(missing(role, positions.length));
    taken.add(found.position);
    return [found.position];
  };
  return {
    sure: best('sure'),
    open: best('open'),
    surprise: best('surprise'),
    hard: best('hard'),
    fork: fork(positions, isWord),
  };
}

/**
 * The pair that differs most in its likeliest words, and has a third that both allow: in their
 * geometric mean it gains most on the mean.
 */
function fork(positions: readonly Position[], isWord: IsWord): Position[] {
  const perWord = new Map<number, number>();
  const candidates = positions
    .filter(({ likeliest }) => isWord(likeliest[0]))
    .sort((a, b) => b.p[b.likeliest[0]] - a.p[a.likeliest[0]])
    .filter(({ likeliest: [word] }) => {
      const count = (perWord.get(word) ?? 0) + 1;
      perWord.set(word, count);
      return count <= MOST_PER_WORD;
    })
    .slice(0, MOST_CANDIDATES);
  let found: { pair: Position[]; score: number } | undefined;
  for (const [i, a] of candidates.entries()) {
    for (const b of candidates.slice(i + 1)) {
      const [wordA, wordB] = [a.likeliest[0], b.likeliest[0]];
      const apart = Math.min(a.p[wordA] - b.p[wordA], b.p[wordB] - a.p[wordB]);
      if (apart <= 0) continue;
      const geometric = a.p.map((p, v) => Math.sqrt(p * b.p[v]));
      const overlap = geometric.reduce((sum, p) => sum + p, 0);
      let gain = 0;
      for (const [v, p] of geometric.entries())
        if (isWord(v)) gain = Math.max(gain, p / overlap - (a.p[v] + b.p[v]) / 2);
      if (apart * gain > (found?.score ?? 0)) found = { pair: [a, b], score: apart * gain };
    }
  }
  if (!found) throw new Error(missing('fork', positions.length));
  return found.pair;
}

const missing = (role: Role, count: number) =>
  `lessons: none of ${count} held-out positions serves as “${role}”. ` +
  'Read more held-out batches, or widen the rule.';
