// The flags of `npm run distill`: the table's names and rules, the few of its own, and what is said
// of wrong ones.

import { describe, expect, it, test } from 'vitest';
import { type Flags, helpText, mayChange, parseFlags, settle } from '../../src/cli/flags';
import { DEFAULTS, FIELDS, type FieldName } from '../../src/config';

const OUT = ['--output_dir', 'out'];

function parsed(...words: string[]): Flags {
  const flags = parseFlags([...OUT, ...words]);
  if (flags === 'help' || 'problems' in flags) throw new Error(`refused: ${JSON.stringify(flags)}`);
  return flags;
}

function problems(...words: string[]): string[] {
  const flags = parseFlags([...OUT, ...words]);
  if (flags === 'help' || !('problems' in flags))
    throw new Error(`taken: ${JSON.stringify(flags)}`);
  return flags.problems;
}

test('the story’s command gives the story’s settings', () => {
  const words =
    '--teacher_model microsoft/DialoGPT-medium --student_model distilgpt2 --model_dtype float16 --train_steps 500 --student_lr 5e-6 --output_dir out';
  const flags = parseFlags(words.split(' ')) as Flags;
  expect(settle(flags.settings, DEFAULTS)).toEqual({
    config: {
      ...DEFAULTS,
      teacher_model: 'microsoft/DialoGPT-medium',
      student_model: 'distilgpt2',
      model_dtype: 'float16',
      train_steps: 500,
      student_lr: 5e-6,
    },
  });
  expect([flags.outputDir, flags.resume]).toEqual(['out', false]);
});

test('every setting of the table is a flag, as --name value and as --name=value', () => {
  for (const [name, field] of Object.entries(FIELDS)) {
    const value = field.default;
    expect(parsed(`--${name}`, String(value)).settings, name).toEqual({ [name]: value });
    expect(parsed(`--${name}=${value}`).settings, name).toEqual({ [name]: value });
  }
});

test('a value may hold =, dashes and nothing', () => {
  expect(parsed('--prompt=--a=b').settings.prompt).toBe('--a=b');
  expect(parsed('--prompt', '- a').settings.prompt).toBe('- a');
  expect(parsed('--prompt', '').settings.prompt).toBe('');
});

test('the help names every setting with what it takes, its default and its help, in groups', () => {
  const help = helpText();
  for (const [name, field] of Object.entries(FIELDS)) {
    expect(help).toContain(`  --${name}  `);
    expect(help).toContain(field.help);
    expect(help).toContain(`\n${field.group}\n`);
  }
  expect(help).toContain(
    '  --temperature  a number from 0.25 to 16; default 2\n      Softens both distributions before they are compared.\n',
  );
  expect(help).toContain('  --student_model  nothing for a new student');
  expect(help).toContain('default empty');
  expect(help).toContain('  --data FILE…\n');
  expect(parseFlags(['--help'])).toBe('help');
  expect(parseFlags(['--alpha', '7', '--help'])).toBe('help');
});

