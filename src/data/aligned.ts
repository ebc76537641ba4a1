// One text in the tokens of two tokenizers, laid side by side. Where both have a token boundary at
// the same byte, a group ends: the tokens of a group are the shortest runs of both that spell the
// same bytes. Losses that compare models without a common vocabulary compare group by group.

import { IGNORED_TARGET } from './targets';

/** Groups of tokens, in order: each begins where the one before it ends. */
export interface Groups {
  /** (G) where each ends among the student's tokens, and among the teacher's. */
  student: Uint32Array;
  teacher: Uint32Array;
  /** (G) 1 for a group that spells text in both; 0 for end-of-text tokens and the like. */
  compared: Uint8Array;
}

/** The teacher's tokens of a text, beside the student's. */
export interface Aligned {
  ids: Uint32Array;
  groups: Groups;
}

/** A batch as its teacher reads it, and which of its rows belong together. */
export interface AlignedBatch {
  /** The student's batch. */
  index: number;
  /** As in a Batch, by the teacher's tokens. */
  documents?: Uint32Array;
  /** (B, T) the teacher's tokens of each row's text, and the token after each. */
  inputs: Uint32Array;
  targets: Int32Array;
  /**
   * (B·T, 4) for the student's row in which a token is predicted: the first and the last row of its
   * group, and the first and the last of the teacher's. NO_GROUP first: it is not compared.
   */
  spans: Uint32Array<ArrayBuffer>;
  /** Groups in `spans`. */
  groups: number;
}

export const NO_GROUP = 0xffffffff;

/**
 * Groups of two tokenisations of one text. Tokens without bytes belong to the group before them.
 * @param student (n + 1) the byte at which each token begins, and the end of the text
 * @param teacher (m + 1) the same
 */
export function align(student: ArrayLike<number>, teacher: ArrayLike<number>): Groups {
  const [n, m] = [student.length - 1, teacher.length - 1];
  if (n === 0 || m === 0) return oneGroup(n, m);
  const ends: [student: number[], teacher: number[]] = [[], []];
  // The text's end is a boundary of both, whatever a tokenizer has left out before it.
  const boundary = (starts: ArrayLike<number>, i: number) =>
    i === starts.length - 1 ? Infinity : starts[i];
  let [i, j] = [0, 0];
  while (i < n && j < m) {
    const [s, t] = [boundary(student, i + 1), boundary(teacher, j + 1)];
    if (s <= t) i++;
    if (t <= s) j++;
    if (s !== t) continue;
    while (i < n && boundary(student, i + 1) === s) i++;
    while (j < m && boundary(teacher, j + 1) === t) j++;
    ends[0].push(i);
    ends[1].push(j);
  }
  return {
    student: Uint32Array.from(ends[0]),
    teacher: Uint32Array.from(ends[1]),
    compared: new Uint8Array(ends[0].length).fill(1),
  };
}

/** All tokens in one group that is not compared; none without tokens. */
export const oneGroup = (student: number, teacher: number): Groups => {
  const count = student + teacher > 0 ? 1 : 0;
  return {
    student: new Uint32Array(count).fill(student),
    teacher: new Uint32Array(count).fill(teacher),
    compared: new Uint8Array(count),
  };
};

/** Texts one after the other. `student`: each one's tokens. */
export function concatenateAligned(parts: readonly (Aligned & { student: number })[]): Aligned {
  const total = (of: (part: Aligned) => number) => parts.reduce((sum, part) => sum + of(part), 0);
  const ids = new Uint32Array(total((part) => part.ids.length));
  const count = total(({ groups }) => groups.compared.length);
  const groups = {
    student: new Uint32Array(count),
    teacher: new Uint32Array(count),
    compared: new Uint8Array(count),
  };
  let [at, student, teacher] = [0, 0, 0];
  for (const part of parts) {
    ids.set(part.ids, teacher);
    groups.compared.set(part.groups.compared, at);
    for (let g = 0; g < part.groups.compared.length; g++, at++) {
      groups.student[at] = student + part.groups.student[g];
      groups.teacher[at] = teacher + part.groups.teacher[g];
    }
    student += part.student;
    teacher += part.ids.length;
  }
  return { ids, groups };
}

