// @vitest-environment jsdom
// The Data drawer: new data is read by the worker first, and replaces the data in use only then.

import { act, cleanup, configure, fireEvent, render, screen } from '@testing-library/react';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { DataDrawer } from '../../../src/app/data/DataDrawer';
import { dataObstacle, useData } from '../../../src/app/data/store';
import { useRun } from '../../../src/app/run/store';
import type { DataPreview, Failure, FileReport } from '../../../src/worker/protocol';
import {
  asked as askedFor,
  crash,
  freshStore,
  report as progress,
  reject,
  resolve,
  stubBrowser,
} from './support';

configure({ defaultHidden: true });

const preview: DataPreview = {
  documents: 40,
  heldOutDocuments: 4,
  trainTokens: 9000,
  heldOutTokens: 1000,
  rows: [
    [
      { text: 'the end of one' },
      { text: '<|endoftext|>', end: true },
      { text: 'the start of the next' },
    ],
    [{ text: 'a row of one document' }],
  ],
  batchSize: 8,
  filledShare: 1,
  masked: false,
  endOfText: '<|endoftext|>',
};
const report = (values: Partial<FileReport> = {}): FileReport => ({
  name: 'own.txt',
  documents: 40,
  empty: 0,
  columns: [],
  ...values,
});

const asked = () => askedFor('preview');
/** The worker's answer to the newest request. */
const answer = ({
  files,
  preview: result,
  failure,
}: {
  files: FileReport[];
  preview?: DataPreview;
  failure?: Failure;
}) =>
  act(async () => {
    progress('preview', files);
    if (failure) await reject('preview', failure);
    else await resolve('preview', result);
  });
const press = (name: string) => act(() => screen.getByRole('button', { name }).click());
const drawer = () => document.querySelector('details')?.textContent ?? '';

function file(name: string, text: string): File {
  const made = new File([text], name);
  // jsdom's files cannot be read.
  made.arrayBuffer = async () => new TextEncoder().encode(text).buffer as ArrayBuffer;
  return made;
}
const choose = (...files: File[]) =>
  act(
    async () => void fireEvent.change(screen.getByLabelText('Data files'), { target: { files } }),
  );

beforeEach(() => {
  stubBrowser();
  render(<DataDrawer />);
});
afterEach(() => {
  cleanup();
  freshStore();
  vi.unstubAllGlobals();
});

test('several files go to the worker, and are used once it has read them', async () => {
  await choose(file('a.txt', 'Call me Ishmael.'), file('b.txt', 'Some years ago.'));
  expect(asked()).toMatchObject([
    { corpus: { files: [{ name: 'a.txt' }, { name: 'b.txt' }], reading: { format: 'text' } } },
  ]);
  expect(drawer()).toContain('reading …');
  expect(useRun.getState().corpus).toBeUndefined();
  await answer({
    files: [report({ name: 'a.txt', documents: 1 }), report({ name: 'b.txt', empty: 2 })],
    preview,
  });
  expect(useRun.getState().corpus?.files.map(({ name }) => name)).toEqual(['a.txt', 'b.txt']);
  for (const said of [
    '2 files',
    'a.txt, 16 B, 1 document.',
    'b.txt, 15 B, 40 documents, 2 empty values left out.',
  ]) {
    expect(drawer()).toContain(said);
  }
});

test('the preview shows counts, held-out text and a batch with document boundaries', async () => {
  await choose(file('own.txt', 'x'));
  await answer({ files: [report()], preview });
  for (const said of [
    '10,000',
    '9,000 tokens',
    '1,000 tokens',
    '4 whole documents held out',
    'Shown are the first 2 of 8 rows.',
  ]) {
    expect(drawer()).toContain(said);
  }
  const rows = screen
    .getByRole('region', { name: 'The first batch as text' })
    .querySelectorAll('li');
  expect([...rows].map((row) => row.textContent)).toEqual([
    'the end of one<|endoftext|>the start of the next',
    'a row of one document',
  ]);
  expect(rows[0].querySelector('mark')?.textContent).toBe('<|endoftext|>');
});

