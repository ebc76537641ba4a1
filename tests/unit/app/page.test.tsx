// @vitest-environment jsdom
// The page as people meet it: one primary button that says what will happen, fields, samples,
// charts with their tables.

import { act, cleanup, configure, fireEvent, render, screen, within } from '@testing-library/react';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { App } from '../../../src/app/App';
import { useRun } from '../../../src/app/run/store';
import { draw } from '../../../src/app/runs/draw';
import { followAddress } from '../../../src/app/shared/address';
import { Guard } from '../../../src/app/shared/Guard';
import { DEFAULTS, FIELDS, type Field, type FieldName } from '../../../src/config';
import { parseJournal } from '../../../src/runs/journal';
import { nameOf } from '../../../src/runs/names';
import type { AdapterReport, FromWorker, RunReport } from '../../../src/worker/protocol';
import {
  evaluationRecord,
  FakeWorker,
  failedEvaluation,
  freshStore,
  receive,
  reject,
  resolve,
  sent,
  status,
  stepRecord,
  stubBrowser,
} from './support';

// Whether each element can be seen is the browser tests' matter, and takes jsdom most of the time.
configure({ defaultHidden: true });

const adapter: AdapterReport = {
  name: 'Test GPU',
  vendor: 'none',
  software: true,
  f16: true,
  subgroupSize: 32,
  timestamps: false,
  maxBindingBytes: 2 ** 27,
};
const report: RunReport = {
  dtype: 'float16',
  teacherParameters: 3_400_000,
  studentParameters: 240_000,
  vocabularySize: 2048,
  tokensPerStep: 512,
  trainTokens: 300_000,
  heldOutTokens: 16_000,
  dispatchesPerStep: 96,
  submissionsPerStep: 1,
};

const store = () => useRun.getState();
const say = (message: FromWorker) => act(() => receive(message));
const settle = () => act(() => new Promise((done) => setTimeout(done, 260)));
const press = (name: string) => act(() => screen.getByRole('button', { name }).click());
const id = () => store().run?.id ?? '';

async function running(): Promise<void> {
  press('Distil');
  say({ type: 'ready', runId: id(), adapter, run: report });
  say({ type: 'evaluation', runId: id(), record: evaluationRecord(0) });
  say(status('running'));
  say({ type: 'steps', runId: id(), records: [stepRecord(1), stepRecord(2)] });
  await settle();
}

function open(options?: Parameters<typeof stubBrowser>[0]): void {
  cleanup();
  stubBrowser(options);
  history.replaceState(null, '', '/');
  render(<App />);
}

beforeEach(() => open());
afterEach(() => {
  cleanup();
  freshStore();
  vi.unstubAllGlobals();
});

test('the primary button says what will happen in every phase', async () => {
  press('Distil');
  expect(screen.getByRole('button', { name: 'Stop loading' })).toBeTruthy();
  say(status('running'));
  press('Pause');
  say(status('paused', 5));
  expect(screen.getByRole('button', { name: 'Continue' })).toBeTruthy();
  press('Step');
  expect(sent().at(-1)).toMatchObject({ type: 'step' });
  say({ type: 'lost', runId: id(), message: 'gone', resumeStep: 4 });
  press('Continue from step 4');
  expect(sent().at(-1)).toMatchObject({ type: 'recover' });
  say(status('running', 4));
  say(status('finished', 200));
  expect(screen.getByRole('button', { name: 'Again, from the same start' })).toBeTruthy();
  act(() => store().setField('seed', '9'));
  expect(screen.getByRole('button', { name: 'Distil' })).toBeTruthy();
});

