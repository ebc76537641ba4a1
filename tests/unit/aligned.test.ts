// One text in the tokens of two tokenizers: which groups of tokens spell the same bytes, and which
// of them a batch's rows predict.

import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Aligned,
  align,
  alignedPart,
  alignedBatch as batchFor,
  type Groups,
  NO_GROUP,
} from '../../src/data/aligned';
import { Batches, IGNORED_TARGET } from '../../src/data/batches';
import type { ChatMessage } from '../../src/data/chat';
import { encodeAligned, splitDocuments } from '../../src/data/split';
import { loadTokenizer, makeTokenizer, type Tokenizer } from '../../src/data/tokenizer';
import { readGoldenJson } from '../safetensors-fixture';

interface Goldens {
  tokenizers: Record<string, { json: Record<string, unknown>; config: object }>;
  chats: { tokenizer: string; template: string; marked: string; messages: ChatMessage[] }[];
}
const { tokenizers, chats } = readGoldenJson<Goldens>('chat.json');
const made = (name: string, changes: object = {}): Tokenizer =>
  makeTokenizer({ ...tokenizers[name].json, ...changes }, tokenizers[name].config);
const moby = await loadTokenizer('public/models/moby-teacher', {
  read: (path) => readFile(path, 'utf8'),
});
const all: Record<string, Tokenizer> = { moby };
for (const name of Object.keys(tokenizers)) all[name] = made(name);
const names = Object.keys(all);

const bytesOf = (text: string) => new TextEncoder().encode(text);
const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

function alignedText(text: string, student: Tokenizer, teacher: Tokenizer) {
  const [ids, others] = [student.encode(text), teacher.encode(text)];
  const [s, t] = [
    student.spelling.boundaries(text, ids),
    teacher.spelling.boundaries(text, others),
  ];
  if (!s || !t) throw new Error(`Not spelt: ${JSON.stringify(text)}`);
  return { ids, others, s, t, groups: align(s, t) };
}

/** What is between the ends of groups: "student’s tokens | teacher’s tokens". */
function partsOf({ student, teacher }: Groups): string[] {
  return Array.from(student, (end, g) => {
    const [from, fromT] = [student[g - 1] ?? 0, teacher[g - 1] ?? 0];
    return `${from}-${end} ${fromT}-${teacher[g]}`;
  });
}

function expectPartition({ student, teacher, compared }: Groups, n: number, m: number) {
  expect([student.length, teacher.length]).toEqual([compared.length, compared.length]);
  for (const [ends, count] of [
    [student, n],
    [teacher, m],
  ] as const) {
    expect(ends.at(-1) ?? 0).toBe(count);
    for (let g = 1; g < ends.length; g++) expect(ends[g]).toBeGreaterThanOrEqual(ends[g - 1]);
  }
}

