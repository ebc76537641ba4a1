// Commands are cut into submissions by their dispatches' measured times, so that a slow GPU stays
// responsive. No cut changes a bit.

import { afterEach, expect, it, vi } from 'vitest';
import type { Gpu } from '../../src/gpu/device';
import { openTestDevice } from './harness';
import { batchOf, startTrainer, TINY } from './students';

/** A step takes a software adapter some hundred milliseconds, and each dispatch little of that. */
const HEAVY = { ...TINY, vocab_size: 512, n_positions: 64, n_embd: 96, n_layer: 4, n_head: 4 };
const T = 64;
/** A program's first runs, which measure it: see command-batch.ts. */
const MEASURED_RUNS = 3;
const UNCUT = Number.POSITIVE_INFINITY;

const limits = new Map<Gpu, number>();
afterEach(() => {
  vi.restoreAllMocks();
  for (const [gpu, limit] of limits) gpu.submissionMilliseconds = limit;
  limits.clear();
});

async function open(): Promise<Gpu> {
  const gpu = await openTestDevice();
  limits.set(gpu, gpu.submissionMilliseconds);
  return gpu;
}

/** Records when each submission is done, from now on; not an empty one, which only asks again. */
function watch({ device: { queue } }: Gpu) {
  const submit = queue.submit.bind(queue);
  const sent: number[] = [];
  const done: Promise<number>[] = [];
  const spy = vi.spyOn(queue, 'submit').mockImplementation((buffers) => {
    if (Array.from(buffers).length === 0) return submit([]);
    sent.push(performance.now());
    submit(buffers);
    done.push(queue.onSubmittedWorkDone().then(() => performance.now()));
  });
  return {
    /** Milliseconds of each submission, from the end of the one before. */
    async times(): Promise<number[]> {
      const ends = await Promise.all(done);
      spy.mockRestore();
      return ends.map((end, i) => end - Math.max(ends[i - 1] ?? 0, sent[i]));
    },
  };
}

it('cuts a step into submissions of the allowed length, with the same bits as uncut', async () => {
  const gpu = await open();
  // The adapter with f16 is the faster one.
  const B = gpu.adapter.f16 ? 8 : 4;
  const batch = (step: number) => batchOf(HEAVY, B, T, step);
  const train = async (limit: (wall: number) => number, count: number) => {
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
    for (let step = losses.length + 1; steps.length < count; step++) {
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
  const uncut = await train(() => UNCUT, 3);
  const PARTS = 4;
  const cut = await train((wall) => wall / PARTS, 3);
  expect(uncut.steps.map((times) => times.length)).toEqual([1, 1, 1]);
  expect(uncut.wall, 'the step is long enough for a clock of milliseconds').toBeGreaterThan(100);
  // About PARTS: the machine's load now differs from that of the measured runs, and a submission
  // ends before the dispatch that would exceed the limit.
  for (const times of cut.steps) {
    expect(times.length).toBeGreaterThanOrEqual(PARTS / 2);
    expect(times.length).toBeLessThanOrEqual(3 * PARTS);
  }
  // A submission's share of its step, since other load slows down the whole step. The least
  // disturbed step counts.
  const share = (times: number[]) => Math.max(...times) / times.reduce((a, b) => a + b);
  const longest = Math.min(...cut.steps.map(share));
  expect(longest).toBeLessThan(2 / PARTS);
  expect(cut.losses).toEqual(uncut.losses);
  expect(cut.master).toEqual(uncut.master);
  console.log(
    `A step of ${uncut.wall.toFixed(0)} ms in ${cut.steps[0].length} submissions, ` +
      `limit ${cut.limit.toFixed(0)} ms: ` +
      cut.steps.map((times) => times.map((time) => time.toFixed(0)).join(' ')).join(', '),
  );
});

it('first runs submit each dispatch alone; later a short program is one submission', async () => {
  const gpu = await open();
  gpu.submissionMilliseconds = UNCUT;
  const run = await startTrainer(gpu, { batchSize: 2, contextLength: 4 });
  const counts: number[] = [];
  for (let step = 1; step <= MEASURED_RUNS + 2; step++) {
    const watched = watch(gpu);
    await run.step([batchOf(TINY, 2, 4, step)]);
    counts.push((await watched.times()).length);
  }
  // One more for the clears before them, and one for the copies after.
  const measured = run.trainer.dispatches(1) + 2;
  expect(counts).toEqual([measured, measured, measured, 1, 1]);
  await run.end();
});
