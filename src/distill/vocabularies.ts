// A teacher and a student whose tokenizers differ: whether a run's losses can compare them, both
// tokenizers, and which tokens of theirs are the same text.

import { type Config, twinConfig } from '../config';
import type { Tokenizer } from '../data/tokenizer';
import { alignedLossOf } from '../divergences';
import { type ModelSource, readJson } from '../files/source';
import { parseSizes } from '../model/families';
import { needsTeacher } from './losses';
import type { MatchTokens } from './settings';
import { vocabularyDifference } from './student-start';
import { type FolderTokenizer, openTokenizer } from './teacher/folder';

/** The tokenizers of a run whose models have no common vocabulary. */
export interface TwoVocabularies {
  /** The student's: the run's tokens, perplexities and export are in it. */
  tokenizer: FolderTokenizer;
  teacherTokenizer: FolderTokenizer;
}

/** Whether every loss of a run, its twin's included, does without a common vocabulary. */
function needsNoCommonVocabulary(config: Config): boolean {
  const students = [config, twinConfig(config)].filter((one) => one !== undefined);
  const aligned = students.filter((one) => alignedLossOf(one) !== undefined);
  return (
    aligned.length > 0 && students.every((one) => aligned.includes(one) || !needsTeacher(one.loss))
  );
}

/**
 * Both tokenizers of a teacher and a student with different vocabularies; undefined where the
 * losses need a common one, or the models have it.
 * @param student undefined if it has no folder of its own
 * @throws ModelFileError, TokenizerError
 */
export async function openTwoVocabularies(
  config: Config,
  teacher: ModelSource,
  teacherRows: number,
  student: ModelSource | undefined,
): Promise<TwoVocabularies | undefined> {
  if (!student || !needsNoCommonVocabulary(config)) return undefined;
  const teacherTokenizer = await openTokenizer(teacher, teacherRows);
  const difference = await vocabularyDifference(teacherTokenizer, teacher, student, () => {});
  if (!difference) return undefined;
  const file = `config.json of ${student.label}`;
  const { vocabularySize } = parseSizes(await readJson(student, 'config.json'), file);
  return { tokenizer: await openTokenizer(student, vocabularySize), teacherTokenizer };
}

/**
 * Which of the teacher's tokens is which of the student's V: they stand for the same bytes. With
 * one vocabulary, the same ids. Of several with the same bytes, the last of each.
 */
export function matchesOf(V: number, student?: Tokenizer, teacher?: Tokenizer): MatchTokens {
  return (W) => {
    if (!student || !teacher) return Int32Array.from({ length: W }, (_, w) => (w < V ? w : -1));
    const textsOf = ({ spelling, vocabularySize }: Tokenizer) =>
      new Map(
        Array.from({ length: vocabularySize }, (_, id) => [
          String.fromCharCode(...spelling.spell(id)),
          id,
        ]),
      );
    const matches = new Int32Array(W).fill(-1);
    const mine = textsOf(student);
    for (const [text, w] of textsOf(teacher)) {
      const v = mine.get(text);
      if (text !== '' && v !== undefined && v < V && w < W) matches[w] = v;
    }
    return matches;
  };
}

export const NO_COMMON_VOCABULARY =
  'The passages are found by KL(teacher ‖ student), and teacher and student have different ' +
  'vocabularies. Compare what both write instead.';

/** What such a run compares, for its log. `spans`: groups in the training text. */
export function comparedNote(config: Config, spans: number, tokens: number): string {
  const kind = alignedLossOf(config) ?? alignedLossOf(twinConfig(config) ?? config);
  const how =
    kind === 'gold'
      ? 'probabilities of the tokens that both have, and the others by rank'
      : 'probabilities by rank';
  const count = (value: number) => value.toLocaleString('en-US');
  return (
    `Teacher and student have different vocabularies. The loss ${kind} compares ${how}, over ` +
    `${count(spans)} aligned spans of text, in ${count(tokens)} of the student’s tokens. KL, ` +
    'agreement and the teacher’s perplexity need one vocabulary: they are not measured.'
  );
}
