// Conversations: the tokens, and which of them the assistant says, as transformers has them, for
// small tokenizers of the kinds that today's families use. fixtures/goldens/make_chat.py made them.

import { describe, expect, test } from 'vitest';
import { DEFAULTS } from '../../src/config';
import { type Batch, IGNORED_TARGET } from '../../src/data/batches';
import { type ChatMessage, chatTemplate } from '../../src/data/chat';
import { CorpusError } from '../../src/data/corpus';
import { readDocuments } from '../../src/data/documents';
import { encodeDocuments } from '../../src/data/split';
import { makeTokenizer } from '../../src/data/tokenizer';
import { prepareData, previewData } from '../../src/distill/data';
import { readGoldenJson } from '../safetensors-fixture';

interface Chat {
  tokenizer: string;
  template: string;
  /** The same with {% generation %}. */
  marked: string;
  messages: ChatMessage[];
  text: string;
  ids: number[];
  said: number[];
}
interface Goldens {
  tokenizers: Record<string, { json: unknown; config: Record<string, unknown> }>;
  long: { tokenizer: string; text: string; repeat: number; tokens: number; last: number[] }[];
  texts: { tokenizer: string; text: string; ids: number[] }[];
  chats: Chat[];
}
const goldens = readGoldenJson<Goldens>('chat.json');

function tokenizerOf(name: string, template?: string) {
  const { json, config } = goldens.tokenizers[name];
  return makeTokenizer(json, { ...config, chat_template: template });
}

const refusal = (action: () => unknown): string => {
  try {
    action();
  } catch (error) {
    if (error instanceof CorpusError) return `${error.message} ${error.hint}`;
    throw error;
  }
  return 'not refused';
};

describe.each(Object.keys(goldens.tokenizers))('%s', (name) => {
  const tokenizer = tokenizerOf(name);
  const chats = goldens.chats.filter((chat) => chat.tokenizer === name);

  test('texts have the tokens that transformers gives them', () => {
    const texts = goldens.texts.filter((text) => text.tokenizer === name);
    expect(texts.length).toBeGreaterThan(5);
    for (const { text, ids } of texts) expect([...tokenizer.encode(text)]).toEqual(ids);
  });

  test('so has a text that is long enough to be encoded in chunks', () => {
    const { text, repeat, tokens, last } = goldens.long.find((one) => one.tokenizer === name)!;
    expect(text.length * repeat).toBeGreaterThan(2 * 16_384);
    const ids = tokenizer.encode(text.repeat(repeat));
    expect([ids.length, ...ids.slice(-last.length)]).toEqual([tokens, ...last]);
  });

  test.each(['template', 'marked'] as const)('a conversation’s %s gives the same', (kind) => {
    for (const { messages, ids, said, [kind]: template } of chats) {
      const encoded = tokenizerOf(name, template).chat!(messages);
      expect([...encoded.ids]).toEqual(ids);
      expect([...encoded.learned]).toEqual(said);
    }
  });
});

const chat = (name: string, words: string): Chat =>
  goldens.chats.find((one) => one.tokenizer === name && one.template.includes(words))!;
const user = (content: string): ChatMessage => ({ role: 'user', content });
const assistant = (content: string): ChatMessage => ({ role: 'assistant', content });