describe('what is refused', () => {
  it.each<[string[], string]>([
    [['--alfa', '0.5'], '--alfa is no flag. Near it are --alpha.'],
    [['--ouput_dir', 'x'], '--ouput_dir is no flag. Near it are --output_dir.'],
    [['--max-length=3'], '--max-length is no flag. Near it are --max_length.'],
    [
      ['--steps', '3'],
      '--steps is no flag. Near it are --eval_steps, --train_steps, --warmup_steps.',
    ],
    [['--constructor', '3'], '--constructor is no flag. --help lists them all.'],
    [['--alpha', '7'], '--alpha is 7. It takes a number from 0 to 1.'],
    [['--alpha', 'x'], '--alpha is "x". It takes a number from 0 to 1.'],
    [['--alpha', ''], '--alpha is "". It takes a number from 0 to 1.'],
    [['--train_steps', '1.5'], '--train_steps is 1.5. It takes a whole number from 1 to 100000.'],
    [
      ['--loss', 'kl'],
      '--loss is "kl". It takes one of mixed, ce, fkl, rkl, jsd, sfkl, srkl, tvd.',
    ],
    [['--alpha'], '--alpha has no value. It takes a number from 0 to 1.'],
    [['--alpha', '--resume'], '--alpha has no value. It takes a number from 0 to 1.'],
    [['--data'], '--data has no value. It takes FILE….'],
    [['--resume=yes'], '--resume is "yes". It takes no value.'],
    [['--alpha', '0.5', '--alpha', '0.6'], '--alpha is given twice. Give it once.'],
    [
      ['0.5'],
      '"0.5" belongs to no flag. A flag is --name value; put a value with spaces in quotes.',
    ],
    [
      ['--prompt', 'The', 'sea'],
      '"sea" belongs to no flag. A flag is --name value; put a value with spaces in quotes.',
    ],
    [['--hub', 'hub'], '--hub is "hub". It takes an address such as https://huggingface.co.'],
    [['--data', 'a.txt', '--format', 'xml'], '--format is "xml". It takes one of text, dialogue.'],
    [['--column', 'a'], '--column says how files are read, and there are none. Add --data FILE.'],
    [
      ['--data', 'a.csv', '--column', 'a', 'b'],
      '--column names 2 columns. Text takes one; --format dialogue takes several.',
    ],
    [
      ['--teacher_model', 'files'],
      '--teacher_model is files, which are dropped on the page. Here, give --teacher_dir FOLDER.',
    ],
    [
      ['--teacher_model', 'gpt2', '--teacher_dir', 'x'],
      '--teacher_model and --teacher_dir both name the teacher. Give one of them.',
    ],
    [
      ['--link', '#v=2'],
      '--link: v is "2". It takes only 1. The link was made by a newer Stillhouse. Reload the page to get it.',
    ],
  ])('%j', (words, message) => {
    expect(problems(...words)).toEqual([message]);
  });

  it('no folder to write to', () => {
    expect(parseFlags([])).toEqual({
      problems: ['--output_dir is missing. It takes a folder to write to, such as out.'],
    });
  });

  it('all at once, and no more than can be read', () => {
    expect(problems('--alpha', '7', '--beta', '1', '--temperature', '99')).toHaveLength(3);
    const many = problems(...Array.from({ length: 9 }, (_, i) => `--no${i}`));
    expect(many).toHaveLength(6);
    expect(many[5]).toBe('There are 4 more.');
  });

  it('fields that do not fit each other', () => {
    expect(settle({ student_width: 24, student_heads: 5 }, DEFAULTS)).toEqual({
      problems: [expect.stringContaining('--student_width is 24 and student_heads 5.')],
    });
  });
});

test('a path names a folder of this machine, and the setting says files, as a link would', () => {
  for (const path of ['./models/mine', '../mine', '/models/mine', '.', '..']) {
    const { settings, places } = parsed('--teacher_model', path, '--student_model', path);
    expect(settings).toEqual({ teacher_model: 'files', student_model: 'files' });
    expect([places.teacherDir, places.studentDir]).toEqual([path, path]);
  }
  const { settings, places } = parsed('--student_dir', 'mine');
  expect([settings, places.studentDir]).toEqual([{ student_model: 'files' }, 'mine']);
});

test('a link gives its settings, and flags beside it win', () => {
  expect(parsed('--link', '#v=1&alpha=0.5&temperature=4', '--alpha', '0.25').settings).toEqual({
    alpha: 0.25,
    temperature: 4,
  });
});

test('data takes several files, and the page’s readings', () => {
  const words = '--data a.csv b.csv --format dialogue --column one --column two --dialogue_id id';
  const { places, placesGiven } = parsed(...words.split(' '), '--data', 'c.csv');
  expect(places.data).toEqual(['a.csv', 'b.csv', 'c.csv']);
  expect(places.reading).toEqual({ format: 'dialogue', columns: ['one', 'two'], dialogueId: 'id' });
  expect(placesGiven).toEqual(['data', 'format', 'column', 'dialogue_id']);
});

test('a run that goes on may change how long it is, how it is watched, and what may change on the page', () => {
  const names = (Object.keys(FIELDS) as FieldName[]).filter(mayChange);
  expect(names).toEqual([
    ...[
      'alpha',
      'temperature',
      'train_steps',
      'student_lr',
      'eval_steps',
      'eval_batches',
      'eval_loss_path',
    ],
    ...['prompt', 'sample_tokens'],
  ]);
});
