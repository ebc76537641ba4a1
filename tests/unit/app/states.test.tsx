// @vitest-environment jsdom
// The designed states: every phase and every notice of the page is among them, each is rendered
// without a worker, and each shows what it is named after.

import { deepStrictEqual } from 'node:assert';
import { act, fireEvent } from '@testing-library/react';
import { createRoot, type Root } from 'react-dom/client';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Phase } from '../../../src/app/run/shown-run';
import { showStates } from '../../../src/app/states/StatesPage';
import { STATES } from '../../../src/app/states/states';
import { FakeWorker, freshStore, stubBrowser } from './support';

let root: Root;
let end = () => {};
const open = (query: string) => {
  end();
  history.replaceState(null, '', `/?${query}`);
  act(() => {
    end = showStates(root);
  });
};
const text = () => document.body.textContent ?? '';

beforeEach(() => {
  stubBrowser();
  vi.stubGlobal('IS_REACT_ACT_ENVIRONMENT', true);
  root = createRoot(document.body.appendChild(document.createElement('div')));
});
afterEach(() => {
  end();
  act(() => root.unmount());
  document.body.replaceChildren();
  history.replaceState(null, '', '/');
  freshStore();
  vi.unstubAllGlobals();
});

test('every phase has a state, and names are unique', () => {
  const phases: Record<Phase, true> = {
    idle: true,
    loading: true,
    running: true,
    paused: true,
    finished: true,
    failed: true,
    lost: true,
  };
  const seen = new Set(STATES.map(({ make }) => make().phase));
  expect([...seen].sort()).toEqual(Object.keys(phases).sort());
  expect(new Set(STATES.map(({ name }) => name)).size).toBe(STATES.length);
});

test('a state is the same each time, and shares nothing that a visit could change', () => {
  for (const { make, name } of STATES) {
    const [first, second] = [make(), make()];
    // Node's own comparison: vitest's takes seconds for so many numbers.
    deepStrictEqual(first, second, name);
    if (first.run) expect(first.run.history).not.toBe(second.run?.history);
  }
});

test.each([
  ['idle', /Recording An example, not your run: .* on NVIDIA/],
  ['no-recording', /No recorded run is available/],
  ['loading', /Loading the teacher.*1\.9 MB of 4\.1 MB.*onnx\/model_fp16\.onnx/],
  ['compiling', /Compiling shaders\s*12 of 41 kernels/],
  ['evaluating', /Evaluating\s*1 of 4 batches/],
  ['running', /Step 140 of 200/],
  ['running,software', /This adapter is a software renderer: \d/],
  [
    'loading,wrong',
    /computes wrong results in float16 with 1 kernel: layernorm.*The check’s table/,
  ],
  ['running,evaluation', /8 of 8 evaluation batches failed at step 140\..*view\(\[-1, 2048\]\)/],
  ['running,loss', /The loss of step 144 is NaN/],
  ['running,skipped', /The last 4 steps were skipped/],
  ['running,change', /Step 140: α 0\.7 → 0\.4/],
  ['running,prompt', /Step 140: Prompt “The whale” → “The sea”/],
  ['running,cache', /The teacher is cached.*64 of 2,048 tokens/],
  ['running,hidden', /The tab was hidden\. In \d+ s the run went from step 140 to step 160/],
  ['again', /behind.*ash ledgerα 0\.2recording/],
  ['experts,collapsed', /The experts do not share the work\..*expert 1 takes 99%/],
  ['twin', /After step 140, the teacher lowered perplexity by .*with the teacher.*without; KL/],
  ['twin-done', /took 1\.6 times as long as one of its twin: .* 320 steps to 200.*Run again/],
  ['idle,sweep-planned', /3 runs: lr 0\.003; lr 0\.006; lr 0\.012\..*Start 3 runs/],
  ['running,sweep', /Sweep of lr run 2 of 3: lr 0\.006.*146\.2.*training.*waiting/],
  [
    'finished,sweep-done',
    /Best is lr 0\.006: held-out perplexity 122\.7, 23\.5 \(16%\) lower than/,
  ],
  ['race', /Yours ended at perplexity 189.6, theirs at 204\.4/],
  ['idle,ghost', /amber heron · Apple M3 Max \(shared\).*reached perplexity 20\d.*Press Distil/],
  ['idle,ghost-differs', /amber heron · .*Your settings differ: α 0\.4\. Remove/],
  ['idle,ghost-damaged', /The link’s run is not shown; its settings are\. It is damaged/],
  ['paused', /Your run, paused/],
  ['finished', /Fair.*perplexity went from 2,040 to/],
  ['idle,offer', /Your run “amber heron” is at step 120 of 200\. Continue from step 120/],
  ['running,storage-full', /not kept at present\..*needs 4,644,352 bytes more\. Delete runs/],
  ['finished,no-storage', /This run lasts until the tab is closed\./],
  ['idle,welcome', /A language model guesses the next token/],
  ['finished,said', /Try it/],
  ['failed', /Could not load the model\..*1\.9 of 4\.1 MB/],
  ['lost', /The GPU device was lost\..*step 140/],
  [
    'lost-again',
    /Could not recover the run\..*no longer gives this page a GPU.*step 140 are saved/,
  ],
  ['lost-early', /no weights to continue from/],
  ['idle,no-webgpu', /This browser has no WebGPU\..*Chrome, Edge, Firefox and Safari/],
  ['idle,offline', /You are offline\..*moby-teacher/],
  ['idle,offline-bare', /You are offline\..*your own files only/],
  ['running,update', /A new version of this page is ready\. It waits/],
  ['idle,no-adapter', /found no usable GPU/],
  ['idle,link', /The link’s settings were not applied\..*alpha is 7/],
  ['idle,draft', /train_steps is 1\.5/],
])('?states=%s shows it, and starts no worker', (name, expected) => {
  open(`states=${name}`);
  expect(text().replaceAll(/\s+/g, ' ')).toMatch(expected);
  expect(FakeWorker.made).toHaveLength(0);
});

test('without a name it lists all states, in both themes; an unknown name is an error', () => {
  open('states');
  expect(document.querySelectorAll('iframe')).toHaveLength(2 * STATES.length);
  expect(document.querySelector('[role=alert]')).toBeNull();
  open('states=nothing');
  expect(document.querySelector('[role=alert]')?.textContent).toContain('“nothing”');
});

test('a student with experts: who takes how much, who is dead, where each token goes', async () => {
  open('states=experts,routed');
  // Both load when they are needed.
  await act(async () => {
    await import('../../../src/app/charts/Experts');
    await import('../../../src/app/learned/LearnedPanel');
  });
  expect(text()).toMatch(/Dead at step 140: .*expert.* of layer 1\. None of 4,032 held-out tokens/);
  const colours = document.querySelector('.colouring select');
  fireEvent.change(colours as Element, { target: { value: '0' } });
  expect(document.querySelector('.expert-legend')?.textContent).toBe('0123');
  const token = document.querySelector('[aria-label="ible, expert 0, KL 4.80 nats"]');
  expect(token?.textContent).toBe('ible0');
});

test('the page follows the address, and leaves nothing of the state before', () => {
  open('states=lost,evaluation');
  expect(text()).toContain('The GPU device was lost.');
  history.replaceState(null, '', '/?states=running');
  act(() => dispatchEvent(new PopStateEvent('popstate')));
  expect(text()).toContain('Your run.');
  expect(text()).not.toContain('lost');
});

test('a theme in the address is shown', () => {
  open('states=paused&theme=dark');
  expect(document.documentElement.dataset.theme).toBe('dark');
  delete document.documentElement.dataset.theme;
});
