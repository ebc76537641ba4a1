// The flags of `npm run say`: the page's settings under their own names, and how to run the model.
// Pure.

import { parseArgs } from 'node:util';
import { FIELDS } from '../config';
import { allowedValues, checkValue, type Field, shown } from '../field';
import { didYouMean, nearest } from '../nearest';
import { SAY_DEFAULTS, SAY_FIELDS, type SaySettings } from '../say-settings';

const FLAGS: Record<string, Field> = {
  ...SAY_FIELDS,
  model_dtype: FIELDS.model_dtype,
  teacher_engine: FIELDS.teacher_engine,
  teacher_dtype: FIELDS.teacher_dtype,
};

export interface SayFlags {
  /** A folder on this machine, moby-teacher, or a Hugging Face model. */
  model: string;
  prompt: string;
  settings: SaySettings;
  /** As in a run's settings. */
  model_dtype: string;
  teacher_engine: string;
  teacher_dtype: string;
}

/** Parses a command line. Any problem means no flags; each problem is one line. */
export function parseSayFlags(args: readonly string[]): SayFlags | 'help' | { problems: string[] } {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    strict: false,
    options: {
      help: { type: 'boolean' },
      ...Object.fromEntries(Object.keys(FLAGS).map((name) => [name, { type: 'string' as const }])),
    },
  });
  if (values.help) return 'help';
  const problems: string[] = [];
  const read: Record<string, unknown> = {};
  for (const [name, text] of Object.entries(values)) {
    const field = FLAGS[name];
    if (!field) {
      const near = nearest(name, Object.keys(FLAGS)).map((other) => `--${other}`);
      const hint = near.length > 0 ? didYouMean(near) : '--help lists all flags.';
      problems.push(`--${name} is not a flag. ${hint}`);
    } else if (typeof text !== 'string') {
      problems.push(`--${name} needs a value: ${allowedValues(field)}.`);
    } else {
      const number = field.type === 'choice' || text.trim() === '' ? Number.NaN : Number(text);
      read[name] = Number.isNaN(number) ? text : number;
      const problem = checkValue(name, field, read[name]);
      if (problem) problems.push(`--${problem}`);
    }
  }
  const [model, prompt = '', ...rest] = positionals;
  if (model === undefined) {
    problems.push(
      'FOLDER is missing. Name a folder with a model, such as public/models/moby-teacher.',
    );
  } else if (rest.length > 0) {
    problems.push(`${shown(rest[0])} follows the prompt. Put a prompt with spaces in quotes.`);
  }
  if (problems.length > 0 || model === undefined) return { problems };
  const { model_dtype, teacher_engine, teacher_dtype } = FIELDS;
  return {
    model,
    prompt,
    model_dtype: String(read.model_dtype ?? model_dtype.default),
    teacher_engine: String(read.teacher_engine ?? teacher_engine.default),
    teacher_dtype: String(read.teacher_dtype ?? teacher_dtype.default),
    settings: {
      ...SAY_DEFAULTS,
      ...Object.fromEntries(
        Object.entries(read).filter(([name]) => Object.hasOwn(SAY_FIELDS, name)),
      ),
    },
  };
}

/** The text of --help, made from the table. */
export function sayHelp(): string {
  return [
    'npm run say -- FOLDER "prompt" [--name value …]',
    '',
    'Continues the prompt with a model, token by token. FOLDER is a Hugging Face folder, such as',
    'one that the page or npm run distill exports; moby-teacher (built in); or a Hugging Face',
    'model (org/name or org/name@revision). The text goes to standard output, all else to standard',
    'error.',
    '',
    'Exit codes: 0 done, 1 failed, 2 invalid flags, 130 interrupted.',
    '',
    ...Object.entries(FLAGS).flatMap(([name, field]) => [
      `  --${name}  ${allowedValues(field)}; default ${field.default}`,
      `      ${field.help}`,
    ]),
  ].join('\n');
}