describe('alignment', () => {
  test('a group ends at each byte at which both have a boundary', () => {
    //                 ab c d e    a b cd e
    const groups = align([0, 2, 3, 4, 5], [0, 1, 2, 4, 5]);
    expect(partsOf(groups)).toEqual(['0-1 0-2', '1-3 2-3', '3-4 3-4']);
    expect([...groups.compared]).toEqual([1, 1, 1]);
  });

  test('a token without bytes belongs to the group before it', () => {
    expect(partsOf(align([0, 2, 2, 3], [0, 2, 3]))).toEqual(['0-2 0-1', '2-3 1-2']);
    expect(partsOf(align([0, 0, 2], [0, 2]))).toEqual(['0-2 0-1']);
    expect(partsOf(align([0, 2, 2], [0, 2]))).toEqual(['0-2 0-1']);
  });

  test('white space that a tokenizer leaves out at the end is in the last group', () => {
    expect(partsOf(align([0, 3, 5], [0, 3, 6, 7]))).toEqual(['0-1 0-1', '1-2 1-3']);
  });

  test('without tokens on one side nothing is compared', () => {
    expect([...align([0], [0, 1]).compared]).toEqual([0]);
    expect(align([0], [0]).compared).toHaveLength(0);
  });

  test('any two tokenizers: groups partition both, and spell the same bytes', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 24 });
    const word = fc.constantFrom(
      ' the',
      'whale ',
      'é',
      'e\u0301',
      '한',
      '🐳',
      '\n',
      '  ',
      '𝒳',
      '1',
    );
    const texts = fc.oneof(
      text,
      fc.array(word, { maxLength: 20 }).map((words) => words.join('')),
    );
    const name = fc.constantFrom(...names);
    fc.assert(
      fc.property(texts, name, name, (text, one, other) => {
        // A tokenizer without byte fallback cannot spell all of Unicode.
        const spelt = [one, other].every((name) => {
          const tokenizer = all[name];
          return tokenizer.spelling.boundaries(text, tokenizer.encode(text));
        });
        if (!spelt) return;
        const { ids, others, s, t, groups } = alignedText(text, all[one], all[other]);
        expectPartition(groups, ids.length, others.length);
        for (let g = 0; g + 1 < groups.compared.length; g++)
          expect(s[groups.student[g]]).toBe(t[groups.teacher[g]]);
        if (one === other) expect([...groups.student]).toEqual([...groups.teacher]);
      }),
      { numRuns: 300 },
    );
  });

  test('a character that is cut in two by one of them is one group', () => {
    const bytes = Object.keys(all).find((name) => all[name].encode('🐳').length === 4);
    const { groups, ids } = alignedText('a🐳b', all[bytes!], moby);
    expect(ids.length).toBeGreaterThanOrEqual(6);
    // Whatever the tokens are, no group ends inside a token of either.
    const text = bytesOf('a🐳b');
    expect(textOf(text.subarray(1, 5))).toBe('🐳');
    expectPartition(groups, ids.length, moby.encode('a🐳b').length);
  });

  test('an added token in the text is as long as its text', () => {
    const text = 'a<|endoftext|>b';
    const { ids, s } = alignedText(text, moby, moby);
    expect([...ids].filter((id) => id === moby.endOfText)).toHaveLength(1);
    const at = [...ids].indexOf(moby.endOfText!);
    expect([s[at], s[at + 1]]).toEqual([1, 14]);
  });

  test('places are those of the text as it was written, whatever a normaliser does to it', () => {
    const name = names.find((one) =>
      JSON.stringify(tokenizers[one]?.json ?? '').includes('"NFC"'),
    )!;
    const tokenizer = all[name];
    // e and an accent, three bytes, become one character of two.
    const text = 'cafe\u0301 au';
    const s = tokenizer.spelling.boundaries(text, tokenizer.encode(text))!;
    expect(s.at(-1)).toBe(bytesOf(text).length);
    const { groups } = alignedText(text, tokenizer, moby);
    expect(groups.compared.length).toBeGreaterThan(2);
    const hangul = '\u1112\u1161\u11ab';
    expect(tokenizer.spelling.boundaries(hangul, tokenizer.encode(hangul))!.at(-1)).toBe(9);
  });
});

const WORDS = 'The whale, the white whale 🐳 swam away from café to café.';
const student = names.find((name) => name !== 'moby' && all[name].encode(WORDS).length > 0)!;

describe('documents', () => {
  test('each is the student’s tokens, and the teacher’s beside them', () => {
    const [document] = encodeAligned([[WORDS, 'Yes.'], ['No.']], all[student], moby);
    const aligned = document.aligned!;
    expectPartition(aligned.groups, document.ids.length, aligned.ids.length);
    expect(moby.decode(aligned.ids)).toBe(`${WORDS}<|endoftext|>Yes.<|endoftext|>`);
    // The end-of-text tokens of both are a group that is not compared.
    const ends = [...aligned.groups.compared].filter((compared) => compared === 0);
    expect(ends).toHaveLength(2);
  });

  test('the parts of a cut text have the groups that are whole in them', () => {
    const [{ ids, aligned }] = encodeAligned([[WORDS]], moby, all[student]);
    const whole = aligned as Aligned;
    for (let cut = 0; cut <= ids.length; cut++) {
      const [left, right] = [alignedPart(whole, 0, cut), alignedPart(whole, cut, ids.length)];
      expectPartition(left.groups, cut, left.ids.length);
      expectPartition(right.groups, ids.length - cut, right.ids.length);
      expect([...left.ids, ...right.ids]).toEqual([...whole.ids]);
      const lost = whole.groups.student.includes(cut) || cut === 0 ? 0 : 1;
      const sum = (groups: Groups) => groups.compared.reduce((total, one) => total + one, 0);
      expect(sum(left.groups) + sum(right.groups)).toBe(sum(whole.groups) - lost);
    }
  });
});

