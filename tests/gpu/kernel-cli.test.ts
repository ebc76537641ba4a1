// `npm run kernel` as a process: one kernel against the reference, timed, printed, and again when a
// source changes.

import { type ChildProcess, spawn } from 'node:child_process';
import { utimesSync } from 'node:fs';
import { expect, it } from 'vitest';
import { openTestDevice } from './harness';

const start = (...args: string[]) =>
  spawn(process.execPath, ['src/cli/run.mjs', 'kernel', ...args]);

/** Resolves with both streams' output once it passes the test, or the process has ended. */
function output(child: ChildProcess, test: (text: string) => boolean = () => false) {
  return new Promise<{ text: string; code: number | null }>((resolve) => {
    let text = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (data) => {
        text += data;
        if (test(text)) resolve({ text, code: null });
      });
    }
    child.on('close', (code) => resolve({ text, code }));
  });
}

it('checks a kernel at a context length, times it, and prints its text with places', async () => {
  const { adapter } = await openTestDevice();
  const { text, code } = await output(start('attention', '--T', '70', '--time', '--print'));
  expect(code, text).toBe(0);
  expect(text).toMatch(/attention +B=2 T=70 NH=2 D=8 +contiguous +f32 +\w+ +\S+ +\S+ +passed/);
  expect(text).not.toContain('layernorm');
  expect(text).toMatch(
    /^ +\d+\.\d µs +attention_backward_key +\d+\.\d\d GFLOP\/s, \d+\.\d\d GB\/s$/m,
  );
  const lanes = adapter.subgroupSize >= 4 ? 'software/attention_quads' : 'attention_slices';
  expect(text).toMatch(/^attention\.wgsl \(prelude\):1 +\| /m);
  expect(text).toMatch(new RegExp(`^${lanes}\\.wgsl:\\d+ +\\| fn gather4\\(`, 'm'));
  expect(text).toMatch(/^attention\.wgsl:\d+ +\| fn main\(/m);
});

it('an unknown kernel is answered with the names, and a length with a number', async () => {
  // One after the other: both would build into the same folder.
  for (const args of [['attentoin'], ['attention', '--T', 'long']]) {
    const { text, code } = await output(start(...args));
    expect(code, text).toBe(2);
    expect(text).toContain('NAME is one of matmul, ');
  }
});

it('--watch runs again when a kernel’s file changes', async () => {
  const child = start('expand', '--watch');
  const passes = (text: string) => text.split('Waiting for a change').length - 1;
  const first = await output(child, (text) => passes(text) === 1);
  expect(first.text).toContain(' passed in ');
  const now = new Date();
  utimesSync('src/kernels/expand.wgsl', now, now);
  const second = await output(child, (text) => passes(text) === 1);
  expect(second.text).toContain(' passed in ');
  child.kill('SIGTERM');
}, 120_000);
