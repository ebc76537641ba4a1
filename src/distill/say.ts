// What a model says: a prompt, continued token by token, each told as soon as it is chosen; and
// what two models expected in a token's place. The page and the command line say alike: the same
// logits, settings and seed give the same tokens.

import type { Tokenizer } from '../data/tokenizer';
import type { SaySettings } from '../say-settings';
import { Random } from '../tensor/random';
import type { NextLogits } from './sample';
import { chooseToken, likeliest, logProbabilities } from './sampling';

export interface Said {
  token: number;
  /** What it adds to the text: nothing, while a character of several tokens is incomplete. */
  text: string;
  /** The tokens before it. */
  before: Uint32Array;
  /** (V), which it was chosen from. */
  logits: Float32Array;
}

/** Stands for bytes that are no whole character. */
const INCOMPLETE = /\uFFFD+$/;

/**
 * Continues a prompt by at most `tokens` tokens, or until the text ends. An evaluation with the
 * same seed draws the same random numbers. A caller that stops iterating stops the model.
 * @throws Error for logits that are not finite
 */
export async function* say(
  next: NextLogits,
  tokenizer: Tokenizer,
  prompt: string,
  { seed, tokens: most, ...sampling }: SaySettings,
): AsyncGenerator<Said> {
  const random = new Random(seed).fork('sample');
  const textOf = (tokens: ArrayLike<number>) => tokenizer.decode(tokens).replace(INCOMPLETE, '');
  // An empty prompt still needs a token to start from.
  let before = tokenizer.encode(prompt || '\n');
  let written = textOf(before);
  for (let i = 0; i < most; i++) {
    const logits = await next(before);
    const bad = logits.findIndex((logit) => Number.isNaN(logit) || logit === Infinity);
    if (bad >= 0) {
      throw new Error(
        `say: the logit of token ${bad} is ${logits[bad]} after ${before.length} tokens. ` +
          'The model’s weights or activations are not finite.',
      );
    }
    const token = chooseToken(logits, sampling, Math.fround(random.uniform()));
    if (token === tokenizer.endOfText) return;
    const after = Uint32Array.of(...before, token);
    const text = textOf(after);
    yield { token, text: text.slice(written.length), before, logits };
    [before, written] = [after, text];
  }
}

/** A token that a model might have said, and how likely it was: at temperature 1, of all tokens. */
export interface Choice {
  text: string;
  student: number;
  /** Undefined without a teacher. */
  teacher?: number;
}

/** What both models expected in the place of a token. */
export interface Expectation {
  /** The likeliest of either model and the token that was said, the likeliest first. */
  choices: Choice[];
  /** The place of the token that was said. */
  said: number;
  /** KL(teacher ‖ student) in nats; undefined without a teacher. */
  kl?: number;
}

/** A token of an answer. */
export interface SaidToken extends Expectation {
  author: 'student' | 'teacher';
  /** What it adds to the answer. */
  text: string;
}

/**
 * Student and teacher continue a prompt, one after the other, from the same random numbers. Each
 * token comes with what both models expected in its place.
 */
export async function* answers(
  voices: { student: NextLogits; teacher?: NextLogits },
  tokenizer: Tokenizer,
  prompt: string,
  settings: SaySettings,
): AsyncGenerator<SaidToken> {
  for (const author of ['student', 'teacher'] as const) {
    const [next, other] = [voices[author], voices[author === 'student' ? 'teacher' : 'student']];
    if (!next) continue;
    for await (const said of say(next, tokenizer, prompt, settings)) {
      const [own, others] = [said.logits, await other?.(said.before)];
      const logits =
        author === 'student'
          ? { student: own, teacher: others }
          : { student: others as Float32Array, teacher: own };
      yield { author, text: said.text, ...expectation(said, logits, tokenizer) };
    }
  }
}

/** So many of each model's likeliest tokens are told. */
const TOLD = 5;
/** A token's text may depend on those before it: a space at its start, half a character. */
const CONTEXT = 4;

/** @param logits (V) of each model after the same tokens */
export function expectation(
  { token, before }: Pick<Said, 'token' | 'before'>,
  logits: { student: Float32Array; teacher?: Float32Array },
  tokenizer: Tokenizer,
): Expectation {
  const student = logProbabilities(logits.student);
  const teacher = logits.teacher && logProbabilities(logits.teacher);
  const told = new Set([
    ...likeliest(logits.student, TOLD),
    ...(logits.teacher ? likeliest(logits.teacher, TOLD) : []),
    token,
  ]);
  const either = (id: number) => Math.max(student[id], teacher?.[id] ?? -Infinity);
  const ids = [...told].sort((a, b) => either(b) - either(a) || a - b);
  const context = [...before.subarray(-CONTEXT)];
  const start = tokenizer.decode(context).length;
  return {
    choices: ids.map((id) => ({
      text: tokenizer.decode([...context, id]).slice(start),
      student: Math.exp(student[id]),
      ...(teacher && { teacher: Math.exp(teacher[id]) }),
    })),
    said: ids.indexOf(token),
    ...(teacher && {
      kl: teacher.reduce((sum, lnp, id) => sum + Math.exp(lnp) * (lnp - student[id] || 0), 0),
    }),
  };
}
