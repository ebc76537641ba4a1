// @vitest-environment jsdom
// The model fields: what the worker is asked and when, how its answers read, dropped folders, and
// how fast a download is.

import { act, cleanup, configure, fireEvent, render, screen, within } from '@testing-library/react';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { App } from '../../../src/app/App';
import { lookUps, modelFolder } from '../../../src/app/models/store';
import { Rate } from '../../../src/app/run/rate';
import { useRun } from '../../../src/app/run/store';
import { UNUSUAL } from '../../../src/app/states/verdicts';
import type { ModelReport } from '../../../src/worker/protocol';
import { asked, crash, freshStore, reject, resolve, stubBrowser } from './support';

configure({ defaultHidden: true });

const REPORT: ModelReport = {
  label: 'org/name',
  engine: 'stillhouse',
  parameters: 81_912_576,
  bytes: 352_824_413,
  vocabularySize: 50257,
  positions: 1024,
  layers: 6,
};

beforeEach(() => {
  stubBrowser();
  render(<App />);
});
afterEach(() => {
  cleanup();
  freshStore();
});

const type = (field: string, value: string) =>
  act(() => {
    const control = within(screen.getByTestId(`field-${field}`)).getByRole('textbox');
    fireEvent.change(control, { target: { value } });
  });
const press = (name: string) => act(() => screen.getByRole('button', { name }).click());

test('the hub is asked only on demand, and an answer belongs to its model', async () => {
  type('teacher_model', 'org/name');
  expect(asked('inspect')).toEqual([]);
  press('Look up the teacher');
  const [question] = asked('inspect');
  expect(question).toMatchObject({ role: 'teacher', reference: 'org/name' });
  expect(screen.getByText('Reading config.json and the headers of the files.')).toBeTruthy();
  await act(() => resolve('inspect', REPORT));
  const facts =
    '81.9M parameters in 6 layers, 353 MB to load. ' +
    'Vocabulary of 50,257 tokens, context of up to 1,024.';
  expect(screen.getByText((text) => text.startsWith(facts))).toBeTruthy();

  type('teacher_model', 'org/other');
  expect(screen.queryByText(/81\.9M parameters in 6 layers/)).toBe(null);
  press('Look up the teacher');
  // The first answer comes again, late.
  await act(() => resolve('inspect', REPORT, question.id));
  expect(screen.getByText('Reading config.json and the headers of the files.')).toBeTruthy();
  const message = 'config.json of org/other: the hub has no such public model (HTTP 401).';
  const failure = { operation: 'look up the model', message, kind: 'model' as const };
  await act(() => reject('inspect', failure));
  expect(screen.getByText(message)).toBeTruthy();
});

test('a worker that dies fails its open requests', async () => {
  type('student_model', 'org/name');
  press('Look up the student');
  await act(() => crash('out of memory'));
  expect(screen.getAllByText(/out of memory/).length).toBeGreaterThan(0);
  expect(lookUps.student.getState().request).toMatchObject({
    status: 'failed',
    failure: { message: 'out of memory' },
  });
});

test('built-in models are not looked up; an impossible name is refused in its field', () => {
  expect(screen.queryByRole('button', { name: 'Look up the teacher' })).toBe(null);
  type('teacher_model', 'https://example.com/gpt2');
  expect(screen.getByTestId('field-teacher_model').textContent).toContain(
    'It must be austen-teacher, moby-teacher, sorting-teacher, files, or a Hugging Face model',
  );
  expect(screen.queryByRole('button', { name: 'Look up the teacher' })).toBe(null);
});

test('a student that starts from weights has no size fields', () => {
  expect(screen.getByTestId('field-student_width')).toBeTruthy();
  type('student_model', 'distilgpt2');
  expect(screen.queryByTestId('field-student_width')).toBe(null);
  type('student_model', 'teacher');
  expect(screen.getAllByText(/List the layers, such as 0,1\./)).toHaveLength(2);
  type('student_from_layers', '0,2');
  expect(screen.getByText('layers 0, 2')).toBeTruthy();
});

test('a pair is taken with its settings, and its student compared with its teacher', async () => {
  press('gpt2 → distilgpt2');
  const { config, base } = useRun.getState();
  expect([config.teacher_model, config.student_model]).toEqual([
    'openai-community/gpt2',
    'distilbert/distilgpt2',
  ]);
  expect(config).toEqual(base);
  expect(screen.getByRole('button', { name: 'gpt2 → distilgpt2', pressed: true })).toBeTruthy();
  expect(asked('inspect')).toEqual([]);
  press('Look up the student');
  expect(asked('inspect')).toMatchObject([
    { role: 'student', reference: 'distilbert/distilgpt2', teacher: 'openai-community/gpt2' },
  ]);
  await act(() => resolve('inspect', REPORT));
  expect(screen.getByText(/Its vocabulary is that of openai-community\/gpt2\.$/)).toBeTruthy();
  // Another teacher, another question.
  type('teacher_model', 'org/other');
  expect(screen.queryByText(/Its vocabulary is that of/)).toBe(null);
});

