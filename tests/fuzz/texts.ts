// Texts of users, and the templates that a teacher writes conversations with.

import fc from 'fast-check';
import { type ChatMessage, chatTemplate } from '../../src/data/chat';
import { CorpusError } from '../../src/data/corpus';
import { type Reading, readDocuments } from '../../src/data/documents';
import { bytesLike, textLike } from './mutate';
import { type Attack, encode, known, Misread } from './run';

const readings: Reading[] = [
  { format: 'text', columns: ['text'] },
  { format: 'dialogue', columns: ['text'] },
  { format: 'dialogue', columns: ['text', 'reply'] },
  { format: 'dialogue', columns: ['text'], dialogueId: 'id' },
];
const TABLES = {
  txt: 'Hi.\nWho?\n\nCall me Ishmael.\n',
  csv: 'id,text,reply\n1,"a ""b""\nc",d\n2,e,f\n',
  jsonl: '{"id": 1, "text": "a", "reply": ["b", "c"]}\n{"id": 2, "text": "d", "reply": "e"}\n',
};
const documents = (Object.keys(TABLES) as (keyof typeof TABLES)[]).map((kind) =>
  known({
    name: `.${kind}`,
    inputs: fc.record({
      bytes: fc.oneof(
        textLike(TABLES[kind], ['"', ',', '\n', '\r', '""', '{}', '[', ']', ':', ' ', 'text']).map(
          encode,
        ),
        bytesLike(encode(TABLES[kind])),
      ),
      reading: fc.constantFrom(...readings),
    }),
    read({ bytes, reading }) {
      const read = readDocuments({ name: `a.${kind}`, bytes }, reading);
      const isText = (turn: unknown) => typeof turn === 'string' && turn.trim() !== '';
      const turns = read.documents.filter((document) => Array.isArray(document));
      if (!turns.every((each) => each.length > 0 && each.every(isText)))
        throw new Misread('a document that is no text');
    },
    errors: [CorpusError],
    says: new RegExp(`^a\\.${kind}`),
  }),
);

const TEMPLATE =
  "{{ bos_token }}{% for m in messages %}{{ '<|' + m['role'] + '|>' + m.content | trim }}" +
  "{% if m.role != 'user' %}{{ eos_token }}{% endif %}\n{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";
const MARKED =
  "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}" +
  "{{ eos_token }}{% endgeneration %}{% else %}{{ raise_exception('No ' + m.role) if m.role == " +
  "'system' else m.content }}{% endif %}{% endfor %}";
const PIECES = [
  ...['{%', '%}', '{{', '}}', '|', '(', ')', '.', '[-1:0:2]', ' * ', ' + ', '~', 'messages'],
  ...['{% for a in range(99999999) %}', '{% endfor %}', '{% macro f() %}', '{% endmacro %}'],
  ...['{{ f() }}', '{% set x = messages %}', '| tojson', '| join', '| length', 'namespace()'],
  ...['m.constructor', "m['__proto__']", 'raise_exception(messages)', '{% generation %}', "'"],
];
const CONVERSATIONS: ChatMessage[][] = [
  [
    { role: 'user', content: 'Who?' },
    { role: 'assistant', content: ' Me.\n' },
    { role: 'user', content: 'Où? 🐋' },
    { role: 'assistant', content: '<|user|>' },
  ],
  [
    { role: 'system', content: 'Be\u202e brief.' },
    { role: 'assistant', content: 'x'.repeat(5000) },
  ],
];
const templates = known({
  name: 'chat template',
  inputs: fc.record({
    source: fc.oneof(...[TEMPLATE, MARKED].map((valid) => textLike(valid, PIECES))),
    messages: fc.constantFrom(...CONVERSATIONS),
  }),
  read({ source, messages }) {
    const render = chatTemplate(source, { bos_token: '<s>', eos_token: '</s>' });
    const { text, said } = render(messages);
    let before = 0;
    for (const [from, to] of said) {
      if (!(from >= before && to > from && to <= text.length)) throw new Misread('a turn');
      before = to;
    }
  },
  errors: [CorpusError],
  says: /template|conversation/,
});

export const TEXTS: readonly Attack[] = [...documents, templates];
