// The flags of `npm run distill`: the settings' names and rules, the few flags beside them, and the
// messages for wrong ones.

import { describe, expect, it, test } from 'vitest';
import { applySettings, type Flags, helpText, mayChange, parseFlags } from '../../src/cli/flags';
import { DEFAULTS, FIELDS, type FieldName } from '../../src/config';
import { ALIGNED_NAMES, DIVERGENCE_NAMES } from '../../src/divergences';

const KD_LOSSES = [...DIVERGENCE_NAMES, ...ALIGNED_NAMES];

const OUT = ['--output_dir', 'out'];

function parsed(...args: string[]): Flags {
  const flags = parseFlags([...OUT, ...args]);
  if (flags === 'help' || 'problems' in flags) throw new Error(`refused: ${JSON.stringify(flags)}`);
  return flags;
}

function problems(...args: string[]): string[] {
  const flags = parseFlags([...OUT, ...args]);
  if (flags === 'help' || !('problems' in flags))
    throw new Error(`accepted: ${JSON.stringify(flags)}`);
  return flags.problems;
}

test('the story’s command gives the story’s settings', () => {
  const command =
    '--teacher_model microsoft/DialoGPT-medium --student_model distilgpt2 ' +
    '--model_dtype float16 --train_steps 500 --student_lr 5e-6 --output_dir out';
  const flags = parseFlags(command.split(' ')) as Flags;
  expect(applySettings(flags.settings, DEFAULTS)).toEqual({
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

test('every setting is a flag, as --name value and as --name=value', () => {
  for (const [name, field] of Object.entries(FIELDS)) {
    const value = field.default;
    expect(parsed(`--${name}`, String(value)).settings, name).toEqual({ [name]: value });
    expect(parsed(`--${name}=${value}`).settings, name).toEqual({ [name]: value });
  }
});

test('a value may contain = and dashes, or be empty', () => {
  expect(parsed('--prompt=--a=b').settings.prompt).toBe('--a=b');
  expect(parsed('--prompt', '- a').settings.prompt).toBe('- a');
  expect(parsed('--prompt', '').settings.prompt).toBe('');
});

test('--help lists every setting by group, with its allowed values, default and help', () => {
  const help = helpText();
  for (const [name, field] of Object.entries(FIELDS)) {
    expect(help).toContain(`  --${name}  `);
    expect(help).toContain(field.help);
    expect(help).toContain(`\n${field.group}\n`);
  }
  expect(help).toContain(
    '  --temperature  a number from 0.25 to 16; default 2\n' +
      '      Softens both distributions before they are compared.\n',
  );
  expect(help).toContain('  --student_model  empty for a new student');
  expect(help).toContain('default empty');
  expect(help).toContain('  --data FILE…\n');
  expect(parseFlags(['--help'])).toBe('help');
  expect(parseFlags(['--alpha', '7', '--help'])).toBe('help');
});

describe('refused', () => {
  it.each<[string[], string]>([
    [['--alfa', '0.5'], '--alfa is not a flag. Did you mean --alpha?'],
    [['--ouput_dir', 'x'], '--ouput_dir is not a flag. Did you mean --output_dir?'],
    [['--max-length=3'], '--max-length is not a flag. Did you mean --max_length?'],
    [
      ['--steps', '3'],
      '--steps is not a flag. Did you mean --eval_steps, --train_steps or --warmup_steps?',
    ],
    [['--constructor', '3'], '--constructor is not a flag. --help lists all flags.'],
    [['--alpha', '7'], '--alpha is 7. It must be a number from 0 to 1.'],
    [['--alpha', 'x'], '--alpha is "x". It must be a number from 0 to 1.'],
    [['--alpha', ''], '--alpha is "". It must be a number from 0 to 1.'],
    [['--train_steps', '1.5'], '--train_steps is 1.5. It must be a whole number from 1 to 100000.'],
    [['--loss', 'kl'], `--loss is "kl". It must be one of mixed, ce, ${KD_LOSSES.join(', ')}.`],
    [['--alpha'], '--alpha needs a value: a number from 0 to 1.'],
    [['--alpha', '--resume'], '--alpha needs a value: a number from 0 to 1.'],
    [['--data'], '--data needs a value: FILE….'],
    [['--dry-run=yes'], '--dry-run is "yes". It takes no value.'],
    [
      ['--resume', 'a'],
      '--resume a is the folder to continue in. Leave out --output_dir, or give the run as a ' +
        '.zip to continue elsewhere.',
    ],
    [['--run_file', 'a.tar'], '--run_file is "a.tar". Its name must end with .zip.'],
    [['--alpha', '0.5', '--alpha', '0.6'], '--alpha is given twice. Give it once.'],
    [
      ['0.5'],
      '"0.5" has no flag before it. Write --name value; put a value with spaces in quotes.',
    ],
    [
      ['--prompt', 'The', 'sea'],
      '"sea" has no flag before it. Write --name value; put a value with spaces in quotes.',
    ],
    [['--hub', 'hub'], '--hub is "hub". It must be a URL such as https://huggingface.co.'],
    [
      ['--data', 'a.txt', '--format', 'xml'],
      '--format is "xml". It must be one of text, dialogue, chat.',
    ],
    [['--column', 'a'], '--column is about data files, but there are none. Add --data FILE.'],
    [
      ['--data', 'a.csv', '--column', 'a', 'b'],
      '--column names 2 columns. --format text takes one, dialogue several.',
    ],
    [
      ['--teacher_model', 'files'],
      '--teacher_model is files, which only the page can have. Use --teacher_dir FOLDER here.',
    ],
    [
      ['--teacher_model', 'gpt2', '--teacher_dir', 'x'],
      '--teacher_model and --teacher_dir both name the teacher. Give only one.',
    ],
    [
      ['--link', '#v=2'],
      '--link: v is "2". It must be 1. The link was made by a newer Stillhouse. ' +
        'Reload the page to update it.',
    ],
  ])('%j', (args, message) => {
    expect(problems(...args)).toEqual([message]);
  });

  it('a missing folder to write to', () => {
    expect(parseFlags([])).toEqual({
      problems: ['--output_dir is missing. Give a folder to write to, such as --output_dir out.'],
    });
  });

  it('all problems at once, at most five of them in full', () => {
    expect(problems('--alpha', '7', '--beta', '1', '--temperature', '99')).toHaveLength(3);
    const many = problems(...Array.from({ length: 9 }, (_, i) => `--no${i}`));
    expect(many).toHaveLength(6);
    expect(many[5]).toBe('There are 4 more.');
  });

  it('fields that do not fit together', () => {
    expect(applySettings({ student_width: 24, student_heads: 5 }, DEFAULTS)).toEqual({
      problems: [expect.stringContaining('--student_width is 24 and student_heads is 5.')],
    });
  });
});

test('a path names a folder on this machine, and the setting becomes files, as in a link', () => {
  for (const path of ['./models/mine', '../mine', '/models/mine', '.', '..']) {
    const { settings, places } = parsed('--teacher_model', path, '--student_model', path);
    expect(settings).toEqual({ teacher_model: 'files', student_model: 'files' });
    expect([places.teacherDir, places.studentDir]).toEqual([path, path]);
  }
  const { settings, places } = parsed('--student_dir', 'mine');
  expect([settings, places.studentDir]).toEqual([{ student_model: 'files' }, 'mine']);
});

test('a link gives its settings, and other flags override it', () => {
  expect(parsed('--link', '#v=1&alpha=0.5&temperature=4', '--alpha', '0.25').settings).toEqual({
    alpha: 0.25,
    temperature: 4,
  });
});

test('data takes several files, with the page’s ways of reading them', () => {
  const command = '--data a.csv b.csv --format dialogue --column one --column two --dialogue_id id';
  const { places, placeFlags } = parsed(...command.split(' '), '--data', 'c.csv');
  expect(places.data).toEqual(['a.csv', 'b.csv', 'c.csv']);
  expect(places.reading).toEqual({ format: 'dialogue', columns: ['one', 'two'], dialogueId: 'id' });
  expect(placeFlags).toEqual(['data', 'format', 'column', 'dialogue_id']);
});

test('a resumed run may change its length, its evaluation and the live settings', () => {
  const names = (Object.keys(FIELDS) as FieldName[]).filter(mayChange);
  expect(names).toEqual([
    'router_balance',
    'alpha',
    'temperature',
    'train_steps',
    'student_lr',
    'eval_steps',
    'eval_batches',
    'eval_loss_path',
    'prompt',
    'sample_tokens',
  ]);
});