describe('a template', () => {
  const TURNS = chat('qwen', 'im_end').template;

  test('says where each turn of the assistant is, without the line break after it', () => {
    const { text, said } = chatTemplate(
      TURNS,
      {},
    )([user('Hello?'), assistant('A whale.'), user('Where?'), assistant('There.')]);
    const answers = said.map(([from, to]) => text.slice(from, to));
    expect(answers).toEqual(['A whale.<|im_end|>', 'There.<|im_end|>']);
  });

  test('writes the same date on every day', () => {
    const dated = "{{ strftime_now('%d %b %Y') }} {{ date_string }}";
    const render = chatTemplate(`${dated}{% generation %}x{% endgeneration %}`, {});
    expect(render([assistant('x')]).text).toBe('26 Jul 2024 26 Jul 2024x');
  });

  test('marked text has the white space of any block: none', () => {
    const source = 'a\n  {% generation %}\nb\n  {% endgeneration %}\nc';
    const { text, said } = chatTemplate(source, {})([assistant('b')]);
    expect([text, said]).toEqual(['a\nb\nc', [[2, 4]]]);
  });

  test('refuses roles in its own words', () => {
    const { template } = chat('qwen', 'ASK');
    const render = chatTemplate(template, { bos_token: '<s>', eos_token: '</s>' });
    expect(
      refusal(() => render([{ role: 'system', content: 'Be brief.' }, assistant('Yes.')])),
    ).toBe(
      'The chat template refuses a conversation of system, assistant: Only the roles ' +
        'user and assistant are known. Correct the roles in the data, or read the data as ' +
        'dialogues.',
    );
    expect(refusal(() => render([assistant('Yes.')]))).toMatch(/take turns/);
  });

  test('needs a turn of the assistant, and one that it writes', () => {
    const render = chatTemplate(TURNS, {});
    expect(refusal(() => render([user('Hello?')]))).toMatch(
      /^A conversation has no turn of the assistant \(user: “Hello\?”\)\./,
    );
    const silent = chatTemplate('Hello', {});
    expect(refusal(() => silent([assistant('Yes.')]))).toMatch(
      /nothing of what the assistant says/,
    );
  });

  test.each([
    [
      'a loop in a loop',
      '{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}',
    ],
    ['an endless range', '{% for a in range(999999999999) %}x{% endfor %}'],
    ['a range of no number', '{% for a in range(messages) %}x{% endfor %}{{ range(999999999) }}'],
    ['a text that doubles', `{% set a = 'aaaa' %}${'{% set a = a + a %}'.repeat(99)}{{ a }}`],
  ])('that never ends is given up: %s', (_, source) => {
    const render = chatTemplate(source, {});
    expect(refusal(() => render([assistant('Yes.')]))).toMatch(
      /^The chat template has not ended after 202,000 operations/,
    );
  });

  test('may be long, and write long conversations; not without end', () => {
    const long = Array.from({ length: 200 }, (_, i) =>
      (i % 2 ? assistant : user)('word '.repeat(99)),
    );
    expect(chatTemplate(TURNS, {})(long).said).toHaveLength(100);
    const spaces = ' '.repeat(150_000);
    expect(
      chatTemplate(`${spaces}{%- generation %}x{% endgeneration %}`, {})([assistant('x')]),
    ).toEqual({ text: 'x', said: [[0, 1]] });
    expect(refusal(() => chatTemplate(spaces + spaces, {}))).toMatch(
      'it has 300000 characters, and at most 200000 are read.',
    );
  });

  test('that rewrites earlier turns is refused, since its answers cannot be found', () => {
    const forgets =
      "{{ messages | length }}{% for m in messages %}{{ m.content + '|' }}{% endfor %}";
    const two = [user('a'), assistant('b'), user('c'), assistant('d')];
    expect(refusal(() => chatTemplate(forgets, {})(two))).toMatch(/writes turn 2 in another way/);
  });

  test('that cannot be read is refused', () => {
    expect(refusal(() => chatTemplate('{% if %}', {}))).toMatch(
      /^The chat template cannot be read: /,
    );
  });
});

describe('conversations in files', () => {
  const read = (name: string, text: string, columns = ['messages']) =>
    readDocuments({ name, bytes: new TextEncoder().encode(text) }, { format: 'chat', columns });
  const line = (value: unknown) => `${JSON.stringify(value)}\n`;

  test('are lists of messages in .jsonl, with all their fields', () => {
    const messages = [{ ...user('Hi'), name: 'Ann' }, assistant('Hello')];
    expect(read('a.jsonl', line({ id: 1, messages })).documents).toEqual([{ messages }]);
  });

  test('or a question and its answer in .csv', () => {
    const { documents } = read('a.csv', 'q,a\nWho?,Me\nWhere?,Here\n', ['q', 'a']);
    expect(documents).toEqual([
      { messages: [user('Who?'), assistant('Me')] },
      { messages: [user('Where?'), assistant('Here')] },
    ]);
  });

  test.each([
    [{ messages: 'Hello' }, '“messages” is the text “Hello”; expected a list of messages'],
    [{ messages: [] }, '“messages” is a list, []; expected a list of messages'],
    [{ messages: [{ from: 'human', value: 'Hi' }] }, '“messages” has a message 1 with no role'],
    [
      { messages: [user('Hi'), { role: 'assistant', content: null }] },
      '“messages” has a message 2 with the content null',
    ],
  ])('%j is refused with its line', (row, words) => {
    const message = refusal(() => read('a.jsonl', line({ messages: [user('x')] }) + line(row)));
    expect(message).toContain(`Line 2: ${words}`);
  });

  test('a .txt has no roles', () => {
    expect(refusal(() => read('a.txt', 'Hello'))).toMatch(/^a\.txt: a \.txt has no roles/);
  });
});

