// @vitest-environment jsdom
// Downloading the student and the recipe: offered while a run stands still, progress shown, the
// file saved under the run's name, and a failure said.

import { act, cleanup, render, screen } from '@testing-library/react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { modelFolder } from '../../../src/app/models/store';
import { DownloadStudent } from '../../../src/app/run/DownloadStudent';
import { useRun } from '../../../src/app/run/store';
import type { RunEvent } from '../../../src/worker/protocol';
import {
  asked,
  evaluationRecord,
  freshStore,
  receive,
  reject,
  report,
  resolve,
  status,
  stepRecord,
  stubBrowser,
} from './support';

const id = () => useRun.getState().run?.id ?? '';
const say = (event: RunEvent) => act(() => receive(event));
const press = () => act(() => screen.getByRole('button', { name: 'Download student' }).click());
const text = () => document.body.textContent;

let saved: string[];
beforeEach(() => {
  stubBrowser();
  saved = [];
  vi.spyOn(HTMLAnchorElement.prototype, 'click').mockImplementation(function (
    this: HTMLAnchorElement,
  ) {
    saved.push(this.download);
  });
  vi.stubGlobal(
    'URL',
    Object.assign(URL, { createObjectURL: () => 'blob:1', revokeObjectURL: () => {} }),
  );
  render(<DownloadStudent />);
});
afterEach(() => {
  cleanup();
  freshStore();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

/** A run that stands after these steps. */
function paused(steps: number): void {
  act(() => useRun.getState().start());
  say(status('running'));
  say({ type: 'evaluation', runId: id(), record: evaluationRecord(0) });
  say({
    type: 'steps',
    runId: id(),
    records: Array.from({ length: steps }, (_, i) => stepRecord(i + 1)),
  });
  say({ type: 'changed', runId: id(), step: 3, changes: { temperature: 4 } });
  say(status('paused', steps));
}

test('nothing is offered before a run, nor while one trains', () => {
  expect(screen.queryByRole('button')).toBe(null);
  act(() => useRun.getState().start());
  expect(screen.queryByRole('button')).toBe(null);
  say(status('running'));
  expect(screen.queryByRole('button')).toBe(null);
  say(status('paused', 3));
  expect(screen.getByRole('button', { name: 'Download student' })).toHaveProperty(
    'disabled',
    false,
  );
});

test('the request carries the run’s story: losses, evaluations, changes and link', () => {
  paused(60);
  press();
  const [{ dtype, runId, story }] = asked('export');
  expect([dtype, runId, story.evaluations.length]).toEqual(['float32', id(), 1]);
  expect(story.losses.length).toBe(25);
  expect([story.losses[0].step, story.losses[24].step]).toEqual([2, 60]);
  expect(new Set(story.losses.map(({ step }) => step)).size).toBe(25);
  expect(story.changes).toEqual([{ step: 3, text: 'T 2 → 4' }]);
  expect(story.link).toMatch(/#v=1&temperature=4$/);
});

test('progress is shown and the file saved; a second one can be asked for', async () => {
  paused(2);
  press();
  expect(screen.getByRole('button', { name: 'Download student' })).toHaveProperty('disabled', true);
  const progress = { file: 'onnx/model.onnx', written: 1_200_000, total: 4_000_000 };
  act(() => report('export', progress));
  expect(text()).toContain('Writing onnx/model.onnx: 1.2 MB of 4.0 MB');
  const { id: request } = asked('export')[0];
  await act(() => resolve('export', { name: 'other', zip: new Blob(['x']) }, request - 1));
  expect(saved).toEqual([]);
  await act(() => resolve('export', { name: 'gpt2-2x64', zip: new Blob(['12345']) }));
  expect(saved).toEqual(['gpt2-2x64.zip']);
  expect(screen.getByRole('link').getAttribute('download')).toBe('gpt2-2x64.zip');
  expect(text()).toContain('gpt2-2x64.zip, 5 B.');
  press();
  expect(asked('export').length).toBe(2);
});

test('a failure is said, and the student can be asked for again', async () => {
  paused(2);
  press();
  const failure = {
    operation: 'export the student',
    message: 'ln_f.bias holds NaN.',
    kind: 'model' as const,
  };
  await act(() => reject('export', failure));
  expect(screen.getByRole('alert').textContent).toContain(
    'Could not write the student. ln_f.bias holds NaN.',
  );
  press();
  expect(screen.queryByRole('alert')).toBe(null);
  expect(asked('export').length).toBe(2);
});

test('the recipe is asked for by its run, and saved beside the student', async () => {
  paused(2);
  press();
  await act(() => resolve('export', { name: 'student', zip: new Blob(['12345']) }));
  act(() => screen.getByRole('button', { name: 'Take the recipe' }).click());
  expect(asked('recipe').map(({ runId }) => runId)).toEqual([id()]);
  expect(screen.getByRole('button', { name: 'Download student' })).toHaveProperty('disabled', true);
  await act(() => resolve('recipe', { name: 'recipe-student', zip: new Blob(['1']) }));
  expect(saved).toEqual(['student.zip', 'recipe-student.zip']);
  expect(text()).toContain('recipe-student.zip, 1 B. Its README.md says how to run it.');
  expect(text()).toContain('student.zip, 5 B. Drop it');
});

test('a .zip alone is a model; beside other files it is none', () => {
  const file = (path: string) => ({ path, file: new File([], path.split('/').at(-1) as string) });
  expect(modelFolder([file('Student.ZIP')])).toEqual(new Map([['Student.ZIP', expect.any(File)]]));
  expect(modelFolder([file('a.zip'), file('b.zip')])).toBe(
    'There is no config.json among these 2 files. Drop the model’s whole folder, or its .zip.',
  );
});
