// The README.md of an exported student: what it is, how to use it, its evaluations, how it was
// trained, and the link that trains it again. Every figure comes from the run.

import { type Config, DEFAULTS, FIELDS, type FieldName } from '../../config';
import type { Architecture } from '../../model/family';
import { modelReference } from '../../model-reference';
import type { EvaluationRecord, StepRecord } from '../records';

export type LossRow = Pick<StepRecord, 'step' | 'loss' | 'ce' | 'kd' | 'learningRate'>;

/** The part of the card that the page or the command line recorded. */
export interface RunStory {
  /** A link with the run's settings; absent if no page can open it. */
  link?: string;
  evaluations: readonly EvaluationRecord[];
  /** Some of the steps, in order. */
  losses: readonly LossRow[];
  /** Settings that changed while it ran. */
  changes: readonly { step: number; text: string }[];
}

export interface CardFacts extends RunStory {
  name: string;
  /** At the end of the run. */
  config: Config;
  student: Architecture;
  /** Optimiser steps done. */
  step: number;
  /** The type of model.safetensors, and the one that the run computed in. */
  dtype: 'float32' | 'float16';
  computed: 'float32' | 'float16';
  adapter: string;
  studentParameters: number;
  /** Those that changed: all, or those of the adapters. */
  trainedParameters: number;
  /** Undefined for an ONNX graph that does not tell. */
  teacherParameters?: number;
  /** `own`: the user's text, which a link does not contain. */
  corpus: { name: string; own: boolean; trainTokens: number; heldOutTokens: number };
  /** A line for each file that could not be exported, with the reason. */
  missing: readonly string[];
}

export function modelCard(facts: CardFacts): string {
  const sections = [
    frontMatter(facts),
    summary(facts),
    use(facts),
    measured(facts),
    training(facts),
    settings(facts),
  ];
  return `${sections.join('\n\n')}\n`;
}

/** YAML, in which every JSON string is a valid string. */
function frontMatter({ config, name, student }: CardFacts): string {
  const starts = config.student_model === 'teacher' ? config.teacher_model : config.student_model;
  const start = starts === '' ? undefined : modelReference(starts);
  return [
    '---',
    'library_name: transformers',
    'pipeline_tag: text-generation',
    `model_name: ${JSON.stringify(name)}`,
    ...(start?.kind === 'hub' ? [`base_model: ${JSON.stringify(start.id)}`] : []),
    'tags:',
    ...[student.family.modelType, 'knowledge-distillation', 'onnx', 'stillhouse'].map(
      (tag) => `  - ${tag}`,
    ),
    '---',
  ].join('\n');
}

function summary(facts: CardFacts): string {
  const { name, config, student, step, corpus, studentParameters, teacherParameters } = facts;
  const { adapters, experts } = student;
  const lora = adapters
    ? ` Only low-rank adapters (LoRA) of rank ${adapters.rank} were trained, ` +
      `${count(facts.trainedParameters)} parameters; here they are merged into the weights, and ` +
      '`adapter/` has them alone, as PEFT loads them onto the weights that the student started ' +
      'from.'
    : '';
  const sizes =
    `${count(student.layers)} layers, width ${count(student.width)}, ${count(student.heads)} ` +
    'heads, ' +
    (experts ? `${count(experts.perToken)} of ${count(experts.count)} experts per token, ` : '') +
    `a vocabulary of ${count(student.vocabularySize)} tokens, ` +
    `contexts of up to ${count(student.contextWindow)} tokens`;
  const teacher =
    teacherParameters === undefined ? '' : ` (${count(teacherParameters)} parameters)`;
  const layers = config.student_from_layers.replaceAll(',', ', ');
  const starts: Record<string, string> = {
    '': 'random weights',
    teacher: `the teacher’s layers ${layers}`,
  };
  const from = starts[config.student_model] ?? `the weights of ${code(config.student_model)}`;
  const isCopied = config.student_experts > 0 && config.student_model !== '';
  const start = isCopied ? `${from}, each expert from a copy of its layer’s MLP` : from;
  return [
    `# ${name}`,
    `A ${student.family.title} of ${count(studentParameters)} parameters (${sizes}), ` +
      'distilled from ' +
      `${code(config.teacher_model)}${teacher} on ` +
      `${code(corpus.name)} with Stillhouse, which distils language models in a browser. ` +
      `It started from ${start}. These are its weights after step ${count(step)} of ` +
      `${count(config.train_steps)}.${lora}`,
  ].join('\n\n');
}

function use({ dtype, missing, name }: CardFacts): string {
  return [
    '## How to use it',
    'In Python:',
    fenced('python', [
      'from transformers import AutoModelForCausalLM, AutoTokenizer',
      '',
      `tokenizer = AutoTokenizer.from_pretrained("./${name}")`,
      `model = AutoModelForCausalLM.from_pretrained("./${name}")`,
    ]),
    'In JavaScript, from a server with this folder in `models/`:',
    fenced('js', [
      "import { AutoModelForCausalLM, AutoTokenizer, env } from '@huggingface/transformers';",
      '',
      'Object.assign(env, { allowRemoteModels: false, allowLocalModels: true, localModelPath: ' +
        "'/models/' });",
      `const tokenizer = await AutoTokenizer.from_pretrained('${name}');`,
      `const model = await AutoModelForCausalLM.from_pretrained('${name}', { dtype: 'fp32' });`,
    ]),
    `\`model.safetensors\` is in ${dtype}. The files in \`onnx/\` take \`input_ids\` (batch, ` +
      'sequence), `attention_mask` (0 for padding), `position_ids`, all int64, and ' +
      '`past_key_values`, the keys and values of earlier tokens, empty at first. They return ' +
      '`logits` (batch, sequence, vocabulary) and `present`, the keys and values so far. To use ' +
      'the model in Stillhouse, drop ' +
      'the .zip or this folder on the teacher or student field.',
    ...(missing.length > 0
      ? ['Not in this folder:', missing.map((line) => `- ${line}`).join('\n')]
      : []),
  ].join('\n\n');
}