describe('the recipe', () => {
  test('has a labelled control for every row of the table, and its help', () => {
    for (const name of Object.keys(FIELDS) as FieldName[]) {
      const field: Field = FIELDS[name];
      const control = within(screen.getByTestId(`field-${name}`));
      expect(control.getByText(field.help)).toBeTruthy();
      const input = control.getByRole(field.type === 'choice' ? 'combobox' : 'textbox', {
        hidden: true,
      }) as HTMLInputElement;
      expect(input.value).toBe(String(DEFAULTS[name]));
    }
  });

  test('an invalid value shows its problem, disables the start, and resets with one click', () => {
    const steps = screen.getByLabelText('Steps');
    fireEvent.change(steps, { target: { value: '1.5' } });
    expect(
      within(screen.getByTestId('field-train_steps')).getByRole('alert').textContent,
    ).toContain('train_steps is 1.5');
    expect(screen.getByRole('button', { name: 'Distil' })).toHaveProperty('disabled', true);
    press('Steps: reset to 200');
    expect(within(screen.getByTestId('field-train_steps')).queryByRole('alert')).toBeNull();
    expect(screen.getByRole('button', { name: 'Distil' })).toHaveProperty('disabled', false);
  });

  test('fields that contradict each other are named', () => {
    fireEvent.change(screen.getByLabelText('Student heads'), { target: { value: '3' } });
    expect(
      screen.getAllByText(/student_width is 64 and student_heads is 3/).length,
    ).toBeGreaterThan(0);
    expect(screen.getByRole('button', { name: 'Distil' })).toHaveProperty('disabled', true);
  });

  test('locks all but the live fields during a run', async () => {
    await running();
    expect(screen.getByLabelText('Steps')).toHaveProperty('disabled', true);
    expect(screen.getByLabelText('Temperature, slider')).toHaveProperty('disabled', false);
    expect(
      screen.getByText(
        /During a run only α, T, the learning rate, the prompt and the router balance can/,
      ),
    ).toBeTruthy();
  });
});