describe('conversations', () => {
  const templateOf = (words: string) => chats.find(({ template }) => template.includes(words))!;
  const [TURNS, BRACKETS, THOUGHTS] = ['trim', 'ASK', 'think'].map(templateOf);
  const speaking = (name: string, chat_template: string) =>
    makeTokenizer(tokenizers[name].json, { ...tokenizers[name].config, chat_template });
  const spelt = (tokenizer: Tokenizer, ids: Uint32Array) =>
    textOf(Uint8Array.from([...ids].flatMap((id) => [...tokenizer.spelling.spell(id)])));

  test.each([
    ['smollm2', 'gpt2', TURNS.template, BRACKETS.template],
    ['smollm2', 'llama2', TURNS.marked, BRACKETS.marked],
    ['mistral', 'qwen', BRACKETS.template, THOUGHTS.template],
    ['qwen', 'mistral', THOUGHTS.marked, TURNS.template],
  ])('%s beside %s, in two templates: what both say is compared', (one, two, ...templates) => {
    const [mine, other] = [speaking(one, templates[0]), speaking(two, templates[1])];
    for (const { messages } of chats.filter((_, i) => i % 4 === 0)) {
      // Some templates know no role but these.
      const known = messages.filter(({ role }) => role !== 'system');
      const [{ ids, learned, aligned }] = encodeAligned([{ messages: known }], mine, other);
      const groups = aligned!.groups;
      expectPartition(groups, ids.length, aligned!.ids.length);
      let said = '';
      for (const [g, compared] of groups.compared.entries()) {
        if (compared === 0) continue;
        const [from, to] = [groups.student[g - 1] ?? 0, groups.student[g]];
        expect(learned!.subarray(from, to)).not.toContain(0);
        const text = spelt(mine, ids.subarray(from, to)).normalize('NFC');
        const [fromT, toT] = [groups.teacher[g - 1] ?? 0, groups.teacher[g]];
        const others = spelt(other, aligned!.ids.subarray(fromT, toT)).normalize('NFC');
        expect(text.trimStart()).toBe(others.trimStart());
        said += text;
      }
      const contents = known.filter(({ role }) => role === 'assistant');
      const words = (text: string) => text.normalize('NFC').replaceAll(/\s/g, '');
      // All of it but what a token spells together with what the template writes after it.
      const all = words(contents.map(({ content }) => content).join(''));
      expect(words(said).length).toBeGreaterThan(0.9 * all.length);
      expect([...words(said)].every((character) => all.includes(character))).toBe(true);
    }
  });

  test('messages like the template’s own words, like one another and empty ones', () => {
    const contents = ['assistant', 'user', 'user', 'assistant', 'user', '  ', ' user', 'a user'];
    const messages = contents.map((content, i) => ({
      role: i % 2 === 0 ? 'user' : 'assistant',
      content,
    }));
    const [mine, other] = [
      speaking('smollm2', TURNS.template),
      speaking('gpt2', BRACKETS.template),
    ];
    const [{ ids, aligned }] = encodeAligned([{ messages }], mine, other);
    const { groups } = aligned!;
    expectPartition(groups, ids.length, aligned!.ids.length);
    const said = partsOf(groups).flatMap((part, g) => {
      const [from, to] = part.split(' ')[0].split('-').map(Number);
      return groups.compared[g] === 1 ? [spelt(mine, ids.slice(from, to))] : [];
    });
    expect(said.join('').replaceAll(' ', '')).toBe('userassistantauser');
  });

  test('without assistant_only_loss all is learned, and as much compared', () => {
    const { messages } = templateOf('ASK');
    const [mine, other] = [
      speaking('smollm2', TURNS.template),
      speaking('gpt2', BRACKETS.template),
    ];
    const [only] = encodeAligned([{ messages }], mine, other);
    const [whole] = encodeAligned([{ messages }], mine, other, false);
    expect(whole).toEqual({ ids: only.ids, aligned: only.aligned });
  });

  test('a model without a chat template is named', () => {
    const messages = [{ role: 'assistant', content: 'Hi' }];
    const chat = speaking('smollm2', TURNS.template);
    expect(() => encodeAligned([{ messages }], moby, chat)).toThrow(/^The student has no chat/);
    expect(() => encodeAligned([{ messages }], chat, moby)).toThrow(/^The teacher has no chat/);
  });
});

