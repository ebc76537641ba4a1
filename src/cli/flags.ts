// The flags of `npm run distill`: every setting of the table under its own name, and what only a
// command line needs. Pure.

import {
  allowed,
  type Config,
  checkConfig,
  checkField,
  DEFAULTS,
  FIELDS,
  type FieldName,
  isFieldName,
  isLive,
  shown,
} from '../config';
import type { Reading } from '../data/documents';
import { parseLink, readValue } from '../link';

/** How many values a flag takes: none, one, or one or more, also when it is given again. */
type Arity = 'none' | 'one' | 'many';

const OWN = {
  output_dir: [
    'one',
    'FOLDER',
    'Where the student, metrics.jsonl and the checkpoint are written. Needed.',
  ],
  resume: ['none', '', 'Goes on from the checkpoint in output_dir, with its settings and data.'],
  link: ['one', "'#v=1&…'", 'Settings of a link of the page; flags beside it win.'],
  data: ['many', 'FILE…', 'Texts to train on: .txt, .jsonl, .csv. Without it, the built-in book.'],
  format: ['one', 'text|dialogue', 'How the data is read; text, if not given.'],
  column: ['many', 'NAME…', 'Fields of a .jsonl or columns of a .csv to read. text takes one.'],
  dialogue_id: ['one', 'NAME', 'The column that is the same in all rows of a dialogue.'],
  teacher_dir: [
    'one',
    'FOLDER',
    'The teacher from a folder of this machine. --teacher_model ./folder means the same.',
  ],
  student_dir: [
    'one',
    'FOLDER',
    'What the student starts from, likewise. --student_model ./folder means the same.',
  ],
  hub: [
    'one',
    'ADDRESS',
    'The server that hub ids are asked of; https://huggingface.co, if not given.',
  ],
  cache_dir: [
    'one',
    'FOLDER',
    'Where what came from the hub is kept; ~/.cache/stillhouse, if not given.',
  ],
  help: ['none', '', 'Prints this.'],
} as const satisfies Record<string, readonly [Arity, string, string]>;
type OwnName = keyof typeof OWN;

/** Where a run's models and texts come from, beside what its settings say. */
export interface Places {
  data: string[];
  reading: Reading;
  teacherDir?: string;
  studentDir?: string;
  hub?: string;
}

export interface Flags {
  /** The settings that were given, by link or flag. */
  settings: Partial<Config>;
  outputDir: string;
  resume: boolean;
  places: Places;
  /** Names of the flags that say something about `places`. */
  placesGiven: string[];
  cacheDir?: string;
}

const MOST_PROBLEMS = 5;

/**
 * What a command line asks for; or that it asks for help; or everything that is wrong with it, a
 * line each.
 */
export function parseFlags(words: readonly string[]): Flags | 'help' | { problems: string[] } {
  const { given, problems } = group(words);
  if (given.has('help')) return 'help';
  const own = (name: OwnName) => given.get(name);
  const one = (name: OwnName) => own(name)?.[0];

  const settings: Partial<Record<FieldName, unknown>> = {};
  const link = one('link');
  if (link !== undefined) {
    const read = parseLink(link);
    if ('problems' in read) problems.push(...read.problems.map((problem) => `--link: ${problem}`));
    else
      for (const name of fieldNames())
        if (read.config[name] !== DEFAULTS[name]) settings[name] = read.config[name];
  }
  const folders = { teacher: one('teacher_dir'), student: one('student_dir') };
  for (const [name, [text]] of given) {
    if (!isFieldName(name)) continue;
    const role =
      name === 'teacher_model' ? 'teacher' : name === 'student_model' ? 'student' : undefined;
    if (role && folders[role] !== undefined) {
      problems.push(`--${name} and --${role}_dir both name the ${role}. Give one of them.`);
    } else if (role && /^(\.{0,2}\/|\.{1,2}$)/.test(text)) {
      folders[role] = text;
    } else {
      const read = readValue(name, text);
      const problem = 'problem' in read ? read.problem : checkField(name, read.value);
      if (problem) problems.push(`--${problem}`);
      else if ('value' in read) settings[name] = read.value;
    }
  }
  for (const role of ['teacher', 'student'] as const) {
    if (folders[role] !== undefined) settings[`${role}_model`] = 'files';
    else if (settings[`${role}_model`] === 'files') {
      problems.push(
        `--${role}_model is files, which are dropped on the page. Here, give --${role}_dir FOLDER.`,
      );
    }
  }

  const data = own('data') ?? [];
  const format = one('format') ?? 'text';
  const columns = own('column') ?? [];
  if (format !== 'text' && format !== 'dialogue') {
    problems.push(`--format is ${shown(format)}. It takes one of text, dialogue.`);
  }
  if (format === 'text' && columns.length > 1) {
    problems.push(
      `--column names ${columns.length} columns. Text takes one; --format dialogue takes several.`,
    );
  }
  if (data.length === 0) {
    for (const name of ['format', 'column', 'dialogue_id'] as const) {
      if (own(name))
        problems.push(`--${name} says how files are read, and there are none. Add --data FILE.`);
    }
  }
  const hub = one('hub');
  if (hub !== undefined && !/^https?:\/\/[^\s/]+/.test(hub)) {
    problems.push(`--hub is ${shown(hub)}. It takes an address such as https://huggingface.co.`);
  }
  const outputDir = one('output_dir');
  if (outputDir === undefined)
    problems.push('--output_dir is missing. It takes a folder to write to, such as out.');

  if (problems.length > 0 || outputDir === undefined) {
    const more = problems.length - MOST_PROBLEMS;
    return {
      problems:
        more > 0 ? [...problems.slice(0, MOST_PROBLEMS), `There are ${more} more.`] : problems,
    };
  }
  const placeNames = [
    'data',
    'format',
    'column',
    'dialogue_id',
    'teacher_dir',
    'student_dir',
    'hub',
  ] as const;
  return {
    settings: settings as Partial<Config>,
    outputDir,
    resume: own('resume') !== undefined,
    cacheDir: one('cache_dir'),
    places: {
      data,
      hub: hub?.replace(/\/+$/, ''),
      teacherDir: folders.teacher,
      studentDir: folders.student,
      reading: { format: format as Reading['format'], columns, dialogueId: one('dialogue_id') },
    },
    placesGiven: placeNames.filter((name) => own(name)),
  };
}