describe('a run', () => {
  test('shows the machine, memory, progress and samples', async () => {
    await running();
    const strip = screen.getByRole('region', { name: 'Status' });
    for (const text of [
      /Test GPU/,
      /software/,
      'f16',
      'tok/s',
      '03:10',
      '212 MB',
      '2 applied, 0 skipped',
      '4 tried, 0 failed',
    ]) {
      expect(within(strip).getByText(text)).toBeTruthy();
    }
    expect(screen.getByRole('progressbar', { name: 'Step 2 of 200' })).toBeTruthy();
    const words = screen.getByRole('region', { name: 'What they say' });
    expect(words.textContent).toContain('The whale was white');
    expect(words.textContent).toContain('25% of next tokens agree');
    expect(screen.getByText(/Step 0: Loss=n\/a, PPL=2,000/)).toBeTruthy();
    // As the steps turned out, not as they were planned.
    expect(screen.getByText(/512 targets per step, 96 dispatches in 3 submissions\./)).toBeTruthy();
  });

  test('a speed and a time left are shown only while they are measured', async () => {
    const items = () => screen.getByRole('region', { name: 'Status' }).textContent;
    await running();
    expect(items()).toContain('tok/s');
    expect(items()).toContain('left');
    say(status('paused', 2));
    expect(items()).not.toContain('tok/s');
    expect(items()).not.toContain('left');
    const first = status('running', 2) as Extract<FromWorker, { type: 'status' }>;
    say({ ...first, status: { ...first.status, tokensPerSecond: 0, secondsLeft: undefined } });
    expect(items()).not.toContain('tok/s');
  });

  test('loading says which file and how much', () => {
    press('Distil');
    say({
      type: 'loading',
      runId: id(),
      stage: 'teacher',
      detail: 'onnx/model.onnx',
      loaded: 1_900_000,
      total: 4_100_000,
    });
    expect(screen.getByText('1.9 MB of 4.1 MB')).toBeTruthy();
    expect(screen.getByText('onnx/model.onnx')).toBeTruthy();
    expect(screen.getByRole('progressbar').getAttribute('aria-valuenow')).toBe('46');
  });

  test('a wait has a count and a reason, up to the first step', async () => {
    press('Distil');
    const loading = { type: 'loading', runId: id(), detail: '' } as const;
    const count = { loaded: 3, total: 12 };
    say({ ...loading, ...count, stage: 'compile', unit: 'kernels' });
    expect(screen.getByText('3 of 12 kernels')).toBeTruthy();
    say(status('running'));
    say({ ...loading, ...count, stage: 'evaluate', unit: 'batches' });
    expect(screen.getByText('3 of 12 batches')).toBeTruthy();
    say({ type: 'evaluation', runId: id(), record: evaluationRecord(0) });
    await settle();
    expect(screen.getByRole('progressbar', { name: 'Taking the first step' })).toBeTruthy();
  });

  test('a failed evaluation is counted, and its first error shown in full', async () => {
    await running();
    say({ type: 'evaluation', runId: id(), record: failedEvaluation(2) });
    await settle();
    expect(screen.getByText('4 of 4 evaluation batches failed at step 2.')).toBeTruthy();
    expect(screen.getByText('view: sizes [8, 63, 2048], strides [131072, 2048, 1]')).toBeTruthy();
    expect(screen.getByText('8 tried, 4 failed')).toBeTruthy();
    expect(screen.getByText(/PPL=n\/a \(0 valid tokens\), Success=0.000 \(0 of 4\)/)).toBeTruthy();
  });

  test('a loss that is not finite gets a notice', async () => {
    await running();
    say({
      type: 'steps',
      runId: id(),
      records: [stepRecord(3, { loss: NaN, applied: false, skippedTotal: 1 })],
    });
    await settle();
    expect(screen.getByText('The loss of step 3 is NaN.')).toBeTruthy();
  });

  test('charts have a table, and the arrow keys read any step', async () => {
    await running();
    press('Loss as a table');
    const table = within(screen.getByRole('region', { name: 'Loss, table' })).getAllByRole('row');
    expect(table.map((row) => row.textContent)).toEqual([
      'steptotalCEKDapplied',
      '18.0009.0002.000yes',
      '24.0004.5001.000yes',
    ]);
    const slider = screen.getByRole('slider', { name: 'Gradient norm: step' });
    fireEvent.keyDown(slider, { key: 'Home' });
    fireEvent.keyDown(slider, { key: 'ArrowRight' });
    expect(slider.getAttribute('aria-valuetext')).toBe('step 1: 1.000');
    expect(screen.getByText(/step 1 · total 8.000 · CE 9.000 · KD 2.000/)).toBeTruthy();
  });

  test('lines are labelled at their ends, changes and failures are marked', async () => {
    open({ plots: true });
    await running();
    say({ type: 'changed', runId: id(), step: 2, changes: { alpha: 0.5 } });
    say({ type: 'evaluation', runId: id(), record: failedEvaluation(2) });
    await settle();
    const labels = await screen.findAllByText(/^(total|CE|KD|student|teacher) (n\/a|[\d,.]+)$/);
    expect(labels.map((label) => label.textContent).sort()).toEqual([
      'CE 4.500',
      'KD 1.000',
      'student n/a',
      'teacher 50.0',
      'total 4.000',
    ]);
    expect(screen.getAllByText('α 0.7 → 0.5')).toHaveLength(2);
    expect(document.querySelectorAll('.triangle')).toHaveLength(1);
  });

  test('another run keeps the earlier one behind its own, until it is unticked', () => {
    const trains = () => {
      act(() => store().start());
      say({ type: 'evaluation', runId: id(), record: evaluationRecord(0) });
      say({ type: 'steps', runId: id(), records: [stepRecord(1), stepRecord(2)] });
      say(status('finished', 2));
    };
    trains();
    const first = nameOf(id());
    act(() => store().setField('alpha', '0.2'));
    trains();
    // Totals differ by alpha, so CE is drawn.
    expect(screen.getByLabelText('Loss of the runs behind')).toHaveProperty('value', 'ce');
    const slider = screen.getByLabelText('Loss: step');
    fireEvent.keyDown(slider, { key: 'Home' });
    fireEvent.keyDown(slider, { key: 'ArrowRight' });
    const own = 'step 1: total 8.000 · CE 9.000 · KD 2.000';
    expect(slider.getAttribute('aria-valuetext')).toBe(`${own} · ${first} 9.000`);
    act(() => screen.getByLabelText(`${first}α 0.7`).click());
    expect(slider.getAttribute('aria-valuetext')).toBe(own);
  });

  test('a kept run’s twin is offered beside it, and drawn when it is ticked', async () => {
    await running();
    const kept = parseJournal(
      [
        { type: 'step', ...stepRecord(1, { loss: 7, ce: 7 }) },
        { type: 'twin-step', ...stepRecord(1, { loss: 6, ce: 6 }) },
      ]
        .map((line) => `${JSON.stringify(line)}\n`)
        .join(''),
    );
    const config = { ...DEFAULTS, twin: 'loss=ce' };
    const drawn = draw({ id: 'kept', name: 'Quick Fox', config }, true);
    await act(() => resolve('run', kept));
    await act(() => drawn);
    const slider = screen.getByLabelText('Loss: step');
    fireEvent.keyDown(slider, { key: 'Home' });
    fireEvent.keyDown(slider, { key: 'ArrowRight' });
    expect(slider.getAttribute('aria-valuetext')).toMatch(/Quick Fox 7.000$/);
    act(() => screen.getByLabelText(/^twin of Quick Fox/).click());
    expect(slider.getAttribute('aria-valuetext')).toMatch(/twin of Quick Fox 6.000/);
  });

  test('tokens along the axis: the arrow keys read the step that had seen them', async () => {
    await running();
    fireEvent.change(screen.getByLabelText('Horizontal axis'), { target: { value: 'tokens' } });
    const slider = screen.getByRole('slider', { name: 'Loss: tokens' });
    fireEvent.keyDown(slider, { key: 'Home' });
    fireEvent.keyDown(slider, { key: 'ArrowRight' });
    // 200 steps of 512 tokens in 200 parts.
    expect(slider.getAttribute('aria-valuetext')).toMatch(/^512 tokens: total 8.000/);
  });

  test('a finished run is compared with its start and with the teacher', async () => {
    await running();
    say({
      type: 'evaluation',
      runId: id(),
      record: evaluationRecord(200, { studentPerplexity: 100 }),
    });
    say(status('finished', 200));
    const result = screen.getByTestId('result').textContent;
    expect(result).toContain('perplexity went from 2,000 to 100.0');
    expect(result).toContain('The teacher’s is 50.0: the student’s is 2.0 times that.');
  });
});

