// Choosing the next token, against a formula that sorts everything and builds each share from its
// definition.

import { describe, expect, it } from 'vitest';
import type { Tokenizer } from '../../src/data/tokenizer';
import {
  candidates,
  chooseToken,
  likeliest,
  logProbabilities,
  SAMPLING,
  type Sampling,
} from '../../src/distill/sampling';
import { expectation, type Said, say } from '../../src/distill/say';
import * as reference from '../../src/reference';
import type { SaySettings } from '../../src/say-settings';
import { Random } from '../../src/tensor/random';

const logitsOf = (V: number, salt: number) => Float32Array.from(reference.numbers(V, salt, 4));

/**
 * Each token's probability under temperature, then top-k, then top-p: a token stays while those
 * before it have less than p of what top-k left.
 */
function slowly(logits: Float32Array, { temperature, top_k, top_p }: Sampling): number[] {
  const order = [...logits.keys()].sort((a, b) => logits[b] - logits[a] || a - b);
  const size = (id: number) => Math.exp((logits[id] - logits[order[0]]) / temperature);
  const sum = (ids: number[]) => ids.map(size).reduce((total, each) => total + each, 0);
  const topped = order.slice(0, top_k || Infinity);
  const least = top_p * sum(topped);
  const kept = topped.filter((_, rank) => rank === 0 || sum(topped.slice(0, rank)) < least);
  const total = sum(kept);
  return Array.from(logits, (_, id) => (kept.includes(id) ? size(id) / total : 0));
}

const SETTINGS: Sampling[] = [
  { temperature: 1, top_k: 0, top_p: 1 },
  { temperature: 0.8, top_k: 40, top_p: 1 },
  { temperature: 0.3, top_k: 5, top_p: 1 },
  { temperature: 2, top_k: 0, top_p: 0.9 },
  { temperature: 1, top_k: 12, top_p: 0.5 },
  { temperature: 1, top_k: 0, top_p: 1e-6 },
];

describe('the tokens that temperature, top-k and top-p leave', () => {
  it.each(SETTINGS)('are the formula’s, with its probabilities: %o', (sampling) => {
    // One vocabulary below the size at which all tokens are sorted, one above.
    for (const V of [57, 300]) {
      const logits = logitsOf(V, V);
      const { tokens, weights } = candidates(logits, sampling);
      const total = weights.reduce((a, b) => a + b);
      const got = Array(V).fill(0);
      for (const [i, token] of tokens.entries()) got[token] = weights[i] / total;
      // Sums of some hundred doubles.
      for (const [id, expected] of slowly(logits, sampling).entries())
        expect(got[id], `V=${V}, token ${id}`).toBeCloseTo(expected, 12);
    }
  });

  it('at temperature 0 are the likeliest alone, whatever the roll', () => {
    const logits = logitsOf(57, 1);
    for (const roll of [0, 0.5, 0.999])
      expect(chooseToken(logits, { temperature: 0, top_k: 0, top_p: 0.9 }, roll)).toBe(
        likeliest(logits, 1)[0],
      );
  });

  it('of equal logits have the lowest ids first, in both ways of sorting', () => {
    const equal = new Float32Array(300).fill(1);
    const first = Array.from({ length: 300 }, (_, id) => id);
    expect(likeliest(equal, 4)).toEqual(first.slice(0, 4));
    expect(likeliest(equal, 300)).toEqual(first);
    equal[7] = 2;
    expect(likeliest(equal, 3)).toEqual([7, 0, 1]);
    expect(candidates(equal, { temperature: 1, top_k: 3, top_p: 1 }).tokens).toEqual([7, 0, 1]);
  });
});

it('a roll chooses the token whose share it falls into', () => {
  const logits = logitsOf(131, 3);
  const { tokens, ends } = reference.tokenShares(logits, SAMPLING.top_k, SAMPLING.temperature);
  for (const [i, token] of tokens.entries()) {
    const middle = ((ends[i - 1] ?? 0) + ends[i]) / 2;
    expect(chooseToken(logits, SAMPLING, middle)).toBe(token);
  }
  expect(chooseToken(logits, SAMPLING, 0)).toBe(tokens[0]);
});

it('rolls choose tokens as often as the formula says', () => {
  const logits = logitsOf(20, 5);
  const sampling = { temperature: 1, top_k: 8, top_p: 0.9 };
  const random = new Random(1);
  const counts = Array(20).fill(0);
  const draws = 20_000;
  for (let i = 0; i < draws; i++) counts[chooseToken(logits, sampling, random.uniform())]++;
  // Four standard deviations of a share near one half: 4 · 0.5 / √20000 = 0.014.
  for (const [id, expected] of slowly(logits, sampling).entries())
    expect(Math.abs(counts[id] / draws - expected)).toBeLessThan(0.015);
});

it('log-probabilities sum to one, also of logits whose exponentials overflow', () => {
  const shifted = logitsOf(57, 2).map((logit) => logit + 1000);
  const sum = logProbabilities(shifted).reduce((total, lnp) => total + Math.exp(lnp), 0);
  expect(sum).toBeCloseTo(1, 12);
});

