// Whether a checkpoint serves a run that is about to go on from it.

import { CheckpointError, type RunFacts } from './checkpoint';
import { differentTeacher } from './identity';

/**
 * @param say is told why the run goes on with other bits
 * @throws CheckpointError that says in what the checkpoint does not fit
 */
export function requireSame(before: RunFacts, now: RunFacts, say: (text: string) => void): void {
  const { refused, bits } = compareFacts(before, now);
  if (refused.length > 0) {
    throw new CheckpointError(
      'misfit',
      `The checkpoint does not fit: ${refused.join(', and ')}. ` +
        'Restore what changed, or start a new run.',
    );
  }
  if (bits.length > 0) {
    say(
      `The checkpoint was made ${bits.join(' and ')}. The run continues, but with different bits.`,
    );
  }
}

/**
 * Whether a checkpoint serves this run: `refused` says in what it does not fit, `bits` why the run
 * continues but with other bits. Half sentences, without an end.
 */
function compareFacts(before: RunFacts, now: RunFacts): { refused: string[]; bits: string[] } {
  const refused: string[] = [];
  if (before.data !== now.data) refused.push('the data or the tokenizer changed');
  const sizes = differentKeys(before.student, now.student).map(
    ([key, a, b]) => `${key} is ${b}, but ${a} in the checkpoint`,
  );
  if (sizes.length > 0) refused.push(`the student’s sizes changed: ${sizes.join('; ')}`);
  const teacher = differentTeacher(before.models, now.models);
  if (teacher) refused.push(teacher);
  const bits: string[] = [];
  if (before.adapter !== now.adapter || before.dtype !== now.dtype)
    bits.push(`on ${before.adapter} in ${before.dtype}`);
  if (before.engine !== undefined && before.engine !== now.engine)
    bits.push(`with the teacher in ${before.engine}`);
  return { refused, bits };
}

function differentKeys(a: object, b: object): [string, string, string][] {
  const [first, second] = [a, b] as Record<string, unknown>[];
  return [...new Set([...Object.keys(first), ...Object.keys(second)])]
    .map((key): [string, string, string] => [
      key,
      JSON.stringify(first[key]) ?? 'unset',
      JSON.stringify(second[key]) ?? 'unset',
    ])
    .filter(([, before, now]) => before !== now);
}