describe('a run on conversations', () => {
  const { template } = chat('qwen', 'im_end');
  const tokenizer = tokenizerOf('qwen', template);
  const documents = Array.from({ length: 60 }, (_, i) => ({
    messages: [user(`Where is the harbour ${i}?`), assistant(`By the lantern, ${i} steps away.`)],
  }));
  const config = { ...DEFAULTS, batch_size: 2, max_length: 32 };

  test('targets what the assistant says, and the preview marks it', () => {
    const encoded = encodeDocuments(documents, tokenizer);
    const { batches, heldOut, learnedShare } = prepareData(encoded, config);
    // A window may begin and end within an answer.
    const spoken = ({ targets }: Batch): string[] =>
      [0, 1].flatMap((row) => {
        const runs: number[][] = [[]];
        for (const id of targets.subarray(row * 32, (row + 1) * 32)) {
          if (id !== IGNORED_TARGET) runs.at(-1)?.push(id);
          else if (runs.at(-1)!.length > 0) runs.push([]);
        }
        return runs.filter((ids) => ids.length > 0).map((ids) => tokenizer.decode(ids));
      });
    const answer = 'By the lantern, # steps away.<|im_end|>';
    for (const batch of [batches.at(0), batches.at(5), ...heldOut]) {
      expect(spoken(batch).length).toBeGreaterThan(1);
      for (const text of spoken(batch)) expect(answer).toContain(text.replace(/\d+/, '#'));
    }
    const preview = previewData(encoded, config, tokenizer);
    expect(preview.learnedShare).toBe(learnedShare);
    const { inputs, targets } = batches.at(0);
    for (const [row, parts] of preview.rows.entries()) {
      const at = row * 32;
      expect(parts.map(({ text }) => text).join('')).toBe(
        tokenizer.decode(inputs.subarray(at, at + 32)),
      );
      const said = [...inputs.subarray(at + 1, at + 32)].filter(
        (_, i) => targets[at + i] !== IGNORED_TARGET,
      );
      const marked = parts.filter((part) => part.learned).map(({ text }) => text);
      expect(marked.join('')).toBe(tokenizer.decode(said));
    }
  });

  test('counts every token with assistant_only_loss=off, and needs a template', () => {
    const all = encodeDocuments(documents, tokenizer, false);
    expect(all.every(({ learned }) => learned === undefined)).toBe(true);
    expect(all[0].ids).toEqual(encodeDocuments(documents, tokenizer)[0].ids);
    expect(prepareData(all, config).learnedShare).toBeUndefined();
    expect(refusal(() => encodeDocuments(documents, tokenizerOf('qwen')))).toMatch(
      /^The teacher has no chat template/,
    );
  });

  test('unpacked, each row begins with a conversation, and the preview shows it alone', () => {
    const alone = { ...config, packing: 'off', max_length: 128 } as const;
    const preview = previewData(encodeDocuments(documents, tokenizer), alone, tokenizer);
    expect(preview.filledShare).toBeLessThan(0.6);
    for (const parts of preview.rows) {
      const text = parts.map((part) => part.text).join('');
      expect(text).toMatch(/^<\|im_start\|>user\nWhere is [^?]*\?<\|im_end\|>\n/);
      expect(text).toMatch(/steps away\.<\|im_end\|>$/);
      expect(parts.filter((part) => part.learned).length).toBe(1);
    }
  });

  test('takes the template of a list that is named default', () => {
    const { json, config } = goldens.tokenizers.qwen;
    const templates = [
      { name: 'tool_use', template: 'no' },
      { name: 'default', template },
    ];
    const listed = makeTokenizer(json, { ...config, chat_template: templates });
    const { messages } = documents[0];
    expect(listed.chat!(messages).ids).toEqual(tokenizer.chat!(messages).ids);
  });
});
