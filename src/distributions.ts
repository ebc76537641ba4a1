// Next-token distributions in a small file: what the page's lessons compute with. Pure. The command
// line packs them from models' logits over the whole vocabulary, and the page unpacks them.
//
// A table keeps the likeliest tokens one by one and the rest in groups of tokens of about equal
// probability, which take their mean. At temperature 1 every token that is kept and every group has
// its exact probability; only how a group shares it is lost.

/** Tokens that are kept one by one, the likeliest of each distribution. */
const LIKELIEST = 32;
/** Groups of the other tokens. */
const GROUPS = 24;
/** Natural logarithms are stored in steps of a thousandth: a probability is then right to 0.05%. */
const DIGITS = 3;

/** The models of a file: `teacher`, and the students by name. */
export type Model = string;

/** A place in a text, and what each model says of the token that comes next there. */
export interface Place {
  /** The text before it. */
  text: string;
  /** Index into the table's tokens of the one that follows in the text. */
  next: number;
  /** By model: ln of each token's probability, then ln of each group's mean probability. */
  logP: Record<Model, number[]>;
}

/** Places whose distributions are compared, and so share their tokens. */
export interface Table {
  /** The texts of the tokens that are kept one by one. */
  tokens: string[];
  /** Tokens in each group. */
  groups: number[];
  places: Place[];
}

/** A student and what it reached on held-out text. */
export interface Trained {
  width: number;
  parameters: number;
  steps: number;
  alpha: number;
  perplexity: number;
  /** KL(teacher ‖ student), nats a token. */
  kl: number;
}

/** The roles that a table is chosen for. */
export type Role = 'sure' | 'open' | 'surprise' | 'fork' | 'hard';

export interface LessonFile {
  /** The teacher's name among the built-in models. */
  teacher: string;
  teacherParameters: number;
  /** On the same held-out batches as the students'. */
  teacherPerplexity: number;
  vocabularySize: number;
  heldOutTokens: number;
  adapter: string;
  date: string;
  tables: Record<Role, Table>;
  /** Students of several widths and numbers of steps, from narrow and short to wide and long. */
  byWidth: Trained[];
  /** Students that differ in α alone, from 0 to 1. */
  byAlpha: Trained[];
  /**
   * Held-out positions in four equal parts, by how much the context tells the teacher: from little
   * to much. `told` is KL(teacher ‖ the tokens' frequencies), `kl` KL(teacher ‖ student) by
   * student; means, nats a token.
   */
  byContext: { told: number; kl: Record<Model, number> }[];
}

/** A place before it is packed: logits (V) by model. */
export interface FullPlace {
  text: string;
  /** Token id. */
  next: number;
  logits: ReadonlyMap<Model, ArrayLike<number>>;
}

/** ln softmax of logits, in float64. */
export function logProbabilities(logits: ArrayLike<number>): Float64Array {
  const all = Float64Array.from(logits);
  const most = all.reduce((a, b) => Math.max(a, b), -Infinity);
  const lse = most + Math.log(all.reduce((sum, logit) => sum + Math.exp(logit - most), 0));
  return all.map((logit) => logit - lse);
}

/** Packs places that share a vocabulary. `textOf` gives a token's text. */
export function packTable(places: readonly FullPlace[], textOf: (id: number) => string): Table {
  const logP = places.map(
    ({ logits }) =>
      new Map([...logits].map(([model, values]) => [model, logProbabilities(values)])),
  );
  const rows = logP.flatMap((byModel) => [...byModel.values()]);
  const V = rows[0].length;
  const ids = Array.from({ length: V }, (_, id) => id);
  const kept = new Set(places.map(({ next }) => next));
  for (const row of rows) {
    const likeliest = ids.toSorted((a, b) => row[b] - row[a]).slice(0, LIKELIEST);
    for (const id of likeliest) kept.add(id);
  }
  const first = rows[0];
  const tokens = [...kept].sort((a, b) => first[b] - first[a] || a - b);
  // Sorted by all rows together, so that a group's tokens are alike in each of them.
  const height = (id: number) => rows.reduce((sum, row) => sum + row[id], 0);
  const heights = ids.map(height);
  const others = ids.filter((id) => !kept.has(id)).sort((a, b) => heights[b] - heights[a] || a - b);
  const count = Math.min(GROUPS, others.length);
  const cut = (i: number) => Math.round((i * others.length) / count);
  const groups = Array.from({ length: count }, (_, i) => others.slice(cut(i), cut(i + 1)));
  const round = (value: number) => Number(value.toFixed(DIGITS));
  const pack = (row: Float64Array) => [
    ...tokens.map((id) => round(row[id])),
    ...groups.map((group) =>
      round(Math.log(group.reduce((sum, id) => sum + Math.exp(row[id]), 0) / group.length)),
    ),
  ];
  return {
    tokens: tokens.map(textOf),
    groups: groups.map((group) => group.length),
    places: places.map(({ text, next }, i) => ({
      text,
      next: tokens.indexOf(next),
      logP: Object.fromEntries([...logP[i]].map(([model, row]) => [model, pack(row)])),
    })),
  };
}

/** ln p of every token (V): those kept one by one, then those of groups, with the group's mean. */
export function unpack({ tokens, groups }: Table, logP: readonly number[]): Float64Array {
  const alone = logP.slice(0, tokens.length);
  const grouped = groups.flatMap((count, g) => Array(count).fill(logP[tokens.length + g]));
  return Float64Array.from([...alone, ...grouped]);
}