function measured({ evaluations, step, corpus, config }: CardFacts): string {
  const last = evaluations.at(-1);
  if (!last) return '## Evaluation\n\nThe run was not evaluated.';
  const rows = evaluations.map((record) => [
    count(record.step),
    figure(record.studentPerplexity),
    figure(record.teacherPerplexity),
    figure(record.kl),
    record.agreement === undefined ? 'n/a' : `${(100 * record.agreement).toFixed(1)}%`,
    count(record.tokens),
    `${record.succeeded} of ${record.tried}`,
  ]);
  const sample = last.sample;
  return [
    '## Evaluation',
    `On held-out text of ${code(corpus.name)} (${count(corpus.heldOutTokens)} tokens), at ` +
      'temperature 1, on the same ' +
      `${count(config.eval_batches)} batches of ${count(config.batch_size)} × ` +
      `${count(config.max_length)} tokens each time, or fewer if the text is short. ` +
      'KL is KL(teacher ‖ student) in nats per token; agreement is how often both models have ' +
      'the same most likely next token.',
    ...(last.step === step
      ? []
      : [
          `The weights are from step ${count(step)}; the last evaluation was at step ` +
            `${count(last.step)}.`,
        ]),
    table(
      ['step', 'perplexity', 'teacher’s perplexity', 'KL', 'agreement', 'tokens', 'batches'],
      rows,
    ),
    ...(last.firstError ? [`First failed batch: ${cell(last.firstError)}`] : []),
    ...(sample
      ? [
          `How both models continue ${code(sample.prompt)} at step ${count(last.step)}:`,
          table(
            ['', 'continuation'],
            [
              ['teacher', cell(sample.teacher)],
              ['this model', cell(sample.student)],
            ],
          ),
        ]
      : []),
  ].join('\n\n');
}

function training({ losses, changes, corpus, adapter, computed }: CardFacts): string {
  const rows = losses.map(({ step, loss, ce, kd, learningRate }) => [
    count(step),
    ...[loss, ce, kd].map(figure),
    learningRate.toExponential(2),
  ]);
  return [
    '## How it was trained',
    `On ${count(corpus.trainTokens)} tokens of ${code(corpus.name)}, computed in ${computed} on ` +
      `${code(adapter)}. Losses of single ` +
      'steps, in nats per token: the minimised loss, cross-entropy with the text, and KL(teacher ' +
      '‖ student) at the run’s temperature.',
    rows.length > 0
      ? table(['step', 'loss', 'CE', 'KD', 'learning rate'], rows)
      : 'It was not trained.',
    ...(changes.length > 0
      ? [
          'Settings changed during the run:',
          changes.map(({ step, text }) => `- before step ${count(step)}: ${cell(text)}`).join('\n'),
        ]
      : []),
  ].join('\n\n');
}

function settings({ config, link, corpus, changes }: CardFacts): string {
  const absent = [
    ...(corpus.own ? [`the text (${code(corpus.name)})`] : []),
    ...(config.teacher_model === 'files' ? ['the teacher’s files'] : []),
    ...(config.student_model === 'files' ? ['the student’s initial files'] : []),
    ...(changes.length > 0 ? ['the changes during the run'] : []),
  ];
  const contents =
    absent.length > 0
      ? `It does not contain ${absent.join(', ')}.`
      : 'It contains everything that this run used.';
  const rows = (Object.keys(FIELDS) as FieldName[]).map((name) => [
    code(name),
    config[name] === '' ? '' : code(String(config[name])),
    config[name] === DEFAULTS[name]
      ? ''
      : DEFAULTS[name] === ''
        ? 'empty'
        : code(String(DEFAULTS[name])),
  ]);
  return [
    '## Settings',
    ...(link === undefined
      ? []
      : [`This link opens a run with these settings: <${link}>. ${contents}`]),
    table(['setting', 'value', 'default, if different'], rows),
  ].join('\n\n');
}

const count = (value: number) => value.toLocaleString('en-US');

/** Four digits, or n/a. */
function figure(value: number | undefined): string {
  if (value === undefined) return 'n/a';
  if (!Number.isFinite(value)) return String(value);
  return Math.abs(value) >= 1000 ? count(Math.round(value)) : String(Number(value.toPrecision(4)));
}

/** Untrusted text on one line, with Markdown and HTML escaped. */
function cell(text: string): string {
  return text
    .trim()
    .replace(/\s+/g, ' ')
    .replace(/[\\`*_[\]|#~]/g, '\\$&')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;');
}

/** Untrusted text as code: fenced by more backticks than it contains. */
function code(text: string): string {
  const line = text.replace(/\s+/g, ' ').replaceAll('|', '\\|');
  const fence = '`'.repeat(
    Math.max(0, ...[...line.matchAll(/`+/g)].map(([run]) => run.length)) + 1,
  );
  const space = /^`|`$/.test(line) ? ' ' : '';
  return fence + space + line + space + fence;
}

const fenced = (language: string, lines: string[]) =>
  [`\`\`\`${language}`, ...lines, '```'].join('\n');

function table(head: string[], rows: string[][]): string {
  return [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
}