test('a refused file shows its problem under its name, and earlier data stays in use', async () => {
  await choose(file('own.txt', 'x'));
  await answer({ files: [report()], preview });
  const earlier = useRun.getState().corpus;
  await choose(file('good.txt', 'x'), file('bad.txt', 'y'));
  await answer({
    files: [
      report({ name: 'good.txt' }),
      report({ name: 'bad.txt', problem: 'bad.txt: not UTF-8.' }),
    ],
  });
  expect(screen.getByRole('alert').textContent).toBe('bad.txt: not UTF-8.');
  expect(drawer()).toContain('Still using own.txt: 2 files cannot be used yet.');
  expect(useRun.getState().corpus).toBe(earlier);
  press('Keep own.txt');
  expect(screen.queryByRole('alert')).toBeNull();
  expect(drawer()).toContain('own.txt, 1 B, 40 documents.');
  press('Use the built-in text again');
  expect(useRun.getState().corpus).toBeUndefined();
  expect(drawer()).toContain('Moby-Dick, which is built in');
});

test('a problem of all files together is shown with a hint, and can be tried again', async () => {
  await choose(file('own.txt', 'x'));
  const failure = {
    operation: 'read the corpus',
    message: '4 tokens are too few.',
    hint: 'Use a longer text.',
  };
  await answer({ files: [report()], failure: { ...failure, kind: 'corpus' } });
  expect(screen.getByRole('alert').textContent).toBe('4 tokens are too few. Use a longer text.');
  press('Read again');
  expect(asked().length).toBe(2);
  await answer({ files: [report()], preview });
  expect(useRun.getState().corpus?.files[0].name).toBe('own.txt');
});

test('a text that is too short offers its context, and no run trains on another one', async () => {
  await choose(file('own.txt', 'x'));
  const obstacle = () => dataObstacle(useData.getState(), useRun.getState().corpus);
  expect(obstacle()).toBe('own.txt is being read.');
  const message = '113 tokens are too few.';
  await answer({
    files: [report()],
    failure: { operation: 'read the corpus', message, kind: 'corpus', longestContext: 10 },
  });
  expect(obstacle()).toBe('own.txt cannot be used yet. See Data.');
  press('Use a context of 10');
  expect(asked().at(-1)?.config.max_length).toBe(10);
  await answer({ files: [report()], preview });
  expect(obstacle()).toBeUndefined();
  expect(useRun.getState().corpus?.files[0].name).toBe('own.txt');
});

test('empty and oversized files never reach the worker', async () => {
  await choose(file('empty.txt', ''));
  expect(drawer()).toContain('empty.txt is empty.');
  const large = file('large.txt', 'x');
  Object.defineProperty(large, 'size', { value: 15_000_000 });
  await choose(large, large);
  expect(drawer()).toContain('These 2 files are 30.0 MB. The limit is 20.0 MB.');
  expect(asked()).toEqual([]);
});

test('a pasted text is a file of its own', () => {
  press('Paste text');
  expect(screen.getByRole('button', { name: 'Use this text' })).toHaveProperty('disabled', true);
  fireEvent.change(screen.getByLabelText('Your text'), {
    target: { value: 'Call me Ishmael. 🐋' },
  });
  press('Use this text');
  const [{ corpus }] = asked();
  expect(corpus?.files[0].name).toBe('pasted.txt');
  expect(new TextDecoder().decode(corpus?.files[0].bytes)).toBe('Call me Ishmael. 🐋');
  expect(screen.queryByLabelText('Your text')).toBeNull();
});