describe('states around a run', () => {
  test('without WebGPU the page says what would work, and no run can start', async () => {
    const failure = {
      operation: 'open the GPU',
      message: 'None here.',
      hint: 'Chrome has it.',
      kind: 'no-webgpu' as const,
    };
    await act(async () => {
      void store().probe();
      await reject('probe', failure);
    });
    expect(screen.getByText('This browser has no WebGPU.')).toBeTruthy();
    expect(screen.getByText(/Chrome, Edge, Firefox and Safari have WebGPU/)).toBeTruthy();
    expect(screen.getByRole('link', { name: 'Stride Lab' })).toBeTruthy();
    expect(screen.getByRole('button', { name: 'Distil' })).toHaveProperty('disabled', true);
  });

  test('a failure shows message, hint and stack', () => {
    press('Distil');
    const failure = {
      operation: 'load the teacher',
      message: '1.9 of 4.1 MB.',
      hint: 'Try again.',
      kind: 'model' as const,
      stack: 'at load',
    };
    say({ type: 'failed', runId: id(), failure });
    expect(screen.getByText('Could not load the teacher.')).toBeTruthy();
    expect(screen.getByText('1.9 of 4.1 MB.')).toBeTruthy();
    expect(screen.getByText('at load')).toBeTruthy();
    expect(screen.getByRole('button', { name: 'Try again' })).toBeTruthy();
  });

  test('the recorded run shows its adapter and date; a missing one is no error', async () => {
    const recording = {
      config: DEFAULTS,
      adapter,
      run: report,
      date: '2026-11-23T00:00:00Z',
      records: [stepRecord(1), { ...stepRecord(2), loss: null }],
      evaluations: [evaluationRecord(0)],
    };
    vi.stubGlobal('fetch', async () => ({
      ok: true,
      json: async () => JSON.parse(JSON.stringify(recording)),
    }));
    await act(() => store().showRecording('recorded/austen-teacher.json'));
    const caption = () => screen.getByRole('region', { name: 'Curves' }).textContent;
    expect(caption()).toMatch(/^Recording An example, not your run: 200 steps on Test GPU/);
    expect(caption()).toContain('23 November 2026. Press Distil to start your own.');
    act(() => store().setField('train_steps', '40'));
    expect(caption()).toContain('Your settings are different; it has');
    act(() => store().setField('train_steps', '200'));
    expect(store().run?.history.last()?.loss).toBeNaN();
    // The first run from the same start takes its place, and it stays behind.
    act(() => store().start());
    const behind = () => screen.getByLabelText<HTMLInputElement>(/^recording/);
    expect(behind().checked).toBe(true);
    act(() => store().reset());
    act(() => store().setField('seed', '2'));
    act(() => store().start());
    expect(behind().checked).toBe(false);
    act(freshStore);
    vi.stubGlobal('fetch', async () => ({ ok: false }));
    await act(() => store().showRecording('recorded/austen-teacher.json'));
    expect(screen.getByText(/No recorded run is available/)).toBeTruthy();
  });
});

