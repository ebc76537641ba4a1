// The flags of `npm run distill`: every setting under its own name, and a few that only a command
// line needs. Pure.

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
import { didYouMean, nearest } from '../nearest';

/**
 * How many values a flag takes. `maybe`: none or one. `many`: one or more, and the flag may be
 * repeated.
 */
type Arity = 'none' | 'maybe' | 'one' | 'many';

/** Flags that are not settings: how many values they take, how --help shows those, the help. */
const COMMAND_FLAGS = {
  output_dir: [
    'one',
    'FOLDER',
    'Required. The folder for the student, metrics.jsonl and the checkpoints.',
  ],
  sweep: [
    'many',
    'FIELD=VALUES…',
    'Runs each value, such as seed=1,2,3, in a folder of its own; at most two fields and 8 runs.',
  ],
  resume: [
    'maybe',
    '[FILE|FOLDER]',
    'Continues the run in output_dir or FOLDER from its last checkpoint, with its settings and ' +
      'data. A FILE that the page or --run_file saved is first unpacked into output_dir.',
  ],
  run_file: [
    'one',
    'FILE.zip',
    'Also writes the run as one file, when it ends or is interrupted. The page opens it.',
  ],
  import: [
    'many',
    'FOLDER…',
    'Compares runs that are done, this program’s or those of a recipe’s distill.py; trains ' +
      'nothing. With --run_file, one of them becomes a file that the page opens.',
  ],
  recipe: [
    'one',
    'FOLDER',
    'Writes the run as a folder for PyTorch and many GPUs; trains nothing. With --resume, it has ' +
      'the last checkpoint too.',
  ],
  'dry-run': [
    'none',
    '',
    'Prints the plan and what the Doctor says of it; trains and writes nothing.',
  ],
  link: ['one', "'#v=1&…'", 'Takes the settings of a link from the page; other flags override it.'],
  data: ['many', 'FILE…', 'Texts to train on: .txt, .jsonl or .csv. Default: the built-in book.'],
  format: ['one', 'text|dialogue|chat', 'How to read the data. Default: text.'],
  column: [
    'many',
    'NAME…',
    'Fields of a .jsonl or columns of a .csv to read. The text format takes one. The chat format ' +
      'takes a list of messages, the field “messages” unless given, or a question and its answer.',
  ],
  dialogue_id: ['one', 'NAME', 'The column with the same value in all rows of a dialogue.'],
  teacher_dir: [
    'one',
    'FOLDER',
    'A folder on this machine with the teacher. Same as --teacher_model ./folder.',
  ],
  student_dir: [
    'one',
    'FOLDER',
    'A folder on this machine that the student starts from. Same as --student_model ./folder.',
  ],
  hub: ['one', 'URL', 'The server for Hugging Face models. Default: https://huggingface.co.'],
  cache_dir: ['one', 'FOLDER', 'Where downloaded models are kept. Default: ~/.cache/stillhouse.'],
  help: ['none', '', 'Prints this help.'],
} as const satisfies Record<string, readonly [Arity, string, string]>;
type CommandFlag = keyof typeof COMMAND_FLAGS;

/** Where a run's models and texts come from, in addition to its settings. */
export interface Places {
  data: string[];
  reading: Reading;
  teacherDir?: string;
  studentDir?: string;
  hub?: string;
}

export interface Flags {
  /** The settings given by a link or by flags. */
  settings: Partial<Config>;
  outputDir: string;
  /** As they were given: "seed=1,2,3". */
  sweep: string[];
  resume: boolean;
  /** The file of the run to go on with, instead of what is in the folder. */
  resumeFile?: string;
  /** The file to write the run to. */
  runFile?: string;
  dryRun: boolean;
  /** Folders of runs to compare, instead of training. */
  imports: string[];
  /** The folder to write a recipe to, instead of training. */
  recipe?: string;
  places: Places;
  /** Names of the flags that set something in `places`. */
  placeFlags: string[];
  cacheDir?: string;
}

const MOST_PROBLEMS = 5;
/** The usual field of a conversation. */
const MESSAGES = 'messages';