describe('how files are read', () => {
  const columns = ['id', 'context', 'response'];
  const select = (label: string, value: string) =>
    fireEvent.change(screen.getByLabelText(label), { target: { value } });
  const reading = () => asked().at(-1)?.corpus?.reading;

  test('the columns on offer are those of the files, and a choice reads them again', async () => {
    await choose(file('talk.csv', 'id,context,response\n1,a,b'));
    await answer({
      files: [report({ name: 'talk.csv', columns, problem: 'talk.csv: it has no column “text”.' })],
    });
    const options = [...(screen.getByLabelText('Text') as HTMLSelectElement).options].map(
      ({ value }) => value,
    );
    expect(options).toEqual(['text', ...columns]);
    select('Text', 'response');
    expect(reading()).toEqual({ format: 'text', columns: ['response'] });
    await answer({ files: [report({ name: 'talk.csv', columns })], preview });
    expect(useRun.getState().corpus?.reading.columns).toEqual(['response']);

    select('Read as', 'dialogue');
    await answer({
      files: [report({ name: 'talk.csv', columns, problem: 'a list of turns was expected' })],
    });
    select('Turns', 'context');
    await answer({
      files: [report({ name: 'talk.csv', columns, problem: 'a list of turns was expected' })],
    });
    select('Reply', 'response');
    expect(reading()).toEqual({ format: 'dialogue', columns: ['context', 'response'] });
    await answer({ files: [report({ name: 'talk.csv', columns })], preview });
    select('Reply', '');
    await answer({
      files: [report({ name: 'talk.csv', columns, problem: 'a list of turns was expected' })],
    });
    select('Dialogue id', 'id');
    expect(reading()).toEqual({ format: 'dialogue', columns: ['context'], dialogueId: 'id' });
    // While it is read the choices stay where they are, for the keyboard's sake.
    expect(screen.getByLabelText('Dialogue id')).toHaveProperty('disabled', false);
    await answer({ files: [report({ name: 'talk.csv', columns, problem: 'no column' })] });
    // What was in use, and how it was read, comes back.
    press('Keep talk.csv');
    expect(useData.getState().reading).toEqual({
      format: 'dialogue',
      columns: ['context', 'response'],
    });
  });

  test('a .txt has no columns to choose', async () => {
    await choose(file('own.txt', 'x'));
    await answer({ files: [report()], preview });
    expect(screen.queryByLabelText('Text')).toBeNull();
    expect(screen.getByLabelText('Read as')).toBeTruthy();
  });
});

test('the book has a preview too; changed settings ask for another', async () => {
  press('Count tokens and show a batch');
  expect(asked()[0].corpus).toBeUndefined();
  await answer({ files: [], preview: { ...preview, documents: 1, heldOutDocuments: 0 } });
  expect(drawer()).toContain('The end of the document is held out');
  expect(drawer()).toContain(`8 × ${useRun.getState().config.max_length} tokens`);
  act(() => useRun.getState().setField('max_length', '32'));
  expect(screen.queryByRole('region', { name: 'The first batch as text' })).toBeNull();
  press('Count again with these settings');
  expect(asked().length).toBe(2);
});

test('an answer to an earlier request changes nothing', async () => {
  await choose(file('first.txt', 'x'));
  const first = asked()[0].id;
  await choose(file('second.txt', 'y'));
  await act(() => resolve('preview', preview, first));
  expect(useRun.getState().corpus).toBeUndefined();
  await answer({ files: [report()], preview });
  expect(useRun.getState().corpus?.files[0].name).toBe('second.txt');
});

test('a worker that dies leaves the drawer usable', async () => {
  await choose(file('own.txt', 'x'));
  await act(() => crash('out of memory'));
  expect(screen.getByRole('alert').textContent).toContain('out of memory');
  expect(screen.getByRole('button', { name: 'Read again' })).toHaveProperty('disabled', false);
});

test('nothing can change during a run', async () => {
  await choose(file('own.txt', 'x'));
  await answer({ files: [report()], preview });
  act(() => useRun.setState({ phase: 'running' }));
  for (const name of ['Choose files', 'Paste text', 'Use the built-in text again']) {
    expect(screen.getByRole('button', { name })).toHaveProperty('disabled', true);
  }
  expect(screen.getByLabelText('Read as')).toHaveProperty('disabled', true);
  expect(drawer()).toContain('The data cannot change during a run.');
});
