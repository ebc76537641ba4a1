// @vitest-environment jsdom
// The Bug Lab's page: the experiments it requests, the reports it shows, when it refuses to run,
// and its links.

import { act, cleanup, configure, fireEvent, render, screen, within } from '@testing-library/react';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { BugLab } from '../../../src/app/bug/BugLab';
import { orderOf } from '../../../src/app/bug/cause-rows';
import { useRun } from '../../../src/app/run/store';
import { followAddress } from '../../../src/app/shared/address';
import type { BugLabColumn } from '../../../src/worker/protocol';
import { attempt, causeReports, columnReports, VIEW_ERROR } from './bug-reports';
import { fail, finish, freshBugLab, loading, report } from './bug-support';
import { asked, receive, sent, status, stubBrowser } from './support';

configure({ defaultHidden: true });

let unfollow = () => {};
const button = (name: string) => screen.getByRole('button', { name });
const press = (name: string) => act(() => button(name).click());
const text = (id: string) => screen.getByTestId(id).textContent ?? '';
const pick = (legend: string, value: string) =>
  act(() =>
    within(screen.getByRole('group', { name: legend }))
      .getByRole('radio', { name: value })
      .click(),
  );
const goTo = (hash: string) =>
  act(() => {
    history.replaceState(null, '', hash);
    dispatchEvent(new HashChangeEvent('hashchange'));
  });
const reportAll = (column: BugLabColumn, shape?: Parameters<typeof columnReports>[1]) => {
  for (const value of columnReports(column, shape)) report(value);
};

beforeEach(() => {
  stubBrowser();
  freshBugLab();
  history.replaceState(null, '', '/#bug=');
  unfollow = followAddress();
  render(<BugLab />);
});
afterEach(() => {
  cleanup();
  unfollow();
  freshBugLab();
  vi.unstubAllGlobals();
});

async function replay(): Promise<void> {
  press('Run the three columns');
  loading('Loading the teacher');
  reportAll('view', { failing: true });
  reportAll('reshape', { bytesCopied: 2_000_000 });
  reportAll('strided');
  await finish();
}

