// A slow GPU stays responsive: work is cut into submissions by what its dispatches took, and no cut
// changes a bit.

import { afterEach, expect, it, vi } from 'vitest';
import type { Gpu } from '../../src/gpu/device';
import { openTestDevice } from './harness';
import { batchOf, startTrainer, TINY } from './students';

/** Takes a software adapter some hundred milliseconds a step; no dispatch is much of that. */
const HEAVY = { ...TINY, vocab_size: 512, n_positions: 64, n_embd: 96, n_layer: 4, n_head: 4 };
const T = 64;
/** Of a program's runs, those that measure it; see command-batch.ts. */
const MEASURED_RUNS = 3;
const UNCUT = Number.POSITIVE_INFINITY;

const limits = new Map<Gpu, number>();
afterEach(() => {
  vi.restoreAllMocks();
  for (const [gpu, own] of limits) gpu.submissionMilliseconds = own;
  limits.clear();
});

async function open(): Promise<Gpu> {
  const gpu = await openTestDevice();
  limits.set(gpu, gpu.submissionMilliseconds);
  return gpu;
}

/** Hears when each submission is done, from now on. */
function watch({ device: { queue } }: Gpu) {
  const submit = queue.submit.bind(queue);
  const sent: number[] = [];
  const done: Promise<number>[] = [];
  const spy = vi.spyOn(queue, 'submit').mockImplementation((buffers) => {
    sent.push(performance.now());
    submit(buffers);
    done.push(queue.onSubmittedWorkDone().then(() => performance.now()));
  });
  return {
    /** Milliseconds that each took, from the end of the one before. */
    async times(): Promise<number[]> {
      const ends = await Promise.all(done);
      spy.mockRestore();
      return ends.map((end, i) => end - Math.max(ends[i - 1] ?? 0, sent[i]));
    },
  };
}

it('cuts a step into submissions of the time that is allowed, and the result is the same bits', async () => {
  const gpu = await open();
  // The adapter with f16 is the faster one.
  const B = gpu.adapter.f16 ? 16 : 4;
  const batch = (step: number) => batchOf(HEAVY, B, T, step);
  const train = async (limit: (wall: number) => number, cut: number) => {
    gpu.submissionMilliseconds = UNCUT;
    const run = await startTrainer(gpu, {
      batchSize: B,
      contextLength: T,
      student: HEAVY,
      loss: 'ce',
    });
    const losses: number[] = [];
    let wall = UNCUT;
    for (let step = 1; step <= MEASURED_RUNS + 2; step++) {
      const start = performance.now();
      losses.push((await run.step([batch(step)])).loss);
      wall = Math.min(wall, performance.now() - start);
    }
    gpu.submissionMilliseconds = limit(wall);
    const steps: number[][] = [];
    for (let step = losses.length + 1; steps.length < cut; step++) {
      const watched = watch(gpu);
      losses.push((await run.step([batch(step)])).loss);
      steps.push(await watched.times());
    }
    const { master } = await run.trainer.snapshot(0);
    await run.end();
    return {
      losses,
      master: new Uint32Array(master),
      wall,
      limit: gpu.submissionMilliseconds,
      steps,
    };
  };
  const whole = await train(() => UNCUT, 3);
  const PARTS = 4;
  const parts = await train((wall) => wall / PARTS, 3);
  expect(whole.steps.map((times) => times.length)).toEqual([1, 1, 1]);
  expect(
    whole.wall,
    'the step is long enough to be cut by a clock of milliseconds',
  ).toBeGreaterThan(100);
  // About as many as asked for: the load that the program was measured under is another than now,
  // and a part ends before the dispatch that would be too much.
  for (const times of parts.steps) {
    expect(times.length).toBeGreaterThanOrEqual(PARTS / 2);
    expect(times.length).toBeLessThanOrEqual(3 * PARTS);
  }
  // Shares of the step: whatever else this machine does makes all of it slower. Of the steps the
  // one that was least disturbed.
  const share = (times: number[]) => Math.max(...times) / times.reduce((a, b) => a + b);
  const longest = Math.min(...parts.steps.map(share));
  expect(longest).toBeLessThan(2 / PARTS);
  expect(parts.losses).toEqual(whole.losses);
  expect(parts.master).toEqual(whole.master);
  console.log(
    `A step of ${whole.wall.toFixed(0)} ms in ${parts.steps[0].length} submissions, limit ${parts.limit.toFixed(0)} ms: ` +
      parts.steps.map((times) => times.map((time) => time.toFixed(0)).join(' ')).join(', '),
  );
});

it('measures a program in its first runs, each dispatch apart, and sends a short one whole from then on', async () => {
  const gpu = await open();
  gpu.submissionMilliseconds = UNCUT;
  const run = await startTrainer(gpu, { batchSize: 2, contextLength: 4 });
  const submit = vi.spyOn(gpu.device.queue, 'submit');
  const counts: number[] = [];
  for (let step = 1; step <= MEASURED_RUNS + 2; step++) {
    submit.mockClear();
    await run.step([batchOf(TINY, 2, 4, step)]);
    counts.push(submit.mock.calls.length);
  }
  // One for the clears before, one for the copies behind.
  const apart = run.trainer.dispatches(1) + 2;
  expect(counts).toEqual([apart, apart, apart, 1, 1]);
  await run.end();
});