/** Parses a command line. Any problem means no flags; each problem is one line. */
export function parseFlags(args: readonly string[]): Flags | 'help' | { problems: string[] } {
  const { values, problems } = groupByFlag(args);
  if (values.has('help')) return 'help';
  const all = (name: CommandFlag) => values.get(name);
  const one = (name: CommandFlag) => all(name)?.[0];

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
  for (const [name, [text]] of values) {
    if (!isFieldName(name)) continue;
    const role =
      name === 'teacher_model' ? 'teacher' : name === 'student_model' ? 'student' : undefined;
    if (role && folders[role] !== undefined) {
      problems.push(`--${name} and --${role}_dir both name the ${role}. Give only one.`);
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
        `--${role}_model is files, which only the page can have. Use --${role}_dir FOLDER here.`,
      );
    }
  }

  const data = all('data') ?? [];
  const format = one('format') ?? 'text';
  const columns = all('column') ?? (format === 'chat' ? [MESSAGES] : []);
  if (format !== 'text' && format !== 'dialogue' && format !== 'chat') {
    problems.push(`--format is ${shown(format)}. It must be one of text, dialogue, chat.`);
  }
  if (format === 'chat' && all('dialogue_id'))
    problems.push('--dialogue_id is for --format dialogue. In chat, each row is a conversation.');
  if (format === 'text' && columns.length > 1) {
    problems.push(
      `--column names ${columns.length} columns. --format text takes one, dialogue several.`,
    );
  }
  if (data.length === 0) {
    for (const name of ['format', 'column', 'dialogue_id'] as const) {
      if (all(name))
        problems.push(`--${name} is about data files, but there are none. Add --data FILE.`);
    }
  }
  const hub = one('hub');
  if (hub !== undefined && !/^https?:\/\/[^\s/]+/.test(hub)) {
    problems.push(`--hub is ${shown(hub)}. It must be a URL such as https://huggingface.co.`);
  }
  const dryRun = all('dry-run') !== undefined;
  const resumed = one('resume');
  const resumeFile = resumed !== undefined && /\.zip$/i.test(resumed) ? resumed : undefined;
  const resumeFolder = resumeFile === undefined ? resumed : undefined;
  if (resumeFolder !== undefined && one('output_dir') !== undefined) {
    problems.push(
      `--resume ${resumeFolder} is the folder to continue in. Leave out --output_dir, or give ` +
        'the run as a .zip to continue elsewhere.',
    );
  }
  const recipe = one('recipe');
  const imports = all('import') ?? [];
  if ([recipe !== undefined, dryRun, imports.length > 0].filter(Boolean).length > 1) {
    problems.push('--recipe, --import and --dry-run each replace the training. Give only one.');
  }
  if (all('sweep')) {
    for (const name of ['resume', 'dry-run', 'recipe', 'import', 'run_file'] as const) {
      if (all(name)) problems.push(`--${name} is for one run. Leave it out of a sweep.`);
    }
  }
  const runFile = one('run_file');
  if (runFile !== undefined && imports.length > 1)
    problems.push(`--run_file takes one run, but --import names ${imports.length}. Name one.`);
  if (runFile !== undefined && !/\.zip$/i.test(runFile))
    problems.push(`--run_file is ${shown(runFile)}. Its name must end with .zip.`);
  const outputDir =
    one('output_dir') ??
    resumeFolder ??
    (dryRun || recipe !== undefined || imports.length > 0 ? '.' : undefined);
  if (outputDir === undefined)
    problems.push('--output_dir is missing. Give a folder to write to, such as --output_dir out.');

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
    sweep: all('sweep') ?? [],
    resume: all('resume') !== undefined,
    resumeFile,
    runFile,
    dryRun,
    imports,
    recipe,
    cacheDir: one('cache_dir'),
    places: {
      data,
      hub: hub?.replace(/\/+$/, ''),
      teacherDir: folders.teacher,
      studentDir: folders.student,
      reading: { format: format as Reading['format'], columns, dialogueId: one('dialogue_id') },
    },
    placeFlags: placeNames.filter((name) => all(name)),
  };
}