/** Letters are tokens; é is two of them, as bytes are in a real tokenizer. */
const ALPHABET = [...'abcdefgh.'];
const [HALF, OTHER_HALF] = [9, 10];
const tokenizer: Tokenizer = {
  vocabularySize: 11,
  spelling: { boundaries: () => undefined, spell: () => new Uint8Array() },
  endOfText: 8,
  encode: (text) => Uint32Array.from([...text], (letter) => Math.max(0, ALPHABET.indexOf(letter))),
  decode: (ids) =>
    Array.from(ids, (id) => ALPHABET[id] ?? String.fromCharCode(1000 + id))
      .join('')
      .replaceAll(String.fromCharCode(1000 + HALF, 1000 + OTHER_HALF), 'é')
      .replace(/[\u03f1\u03f2]/g, '\uFFFD'),
};

/** A model that surely says this after `prompt`. */
const sure = (prompt: string, answer: number[]) => async (tokens: Uint32Array) => {
  const logits = new Float32Array(11).fill(-30);
  logits[answer[tokens.length - prompt.length]] = 30;
  return logits;
};

async function all(answer: AsyncGenerator<Said>): Promise<Said[]> {
  const said: Said[] = [];
  for await (const token of answer) said.push(token);
  return said;
}

const ASKED: SaySettings = { ...SAMPLING, seed: 3, tokens: 5 };

describe('saying', () => {
  it('tells each token, what it adds to the text, and what came before it', async () => {
    const said = await all(say(sure('ab', [2, 3, 4, 5, 6]), tokenizer, 'ab', ASKED));
    expect(said.map(({ text }) => text)).toEqual(['c', 'd', 'e', 'f', 'g']);
    expect(said.map(({ before }) => before.length)).toEqual([2, 3, 4, 5, 6]);
  });

  it('holds half a character back until the other half comes', async () => {
    const said = await all(
      say(sure('ab', [HALF, OTHER_HALF, 2]), tokenizer, 'ab', { ...ASKED, tokens: 3 }),
    );
    expect(said.map(({ text }) => text)).toEqual(['', 'é', 'c']);
  });

  it('ends at the end-of-text token', async () => {
    const said = await all(say(sure('ab', [2, 8, 3]), tokenizer, 'ab', ASKED));
    expect(said.map(({ text }) => text)).toEqual(['c']);
  });

  it('asks no further when the caller stops', async () => {
    let asked = 0;
    const next = async () => {
      asked++;
      return new Float32Array(11);
    };
    for await (const _ of say(next, tokenizer, 'ab', ASKED)) break;
    expect(asked).toBe(1);
  });

  it('says the same for the same seed, and something else for another', async () => {
    const next = async (tokens: Uint32Array) => logitsOf(8, tokens.length);
    const text = async (seed: number) =>
      (await all(say(next, tokenizer, 'ab', { ...ASKED, seed, tokens: 20 })))
        .map((said) => said.text)
        .join('');
    expect(await text(1)).toBe(await text(1));
    expect(await text(1)).not.toBe(await text(2));
  });

  it('refuses logits that are not finite', async () => {
    const next = async () => Float32Array.of(0, Number.NaN);
    await expect(all(say(next, tokenizer, 'ab', ASKED))).rejects.toThrow(
      'the logit of token 1 is NaN after 2 tokens',
    );
  });
});

describe('what both models expected', () => {
  const [student, teacher] = [logitsOf(11, 1), logitsOf(11, 2)];
  const before = Uint32Array.of(0, 1);
  const told = expectation({ token: 4, before }, { student, teacher }, tokenizer);

  it('has the likeliest of either and what was said, with both probabilities', () => {
    const softmax = (logits: Float32Array) =>
      slowly(logits, { temperature: 1, top_k: 0, top_p: 1 });
    const [p, q] = [softmax(teacher), softmax(student)];
    expect(told.choices[told.said].text).toBe('e');
    for (const choice of told.choices.filter(({ text }) => ALPHABET.includes(text))) {
      const id = ALPHABET.indexOf(choice.text);
      expect(choice.student).toBeCloseTo(q[id], 12);
      expect(choice.teacher).toBeCloseTo(p[id], 12);
    }
    const sum = p.reduce((total, each, id) => total + each * Math.log(each / q[id]), 0);
    expect(told.kl).toBeCloseTo(sum, 12);
    const texts = told.choices.map(({ text }) => text);
    for (const id of [...likeliest(student, 5), ...likeliest(teacher, 5)])
      if (id < 9) expect(texts).toContain(ALPHABET[id]);
  });

  it('has no teacher’s part without a teacher', () => {
    const alone = expectation({ token: 4, before }, { student }, tokenizer);
    expect(alone).not.toHaveProperty('kl');
    expect(alone.choices[0]).not.toHaveProperty('teacher');
  });
});