/** The first group that ends after the student's token `at`. */
function groupAt({ student }: Groups, at: number): number {
  let [low, high] = [0, student.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (student[middle] > at) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** The student's tokens `from` to `to` alone. A group that is cut is not compared. */
export function alignedPart({ ids, groups }: Aligned, from: number, to: number): Aligned {
  const first = groupAt(groups, from);
  const start = first > 0 ? groups.teacher[first - 1] : 0;
  const last = groupAt(groups, to - 1);
  const whole = groups.student[last] === to;
  const end = whole ? groups.teacher[last] : (groups.teacher[last - 1] ?? 0);
  const part = {
    student: groups.student.slice(first, last + 1).map((each) => Math.min(each, to) - from),
    teacher: groups.teacher.slice(first, last + 1).map((each) => Math.min(each, end) - start),
    compared: groups.compared.slice(first, last + 1),
  };
  if (from > (groups.student[first - 1] ?? 0)) part.compared[0] = 0;
  if (!whole) part.compared[last - first] = 0;
  return { ids: ids.subarray(start, Math.max(start, end)), groups: part };
}

type StudentBatch = Pick<AlignedBatch, 'index' | 'inputs' | 'targets' | 'documents'>;

/** A batch whose teacher reads the student's tokens: each of its targets is a group. */
function sameTokens({ index, inputs, targets, documents }: StudentBatch): AlignedBatch {
  const spans = new Uint32Array(4 * targets.length).fill(NO_GROUP);
  let groups = 0;
  for (const [row, target] of targets.entries()) {
    if (target === IGNORED_TARGET) continue;
    spans.fill(row, 4 * row, 4 * row + 4);
    groups++;
  }
  return { index, inputs, targets, ...(documents && { documents }), spans, groups };
}

/** How the teacher reads a batch. */
export const alignedBatch = (batch: StudentBatch & { aligned?: AlignedBatch }): AlignedBatch =>
  batch.aligned ?? sameTokens(batch);

/** Where the teacher's token begins with which the student's group of the token `at` does. */
function teacherAt(groups: Groups, at: number): number {
  const first = groupAt(groups, at);
  return first > 0 ? groups.teacher[first - 1] : 0;
}

/** Documents of rows of T tokens: of each row, one. */
export const oneDocument = (B: number, T: number): Uint32Array =>
  Uint32Array.from({ length: 2 * B * T }, (_, i) => (i % 2) * T);

/** A batch of (B, T) without the teacher's tokens. `masked`: it says where documents begin. */
export const emptyAligned = (
  index: number,
  B: number,
  T: number,
  masked: boolean,
): AlignedBatch => ({
  ...(masked && { documents: oneDocument(B, T) }),
  index,
  inputs: new Uint32Array(B * T),
  targets: new Int32Array(B * T).fill(IGNORED_TARGET),
  spans: new Uint32Array(4 * B * T).fill(NO_GROUP),
  groups: 0,
});

/**
 * Writes a row of a batch: the teacher's tokens of the text of the student's tokens from `start`
 * on, and the groups that both predict in it. The teacher's row ends after T tokens: groups beyond
 * are not compared, nor are those with a target that does not count.
 * @param targets (≤ T) the student's targets in this row
 * @param begin where each document begins among the student's tokens, for a masked batch
 */
export function fillAligned(
  batch: AlignedBatch,
  row: number,
  { ids, groups }: Aligned,
  start: number,
  targets: Int32Array,
  T: number,
  begin: readonly number[] = [],
): void {
  const first = groupAt(groups, start);
  const teacherStart = teacherAt(groups, start);
  const at = row * T;
  if (batch.documents) {
    // A document begins with a group of its own.
    let own = 0;
    const within = begin.filter((each) => each > start && each <= start + T);
    for (const next of [...within.map((each) => teacherAt(groups, each) - teacherStart), T]) {
      const end = Math.min(next, T);
      for (let t = own; t < end; t++) batch.documents.set([own, end], 2 * (at + t));
      own = end;
    }
  }
  batch.inputs.set(ids.subarray(teacherStart, teacherStart + T), at);
  batch.targets.set(ids.subarray(teacherStart + 1, teacherStart + T + 1), at);
  // A token is predicted in the row before its own, and a window's first token not at all.
  const [student, teacher] = [start + 1, teacherStart + 1];
  for (let g = first + 1; g < groups.compared.length; g++) {
    const [from, to] = [groups.student[g - 1] - student, groups.student[g] - student];
    const [fromT, toT] = [groups.teacher[g - 1] - teacher, groups.teacher[g] - teacher];
    if (to > targets.length || toT > T) return;
    if (groups.compared[g] === 0 || fromT < 0 || from === to || fromT === toT) continue;
    if (targets.subarray(from, to).includes(IGNORED_TARGET)) continue;
    const span = [at + from, at + to - 1, at + fromT, at + toT - 1];
    for (let r = from; r < to; r++) batch.spans.set(span, 4 * (at + r));
    batch.groups++;
  }
}