/** The config that given settings make of `base`. All or nothing, as with a link. */
export function settle(
  settings: Partial<Config>,
  base: Config,
): { config: Config } | { problems: string[] } {
  const config = { ...base, ...settings };
  const problems = checkConfig(config).map((problem) => `--${problem}`);
  return problems.length > 0 ? { problems } : { config };
}

/** A run that goes on may be told these anew; with any other it would be another run. */
export const mayChange = (name: FieldName): boolean =>
  name === 'train_steps' || FIELDS[name].group === 'evaluation' || isLive(name);

/** Words by the flag before them. Problems with the flags themselves come first. */
function group(words: readonly string[]): { given: Map<string, string[]>; problems: string[] } {
  const given = new Map<string, string[]>();
  const problems: string[] = [];
  for (let i = 0; i < words.length; ) {
    const word = words[i++];
    if (!word.startsWith('--')) {
      problems.push(
        `${shown(word)} belongs to no flag. A flag is --name value; put a value with spaces in quotes.`,
      );
      continue;
    }
    const equals = word.indexOf('=');
    const name = word.slice(2, equals < 0 ? undefined : equals);
    const values = equals < 0 ? [] : [word.slice(equals + 1)];
    const arity = Object.hasOwn(OWN, name)
      ? OWN[name as OwnName][0]
      : isFieldName(name)
        ? 'one'
        : undefined;
    const most =
      arity === 'none' || values.length > 0 ? 0 : arity === 'one' ? 1 : Number.POSITIVE_INFINITY;
    while (values.length < most && i < words.length && !words[i].startsWith('--'))
      values.push(words[i++]);
    if (arity === undefined) {
      while (i < words.length && !words[i].startsWith('--')) i++;
      problems.push(`--${name} is no flag. ${nearest(name)}`);
    } else if (arity === 'none' && values.length > 0) {
      problems.push(`--${name} is ${shown(values[0])}. It takes no value.`);
    } else if (arity !== 'none' && values.length === 0) {
      const takes = isFieldName(name) ? allowed(name) : OWN[name as OwnName][1];
      problems.push(`--${name} has no value. It takes ${takes}.`);
    } else if (given.has(name) && arity !== 'many') {
      problems.push(`--${name} is given twice. Give it once.`);
    } else {
      given.set(name, [...(given.get(name) ?? []), ...values]);
    }
  }
  return { given, problems };
}

const fieldNames = () => Object.keys(FIELDS) as FieldName[];

/** Names that a mistyped one may have meant: those that few letters away, or that contain it. */
function nearest(name: string): string {
  const plain = name.toLowerCase().replaceAll('-', '_');
  const candidates = [...Object.keys(OWN), ...fieldNames()]
    .map((other) => ({ other, away: distance(plain, other) }))
    .filter(
      ({ other, away }) =>
        away <= Math.max(2, other.length / 3) || (plain.length > 3 && other.includes(plain)),
    )
    .sort((a, b) => a.away - b.away)
    .slice(0, 3)
    .map(({ other }) => `--${other}`);
  return candidates.length > 0 ? `Near it are ${candidates.join(', ')}.` : '--help lists them all.';
}

/** Letters to put in, take out or change. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(
        Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)),
      );
    }
    row = next;
  }
  return row[b.length];
}

/** What --help prints, from the tables. */
export function helpText(): string {
  const lines = [
    'npm run distill -- --output_dir out [--name value …]',
    '',
    'Distils a student from a teacher on this machine’s GPU, without a browser. The settings are those of the page and its',
    'links. A model is moby-teacher (built in), an id of the hub (org/name or org/name@revision), or a folder (./folder).',
    '',
    'Ends with 0 if all steps are done and the student is written, 1 if the run failed, 2 for flags that cannot be used, and',
    '130 if it was interrupted; --resume then goes on.',
    '',
    'files and places',
    ...Object.entries(OWN).flatMap(([name, [, value, help]]) => [
      `  --${name} ${value}`.trimEnd(),
      `      ${help}`,
    ]),
  ];
  for (const title of new Set(fieldNames().map((name) => FIELDS[name].group))) {
    lines.push('', title);
    for (const name of fieldNames()) {
      const field = FIELDS[name];
      if (field.group !== title) continue;
      const { default: usual } = field;
      lines.push(
        `  --${name}  ${allowed(name)}; default ${usual === '' ? 'empty' : usual}`,
        `      ${field.help}`,
      );
    }
  }
  return lines.join('\n');
}
