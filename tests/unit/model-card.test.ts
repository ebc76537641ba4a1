// The model card of an exported student: its figures are the run's, and untrusted text in it is
// escaped as Markdown, YAML and HTML.

import { expect, test } from 'vitest';
import { DEFAULTS } from '../../src/config';
import { exportName } from '../../src/distill/export/export';
import { type CardFacts, modelCard } from '../../src/distill/export/model-card';
import type { EvaluationRecord } from '../../src/distill/records';
import { gpt2 } from '../../src/model/gpt2/gpt2';

const student = gpt2({
  vocab_size: 1024,
  n_positions: 64,
  n_embd: 64,
  n_layer: 2,
  n_head: 2,
  layer_norm_epsilon: 1e-5,
  activation_function: 'gelu_new',
});
const evaluation: EvaluationRecord = {
  step: 200,
  tried: 4,
  succeeded: 3,
  failed: 1,
  tokens: 1536,
  path: 'strided',
  bytesCopied: 0,
  milliseconds: 1,
  studentPerplexity: 190.04,
  teacherPerplexity: 68.961,
  kl: 0.96301,
  agreement: 0.4166,
  firstError: 'view: sizes [8, 63]',
  sample: {
    prompt: 'The whale',
    teacher: ' was\nwhite',
    student: ' | <b>said</b> `no` *more* 1 < 2 & 3',
  },
};
const facts: CardFacts = {
  name: 'gpt2-2x64-from-moby-teacher-200-steps',
  config: DEFAULTS,
  student,
  step: 200,
  dtype: 'float32',
  computed: 'float16',
  adapter: 'Test GPU',
  studentParameters: 169_984,
  trainedParameters: 169_984,
  teacherParameters: 941_312,
  corpus: { name: 'corpus/moby-dick.txt', own: false, trainTokens: 394_495, heldOutTokens: 43_434 },
  missing: [],
  link: 'https://example.org/#v=1',
  evaluations: [evaluation],
  losses: [{ step: 200, loss: 4.56789, ce: 5.25, kd: Number.NaN, learningRate: 6e-4 }],
  changes: [],
};

test('the card has the run’s figures, and n/a for those that were not measured', () => {
  const card = modelCard(facts);
  expect(card).toContain('| 200 | 190 | 68.96 | 0.963 | 41.7% | 1,536 | 3 of 4 |');
  expect(card).toContain('| 200 | 4.568 | 5.25 | NaN | 6.00e-4 |');
  expect(card).toContain(
    'A GPT-2 of 169,984 parameters (2 layers, width 64, 2 heads, a vocabulary of 1,024 tokens, ' +
      'contexts of up to 64 tokens)',
  );
  expect(card).toContain(
    'distilled from `moby-teacher` (941,312 parameters) on `corpus/moby-dick.txt`',
  );
  expect(card).toContain('after step 200 of 200.');
  expect(card).toContain(
    'On 394,495 tokens of `corpus/moby-dick.txt`, computed in float16 on `Test GPU`.',
  );
  expect(card).toContain('First failed batch: view: sizes \\[8, 63\\]');
  const {
    studentPerplexity: _,
    teacherPerplexity: __,
    kl: ___,
    agreement: ____,
    ...none
  } = evaluation;
  const failed = modelCard({ ...facts, evaluations: [{ ...none, tokens: 0 }] });
  expect(failed).toContain('| 200 | n/a | n/a | n/a | n/a | 0 | 3 of 4 |');
  expect(modelCard({ ...facts, evaluations: [] })).toContain('The run was not evaluated.');
});

test('the card lists what the link does not contain, missing files and changed settings', () => {
  expect(modelCard(facts)).toContain(
    '<https://example.org/#v=1>. It contains everything that this run used.',
  );
  const card = modelCard({
    ...facts,
    config: { ...DEFAULTS, teacher_model: 'files' },
    step: 150,
    missing: ['onnx/model.onnx: too long.'],
    corpus: { ...facts.corpus, name: 'my notes.txt', own: true },
    changes: [{ step: 90, text: 'T 2 → 4' }],
    evaluations: [{ ...evaluation, step: 140 }],
  });
  expect(card).toContain(
    'It does not contain the text (`my notes.txt`), the teacher’s files, ' +
      'the changes during the run.',
  );
  expect(card).toContain('Not in this folder:\n\n- onnx/model.onnx: too long.');
  expect(card).toContain('- before step 90: T 2 → 4');
  expect(card).toContain('The weights are from step 150; the last evaluation was at step 140.');
  expect(card).toContain('| `teacher_model` | `files` | `moby-teacher` |');
});

test('untrusted text is escaped in tables, in code and in the front matter', () => {
  const card = modelCard({
    ...facts,
    config: { ...DEFAULTS, prompt: 'a | `b`\nc' },
    corpus: { ...facts.corpus, name: '---\n``x`` | y' },
  });
  expect(card).toContain(
    '| this model | \\| &lt;b>said&lt;/b> \\`no\\` \\*more\\* 1 &lt; 2 &amp; 3 |',
  );
  expect(card).toContain('| teacher | was white |');
  expect(card).toContain('| `prompt` | ``a \\| `b` c`` | `The whale` |');
  expect(card).toContain('```--- ``x`` \\| y```');
  expect(card.match(/^---$/gm)).toHaveLength(2);
  const hub = { ...DEFAULTS, teacher_model: 'org/big', student_model: 'org/small@v1' };
  expect(modelCard({ ...facts, config: hub })).toContain(
    '\nbase_model: "org/small"\ntags:\n  - gpt2\n',
  );
  expect(modelCard(facts)).not.toContain('base_model');
});

test('a student’s name has its start, its teacher and its steps', () => {
  const named = (changes: object, step = 200) =>
    exportName({ ...DEFAULTS, ...changes }, student, step);
  expect(named({})).toBe('gpt2-2x64-from-moby-teacher-200-steps');
  expect(
    named({ teacher_model: 'microsoft/DialoGPT-medium@main', student_model: 'distilgpt2' }, 1),
  ).toBe('distilgpt2-from-DialoGPT-medium-1-step');
  expect(named({ teacher_model: 'files', student_model: 'teacher' })).toBe(
    'gpt2-2x64-from-own-files-200-steps',
  );
  expect(named({ teacher_model: 'org/a@refs/pr/1' })).toBe('gpt2-2x64-from-a-200-steps');
});