describe('batches', () => {
  const T = 8;
  const text = Array.from({ length: 40 }, (_, i) => `${WORDS.slice(0, 10 + i)} ${i}. `).join('');

  test('a group’s rows predict the same text in both, within both contexts', () => {
    const documents = encodeAligned([[text]], all[student], moby);
    const { train } = splitDocuments(documents, { contextLength: T, random: () => 0.5 });
    const batches = new Batches({
      tokens: train.ids,
      aligned: train.aligned,
      batchSize: 3,
      contextLength: T,
      randomOf: () => () => 0.3,
    });
    let compared = 0;
    for (let index = 0; index < 5; index++) {
      const batch = batches.at(index);
      const { inputs, targets, spans, groups } = batchFor(batch);
      expect(inputs).toHaveLength(3 * T);
      const seen = new Set<number>();
      for (let row = 0; row < 3 * T; row++) {
        const [first, last, from, to] = spans.subarray(4 * row, 4 * row + 4);
        if (first === NO_GROUP) continue;
        expect(row).toBeGreaterThanOrEqual(first);
        expect(row).toBeLessThanOrEqual(last);
        expect(Math.floor(first / T)).toBe(Math.floor(to / T));
        seen.add(first);
        const bytes = (tokenizer: Tokenizer, ids: Int32Array) =>
          textOf(Uint8Array.from([...ids].flatMap((id) => [...tokenizer.spelling.spell(id)])));
        expect(bytes(moby, targets.subarray(from, to + 1))).toBe(
          bytes(all[student], batch.targets.subarray(first, last + 1)),
        );
      }
      expect(seen.size).toBe(groups);
      compared += groups;
    }
    expect(compared).toBeGreaterThan(30);
  });

  test('masked, the teacher’s documents begin where the student’s do', () => {
    const texts = Array.from({ length: 60 }, (_, i) => [WORDS.slice(0, 4 + ((7 * i) % 30))]);
    const documents = encodeAligned(texts, all[student], moby);
    const { train } = splitDocuments(documents, { contextLength: T, random: () => 0.5 });
    const batches = new Batches({
      tokens: train.ids,
      aligned: train.aligned,
      documents: { begin: train.documents, rows: 'masked' },
      batchSize: 3,
      contextLength: T,
      randomOf: () => () => 0.3,
    });
    let [compared, begun] = [0, 0];
    for (let index = 0; index < 8; index++) {
      const batch = batches.at(index);
      const { inputs, documents: spans = [], spans: rows, groups } = batchFor(batch);
      for (let at = 0; at < 3 * T; at++) {
        const start = at - (at % T);
        const [own, end] = [spans[2 * at], spans[2 * at + 1]];
        expect(own <= at - start && at - start < end && end <= T).toBe(true);
        // A document ends with the end of its text, and has no other.
        const isEnd = inputs[at] === moby.endOfText;
        if (end < T) expect(isEnd).toBe(at - start === end - 1);
        if (own === at - start && own > 0) begun++;
        if (rows[4 * at] === NO_GROUP) continue;
        // What is compared is predicted inside a document, in both.
        const of = (row: number, side: ArrayLike<number>) => side[2 * row];
        const [first, last, from, to] = rows.subarray(4 * at, 4 * at + 4);
        expect(of(first, batch.documents!)).toBe(of(last, batch.documents!));
        expect(of(from, spans)).toBe(of(to, spans));
      }
      compared += groups;
    }
    expect(compared).toBeGreaterThan(30);
    expect(begun).toBeGreaterThan(10);
  });

  test('with one vocabulary, each target is a group', () => {
    const inputs = Uint32Array.of(4, 5, 6);
    const targets = Int32Array.of(5, IGNORED_TARGET, 7);
    const { spans, groups, ...batch } = batchFor({ index: 2, inputs, targets });
    expect(batch).toEqual({ index: 2, inputs, targets });
    expect(groups).toBe(2);
    expect([...spans]).toEqual([0, 0, 0, 0, ...Array(4).fill(NO_GROUP), 2, 2, 2, 2]);
  });
});
