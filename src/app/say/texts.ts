// Tokens and probabilities as the box writes them.

import type { RunReport } from '../../worker/protocol';

/** A token as it can be seen: line ends as a sign, and something where there is nothing to see. */
export function visible(text: string): string {
  return text.replaceAll('\n', '↵').replaceAll('\t', '⇥') || '…';
}

/** A token alone: its spaces count, too. */
export const quoted = (text: string) => visible(text).replaceAll(' ', '␣');

/** 0 to 1 as a percentage of two or three figures. */
export function percent(probability: number): string {
  if (probability > 0 && probability < 0.001) return '<0.1%';
  return `${(100 * probability).toFixed(probability < 0.0995 ? 1 : 0)}%`;
}

/** Whether only the student of a run can be asked. */
export const answersAlone = (report: RunReport | undefined): boolean =>
  report?.cache !== undefined || report?.otherVocabulary === true;