/** The config with these settings changed. All or nothing, as with a link. */
export function applySettings(
  settings: Partial<Config>,
  base: Config,
): { config: Config } | { problems: string[] } {
  const config = { ...base, ...settings };
  const problems = checkConfig(config).map((problem) => `--${problem}`);
  return problems.length > 0 ? { problems } : { config };
}

/** Whether a resumed run may change this setting; any other would make it a different run. */
export const mayChange = (name: FieldName): boolean =>
  name === 'train_steps' || FIELDS[name].group === 'evaluation' || isLive(name);

/** The values after each flag. Problems with the flags themselves come first. */
function groupByFlag(args: readonly string[]): {
  values: Map<string, string[]>;
  problems: string[];
} {
  const values = new Map<string, string[]>();
  const problems: string[] = [];
  for (let i = 0; i < args.length; ) {
    const arg = args[i++];
    if (!arg.startsWith('--')) {
      const hint = 'Write --name value; put a value with spaces in quotes.';
      problems.push(`${shown(arg)} has no flag before it. ${hint}`);
      continue;
    }
    const equals = arg.indexOf('=');
    const name = arg.slice(2, equals < 0 ? undefined : equals);
    const flagValues = equals < 0 ? [] : [arg.slice(equals + 1)];
    const arity = arityOf(name);
    const most =
      arity === 'none' || flagValues.length > 0
        ? 0
        : arity === 'one' || arity === 'maybe'
          ? 1
          : Number.POSITIVE_INFINITY;
    while (flagValues.length < most && i < args.length && !args[i].startsWith('--'))
      flagValues.push(args[i++]);
    if (arity === undefined) {
      while (i < args.length && !args[i].startsWith('--')) i++;
      problems.push(`--${name} is not a flag. ${suggestion(name)}`);
    } else if (arity === 'none' && flagValues.length > 0) {
      problems.push(`--${name} is ${shown(flagValues[0])}. It takes no value.`);
    } else if (arity !== 'none' && arity !== 'maybe' && flagValues.length === 0) {
      const expected = isFieldName(name) ? allowed(name) : COMMAND_FLAGS[name as CommandFlag][1];
      problems.push(`--${name} needs a value: ${expected}.`);
    } else if (values.has(name) && arity !== 'many') {
      problems.push(`--${name} is given twice. Give it once.`);
    } else {
      values.set(name, [...(values.get(name) ?? []), ...flagValues]);
    }
  }
  return { values, problems };
}

function arityOf(name: string): Arity | undefined {
  if (Object.hasOwn(COMMAND_FLAGS, name)) return COMMAND_FLAGS[name as CommandFlag][0];
  return isFieldName(name) ? 'one' : undefined;
}

function suggestion(name: string): string {
  const near = nearest(name, [...Object.keys(COMMAND_FLAGS), ...fieldNames()]);
  return near.length > 0
    ? didYouMean(near.map((other) => `--${other}`))
    : '--help lists all flags.';
}

const fieldNames = () => Object.keys(FIELDS) as FieldName[];

/** The text of --help, made from the tables. */
export function helpText(): string {
  const lines = [
    'npm run distill -- --output_dir out [--name value …]',
    '',
    'Distils a student from a teacher on this machine’s GPU, without a browser. The settings are',
    'those of the page and its links. A model is built in (moby-teacher), a Hugging Face model',
    '(org/name or org/name@revision), or a folder (./folder).',
    '',
    'Exit codes: 0 if all steps are done and the student is written, 1 if the run failed, 2 for',
    'invalid flags, 130 if it was interrupted; --resume then continues it.',
    '',
    'files and folders',
    ...Object.entries(COMMAND_FLAGS).flatMap(([name, [, value, help]]) => [
      `  --${name} ${value}`.trimEnd(),
      `      ${help}`,
    ]),
  ];
  for (const title of new Set(fieldNames().map((name) => FIELDS[name].group))) {
    lines.push('', title);
    for (const name of fieldNames()) {
      const field = FIELDS[name];
      if (field.group !== title) continue;
      const initial = field.default === '' ? 'empty' : field.default;
      lines.push(`  --${name}  ${allowed(name)}; default ${initial}`, `      ${field.help}`);
    }
  }
  return lines.join('\n');
}