describe('the link', () => {
  test('opens settings without starting, follows them, and names what it cannot read', async () => {
    history.replaceState(null, '', '/#v=1&alpha=0.5');
    const stop = followAddress();
    expect(store().config.alpha).toBe(0.5);
    expect(FakeWorker.made).toHaveLength(0);
    act(() => store().setField('temperature', '4'));
    await act(() => new Promise((done) => setTimeout(done, 350)));
    expect(location.hash).toBe('#v=1&alpha=0.5&temperature=4');
    stop();
    history.replaceState(null, '', '/#v=1&alpha=7');
    act(() => followAddress()());
    expect(screen.getByText('The link’s settings were not applied.')).toBeTruthy();
    expect(screen.getByText(/alpha is 7/)).toBeTruthy();
    expect(store().config.alpha).toBe(0.5);
  });

  test('that is opened just after a change is not overwritten before its event arrives', () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    history.replaceState(null, '', '/#v=1');
    const stop = followAddress();
    act(() => store().setField('temperature', '4'));
    // jsdom's own event would come later, as a browser's does.
    history.replaceState(null, '', '/#v=1&alpha=0.4');
    act(() => vi.advanceTimersByTime(350));
    expect(location.hash).toBe('#v=1&alpha=0.4');
    act(() => void dispatchEvent(new HashChangeEvent('hashchange')));
    expect(store().config).toMatchObject({ alpha: 0.4, temperature: DEFAULTS.temperature });
    act(() => vi.advanceTimersByTime(350));
    expect(location.hash).toBe('#v=1&alpha=0.4');
    stop();
    vi.useRealTimers();
  });

  test('is copied by one button', async () => {
    const writeText = vi.fn(async () => {});
    Object.defineProperty(navigator, 'clipboard', { value: { writeText }, configurable: true });
    fireEvent.change(screen.getByLabelText('Steps'), { target: { value: '300' } });
    await act(async () => screen.getByRole('button', { name: 'Share' }).click());
    expect(writeText).toHaveBeenCalledWith(`${location.origin}/#v=1&train_steps=300`);
    expect(screen.getByText('Link copied')).toBeTruthy();
  });
});

test('the theme cycles through system, light and dark, and is remembered', () => {
  press('Theme: System. Change to Light');
  press('Theme: Light. Change to Dark');
  expect(document.documentElement.dataset.theme).toBe('dark');
  expect(localStorage.getItem('stillhouse-theme')).toBe('dark');
  press('Theme: Dark. Change to System');
  expect(document.documentElement.dataset.theme).toBeUndefined();
});

test('a part that cannot be drawn says so, and the others stay', () => {
  const log = vi.spyOn(console, 'error').mockImplementation(() => undefined);
  const Broken = () => {
    throw new Error('no such number');
  };
  render(
    <>
      <p>beside it</p>
      <Guard>
        <Broken />
      </Guard>
    </>,
  );
  expect(screen.getByRole('alert').textContent).toMatch(/could not be drawn: .*no such number/);
  screen.getByText('beside it');
  log.mockRestore();
});