describe('the replay', () => {
  test('requests the chosen experiment and shows the measurements of three columns', async () => {
    expect(text('column-view')).toContain('Not run yet.');
    await replay();
    expect(sent()).toEqual([
      {
        type: 'bug-lab',
        id: asked('bug-lab')[0].id,
        experiment: {
          kind: 'replay',
          batchSize: 4,
          contextLength: 32,
          where: 'evaluation',
          errors: 'swallowed',
        },
      },
    ]);
    expect(text('column-view')).toContain('0 of 8 evaluation batches succeeded.');
    expect(text('column-view')).toContain('Step 2: Loss=4.0000, PPL=10000.0, Success=1.000');
    expect(text('column-view')).toContain('8 tried, 0 succeeded, 8 failed');
    expect(text('column-view')).toContain(VIEW_ERROR);
    expect(text('column-reshape')).toContain('bytes copied4.0 MB');
    expect(text('column-strided')).toContain('bytes copied0 B');
    expect(text('comparison')).toBe(
      'Final perplexity: reshape 666.7 with 4.0 MB copied, strided 666.7 with 0 B copied. They ' +
        'are equal.',
    );
    expect(button('Run the three columns again')).toHaveProperty('disabled', false);
    expect(screen.getByText('The experiment has finished.')).toBeTruthy();
  });

  test('shows with each symptom what was measured, or that nothing was', async () => {
    expect(text('symptom-flat')).toContain('Nothing yet. Run the three columns.');
    await replay();
    expect(text('symptom-flat')).toContain(
      'view: the loss went from 8.0000 to 4.0000 in 2 steps and the weights changed by 3.000%, ' +
        'while 0 of 8 evaluation batches succeeded.',
    );
    expect(text('symptom-flat')).toContain('Evaluation does not train');
    expect(text('symptom-perplexity')).toContain('exp(9.7453) = 17,074');
    expect(text('symptom-perplexity')).toContain(
      'view: n/a (0 valid tokens), printed as 10000.0; reshape: 666.7, printed as 666.7',
    );
    expect(text('symptom-success')).toContain(
      'the script printed Success=1.000, while 0 of 8 evaluation batches succeeded',
    );
    expect(text('symptom-level')).toContain('ln 50,257 = 10.825');
    expect(text('symptom-cost')).toContain('51.1 MB');
    expect(text('symptom-cost')).toContain('strided: 0 B copied');
    expect(text('symptom-quiet')).toContain('Not measured with these options.');
  });

  test('the clamp changes only the printed text; other options ask for another run', async () => {
    await replay();
    pick('Perplexity', 'as measured');
    expect(text('column-view')).toContain('PPL=n/a (0 valid tokens)');
    expect(screen.queryByText(/from other options/)).toBeNull();
    pick('Batch size', '1');
    expect(
      screen.getByText(
        /from other options: batch size 4, context 32, slice in evaluation, errors swallowed/,
      ),
    ).toBeTruthy();
    expect(location.hash).toBe('#bug=replay,batch=1,clamp=off');
    press('Run the three columns again');
    expect(sent().at(-1)).toMatchObject({ experiment: { batchSize: 1 } });
  });

  test('with the slice in training failed steps are counted, yet Success is 1.000', async () => {
    goTo('/#bug=replay,where=training');
    press('Run the three columns');
    expect(asked('bug-lab')[0].experiment).toMatchObject({ where: 'training' });
    const raised = { record: undefined, error: VIEW_ERROR };
    const steps = [attempt(1, raised), attempt(2, raised)];
    reportAll('view', { failing: true, steps, weightChange: 0 });
    reportAll('reshape', { steps: [attempt(1, { bytesCopied: 1_000_000 }), attempt(2)] });
    reportAll('strided');
    await finish();
    expect(text('column-view')).toContain('training steps2 tried, 0 completed, 2 raised');
    expect(text('column-view')).toContain('weights changed by0%');
    expect(text('column-view')).toContain('Step 2: Loss=n/a, PPL=10000.0, Success=1.000');
    expect(text('column-reshape')).toContain('training steps2 tried, 2 completed, 0 raised');
    expect(text('column-strided')).toContain('bytes copied0 B');
  });

  test('at context 2 it is said what view measured there', async () => {
    goTo('/#bug=replay,context=2');
    press('Run the three columns');
    for (const column of ['view', 'reshape', 'strided'] as const) reportAll(column);
    await finish();
    expect(text('symptom-quiet')).toContain('view: 8 of 8');
  });

  test('an uncaught exception stops its column and is shown in full', async () => {
    press('Run the three columns');
    report({
      kind: 'step',
      column: 'view',
      attempt: attempt(1, { record: undefined, error: VIEW_ERROR }),
      totalSteps: 2,
    });
    report({ kind: 'ended', column: 'view', error: VIEW_ERROR });
    reportAll('reshape');
    reportAll('strided');
    await finish();
    expect(text('column-view')).toContain('Raised and stopped before the first step finished.');
    expect(text('column-view')).toContain('Stopped: the exception was not caught.');
    expect(text('column-view')).toContain(VIEW_ERROR);
    expect(screen.getByText(/raised and stopped the script/)).toBeTruthy();
    expect(text('symptom-exception')).toContain(
      'view: raised and stopped; reshape: 8 of 8 batches succeeded',
    );
  });

  test('the listing marks the line that raised, the line that copied, and our kernel', async () => {
    const marked = (path: string) =>
      screen.getByText(path, { selector: 'mark' }).parentElement?.textContent ?? '';
    expect(marked('loss = cross_entropy(logits.view(-1, V), labels.view(-1))')).not.toContain('↳');
    await replay();
    expect(marked('loss = cross_entropy(logits.view(-1, V), labels.view(-1))')).toContain(
      '↳ raised in 8 of 8 batches',
    );
    expect(marked('loss = cross_entropy(logits.reshape(-1, V), labels.reshape(-1))')).toContain(
      '↳ worked, 4.0 MB copied',
    );
    expect(screen.getByText(/worked, 0 B copied/)).toBeTruthy();
    press('whole file');
    expect(screen.getByText(/^\/\/ What an evaluation measures/)).toBeTruthy();
  });

  test('can be stopped, and keeps the reports so far', async () => {
    press('Run the three columns');
    expect(screen.getByText('Loading: requesting the GPU')).toBeTruthy();
    report({ kind: 'step', column: 'view', attempt: attempt(1), totalSteps: 24 });
    press('Stop');
    expect(sent().at(-1)).toEqual({ type: 'bug-lab-stop' });
    expect(button('Stopping')).toHaveProperty('disabled', true);
    await finish();
    expect(screen.getByText('Stopped before every column had finished.')).toBeTruthy();
    expect(text('column-view')).toContain('1 tried, 1 completed, 0 raised');
    expect(text('column-strided')).toContain('Did not run.');
  });

  test('a failure is shown with a hint, and the experiment can be run again', async () => {
    press('Run the three columns');
    const failure = {
      operation: 'run the experiment',
      message: 'The GPU went away.',
      hint: 'Try again.',
      kind: 'internal' as const,
    };
    await fail(failure);
    expect(screen.getByRole('alert').textContent).toBe(
      'Could not run the experiment. The GPU went away. Try again.',
    );
    expect(button('Run the three columns again')).toHaveProperty('disabled', false);
  });

  test('cannot run while a run loads or trains in Distil, and says why', () => {
    act(() => useRun.getState().start());
    expect(button('Run the three columns')).toHaveProperty('disabled', true);
    expect(screen.getByText(/a run is loading in Distil/)).toBeTruthy();
    act(() => receive(status('running')));
    expect(screen.getByText(/a run is training in Distil.*Pause or reset it/)).toBeTruthy();
    act(() => receive(status('paused', 1)));
    expect(button('Run the three columns')).toHaveProperty('disabled', false);
  });

  test('without WebGPU nothing can run, and the page says why', () => {
    act(() =>
      useRun.setState({
        unavailable: {
          operation: 'ask',
          message: 'This browser has no WebGPU.',
          hint: 'Use Chrome.',
          kind: 'no-webgpu',
        },
      }),
    );
    expect(button('Run the three columns')).toHaveProperty('disabled', true);
    expect(
      screen.getByText(
        'No experiment can run on this machine. This browser has no WebGPU. Use Chrome.',
      ),
    ).toBeTruthy();
  });
});