test('a run cannot start before its files are dropped', () => {
  type('teacher_model', 'files');
  expect(
    screen.getAllByText('Drop the teacher’s folder or .zip on the teacher field first.').length,
  ).toBeGreaterThan(0);
  expect((screen.getByRole('button', { name: 'Distil' }) as HTMLButtonElement).disabled).toBe(true);
});

test('a plan of memory and time belongs to the settings that it was made for', async () => {
  press('Estimate memory and time');
  const plan = {
    memory: { teacher: 1_100_000_000, weights: 500_000_000 },
    verdicts: [],
    largestBuffer: 4_294_967_296,
    atLeast: true,
  };
  const time = { seconds: 190, flopsPerSecond: 2.13e9 };
  await act(() => resolve('plan', { ...plan, time: { ...time, like: 'amber heron' } }));
  const told = screen.getByText(
    /^This run needs 1\.6 GB of GPU memory: teacher 1\.1 GB, weights 500 MB\./,
  ).textContent;
  expect(told).toContain('onnxruntime needs working memory as well.');
  expect(told).toContain('buffers of up to 4.3 GB');
  expect(screen.getByText(/^The Doctor has no objection/)).toBeTruthy();
  expect(
    screen.getByText(
      'It trains for about 03:10, if it computes as fast as “amber heron” did here: 2.130 GFLOP/s.',
    ),
  ).toBeTruthy();
  press('Estimate memory and time');
  await act(() => resolve('plan', { ...plan, time }));
  expect(screen.getByText(/^It trains for at least 03:10, at the 2.130 GFLOP\/s of/)).toBeTruthy();
  press('Estimate memory and time');
  await act(() => resolve('plan', { ...plan, textProblem: '12 tokens are too few.' }));
  expect(screen.getByText(/^How long it trains is unknown/)).toBeTruthy();
  expect(screen.getByText('The text cannot be used. 12 tokens are too few.')).toBeTruthy();
  // What the Doctor proposes is set with one press, and the plan is one of other settings then.
  press('Estimate memory and time');
  const verdicts = [{ ...UNUSUAL, change: { temperature: 4 } }];
  await act(() => resolve('plan', { ...plan, verdicts }));
  expect(screen.getByText(/flattens the teacher/)).toBeTruthy();
  press('Set T 2 → 4');
  expect(useRun.getState().config.temperature).toBe(4);
  expect(screen.queryByText(/flattens the teacher/)).toBe(null);
  type('batch_size', '4');
  expect(screen.queryByText(/^This run takes/)).toBe(null);
  expect(useRun.getState().phase).toBe('idle');
});

test('a model’s folder is the one with config.json', () => {
  const file = (path: string) => ({
    path,
    file: new File(['x'], path.split('/').at(-1) as string),
  });
  const names = (paths: string[]) => {
    const found = modelFolder(paths.map(file));
    return typeof found === 'string' ? found : [...found.keys()];
  };
  const nested = [
    'gpt2/config.json',
    'gpt2/onnx/model.onnx',
    'gpt2/README.md',
    'gpt2/old/config.json',
    'other.json',
  ];
  expect(names(nested)).toEqual(['config.json', 'onnx/model.onnx', 'old/config.json']);
  expect(names(['model.safetensors', 'config.json'])).toEqual(['model.safetensors', 'config.json']);
  expect(names(['a.txt', 'my-config.json'])).toBe(
    'There is no config.json among these 2 files. Drop the model’s whole folder, or its .zip.',
  );
});

test('speed and time left are measured over the last seconds of one file', () => {
  const rate = new Rate();
  expect(rate.tell('a', 0, 0, 10_000_000)).toBe(undefined);
  expect(rate.tell('a', 1, 1_000_000, 10_000_000)).toBe('1.0 MB/s, 00:09 left');
  for (let second = 2; second <= 10; second++)
    rate.tell('a', second, 1_000_000 + (second - 1) * 100_000, 10_000_000);
  expect(rate.tell('a', 11, 2_000_000, 10_000_000)).toBe('100 kB/s, 01:20 left');
  // A stall shows.
  expect(rate.tell('a', 31, 2_000_000, undefined)).toMatch(/^[\d.]+ (B|kB)\/s$/);
  expect(rate.tell('b', 31, 500, 1000)).toBe(undefined);
});