describe('the link', () => {
  test('restores a state; an invalid link only shows its problem', () => {
    goTo('/#bug=replay,context=2,where=training');
    const radio = (legend: string, value: string) =>
      within(screen.getByRole('group', { name: legend })).getByRole('radio', { name: value });
    expect(radio('Context', '2')).toHaveProperty('checked', true);
    expect(radio('Slice in', 'training')).toHaveProperty('checked', true);
    goTo('/#bug=replay,context=3');
    expect(screen.getByRole('alert').textContent).toContain('context is "3". It must be 32 or 2.');
    expect(radio('Context', '2')).toHaveProperty('checked', true);
    press('Dismiss');
    expect(screen.queryByRole('alert')).toBeNull();
    expect(location.hash).toBe('#bug=replay,context=2,where=training');
  });
});

describe('which cause explains this log?', () => {
  async function run(): Promise<void> {
    goTo('/#bug=causes,seed=7');
    press('Run the four causes');
    for (const value of causeReports()) report(value);
    expect(screen.queryByTestId('log-A')).toBeNull();
    await finish();
  }

  test('shows four unlabelled logs, names identical ones, and offers a better log', async () => {
    await run();
    const viewLog = 'ABCD'[orderOf(7).indexOf('view')];
    const others = ['A', 'B', 'C', 'D'].filter((letter) => letter !== viewLog);
    expect(text('identical-logs')).toBe(
      `Logs ${others[0]}, ${others[1]} and ${others[2]} print the same lines. This log cannot ` +
        'tell them apart.',
    );
    expect(text('log-A')).not.toContain('gradient norm');
    act(() => screen.getByRole('checkbox').click());
    expect(location.hash).toBe('#bug=causes,seed=7,log=better');
    const detached = screen.getByTestId(`log-${'ABCD'[orderOf(7).indexOf('detached')]}`);
    expect(within(detached).getByRole('row', { name: '1 6.9000 0 applied 1,024' })).toBeTruthy();
    expect(detached.textContent).toContain('Weights changed by 0%');
  });

  test('takes an answer for each log, then shows which are correct and the evidence', async () => {
    await run();
    const order = orderOf(7);
    expect(button('Check the answers')).toHaveProperty('disabled', true);
    for (const [index, cause] of order.entries()) {
      const value = cause === 'skipped' ? 'view' : cause;
      fireEvent.change(screen.getByLabelText(`Cause of log ${'ABCD'[index]}`), {
        target: { value },
      });
    }
    press('Check the answers');
    expect(screen.getByText('3 of 4 correct.')).toBeTruthy();
    expect(text(`log-${'ABCD'[order.indexOf('skipped')]}`)).toContain(
      'No. Answer: Every step is skipped (loss scale). 2 of 2 steps skipped',
    );
    expect(text(`log-${'ABCD'[order.indexOf('detached')]}`)).toContain(
      'Correct. The loss is detached. The gradient norm is 0',
    );
  });

  test('shuffled, it is a new question with a new link', async () => {
    await run();
    press('Shuffle the logs');
    expect(location.hash).toMatch(/^#bug=causes,seed=\d+$/);
    expect(location.hash).not.toBe('#bug=causes,seed=7');
    expect(button('Check the answers')).toHaveProperty('disabled', true);
  });
});

describe('scrambled heads', () => {
  const tokens = [' the', ' sea', '\n', ' whale'];
  const T = tokens.length;
  /** Each query attends only to itself. */
  const self = Array.from({ length: T * T }, (_, at) => (at % T === Math.floor(at / T) ? 1 : 0));

  async function run(): Promise<void> {
    goTo('/#bug=heads');
    press('Train both');
    for (const column of ['transposed', 'reshaped'] as const) {
      report({ kind: 'attention', column, picture: { layer: 0, tokens, heads: [self, self] } });
      reportAll(column);
    }
    await finish();
  }

  test('shows both losses, both perplexities and every head, as text and as a table', async () => {
    await run();
    pick('Rows and columns', 'tokens the code assumes');
    expect(location.hash).toBe('#bug=heads,axes=claimed');
    expect(text('loss-verdict')).toContain(
      'After 2 steps the losses are 4.000 and 4.000, and the held-out perplexities 666.7 and ' +
        '666.7. Neither run raised an error. The harm is lost context',
    );
    const reshaped = within(screen.getByTestId('heads-reshaped'));
    expect(reshaped.getAllByRole('img')).toHaveLength(2);
    fireEvent.change(screen.getByRole('slider', { name: /Query row/ }), { target: { value: '3' } });
    expect(text('heads-transposed')).toContain('“ whale” attends to “ whale” 1.00.');
    expect(text('heads-reshaped')).toContain(
      'This row is slice 2 of 2 of token 1, “ sea”. The code assumes: “ whale” attends to “ ' +
        'whale” 1.00.',
    );
    act(() => reshaped.getByRole('button', { name: 'Head 0 of reshape as a table' }).click());
    expect(reshaped.getAllByRole('row')[3].textContent).toBe('“⏎”001.000');
  });

  test('by actual tokens, a head sees none of the other heads’ tokens', async () => {
    await run();
    const heads = within(screen.getByTestId('heads-reshaped')).getAllByRole('figure');
    expect(heads[0].textContent).toContain('“ the” attends to “ the” 1.00.');
    expect(heads[1].textContent).toContain('“ the” is not in this head.');
  });
});
