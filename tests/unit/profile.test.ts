// The profile of a step: how its times are grouped and summed, and which repetition counts.

import { expect, test } from 'vitest';
import { type StepTimes, summarise, timeStep } from '../../src/distill/profile/profile';
import { profileText } from '../../src/distill/profile/profile-text';

const ROOFLINE = { flopsPerSecond: 100e9, bytesPerSecond: 10e9 };
const dispatch = (kernel: string, label: string, nanoseconds: number, flops = 0, bytes = 0) => ({
  kernel,
  label,
  nanoseconds,
  flops,
  bytes,
});

/** A student of two layers and an optimiser, three repetitions; the second was disturbed. */
const TIMES: StepTimes = {
  phases: [
    {
      phase: 'student',
      runsPerStep: 2,
      wallClock: false,
      repetitions: [1, 50, 1].map((slower) => [
        dispatch('matmul', 'h.0.mlp.c_fc', 1001 * slower, 50_000, 3000),
        dispatch('matmul', 'h.1.mlp.c_fc', 2001 * slower, 50_000, 3000),
        dispatch('gelu', 'gelu', 500 * slower, 100, 2000),
        dispatch('matmul', 'h.1.mlp.c_fc dw', 5000 * slower, 50_000, 3000),
        dispatch('matmul', 'h.10.mlp.c_fc dw', 5001 * slower, 50_000, 3000),
        dispatch('copy', 'copy', 0, 0, 10),
      ]),
    },
    {
      phase: 'optimiser',
      runsPerStep: 1,
      wallClock: false,
      repetitions: [7, 9, 8].map((time) => [dispatch('adamw', 'adamw', time * 1000, 400, 20_000)]),
    },
  ],
  step: [0.05, 1, 0.04],
};

test('dispatches are summed by kernel and by kind over all layers, slowest first', () => {
  const report = summarise(TIMES, ROOFLINE);
  const [student, optimiser] = report.phases;
  expect(student.kernels.map(({ name }) => name)).toEqual(['matmul', 'gelu', 'copy']);
  expect(student.kernels[0].kinds).toEqual([
    { name: 'mlp.c_fc dw', dispatches: 4, nanoseconds: 20_002, flops: 200_000, bytes: 12_000 },
    { name: 'mlp.c_fc', dispatches: 4, nanoseconds: 6004, flops: 200_000, bytes: 12_000 },
  ]);
  expect(student.kernels[0]).toMatchObject({
    dispatches: 8,
    nanoseconds: 26_006,
    flops: 400_000,
    bytes: 24_000,
  });
  expect(student).toMatchObject({
    name: 'student',
    dispatches: 12,
    nanoseconds: 27_006,
    bytes: 28_020,
  });
  // Once a step, where the student has two batches; the median of 7, 9 and 8.
  expect(optimiser).toMatchObject({
    name: 'optimiser',
    dispatches: 1,
    nanoseconds: 8000,
    flops: 400,
    bytes: 20_000,
  });
  expect(report).toMatchObject({
    name: 'step',
    dispatches: 13,
    nanoseconds: 35_006,
    flops: 400_600,
    bytes: 48_020,
  });
  expect(report).toMatchObject({ stepMilliseconds: 0.05, repetitions: 3, roofline: ROOFLINE });
  expect(report.quantum).toBeUndefined();
});

test.each([100_000, 65_536])(
  'times rounded to %d ns are detected, and averaged: their median would be 0',
  (quantum) => {
    const repetitions = [0, 1, 0, 0, 1].map((count) => [
      dispatch('gelu', 'gelu', count * quantum),
      dispatch('matmul', 'head', 3 * quantum),
    ]);
    const clock = [[dispatch('teacher', 'teacher', 123)], [dispatch('teacher', 'teacher', 124)]];
    const times: StepTimes = {
      phases: [
        // Wall times are not rounded, and do not hide that the others are.
        { phase: 'teacher', runsPerStep: 1, wallClock: true, repetitions: clock },
        { phase: 'student', runsPerStep: 1, wallClock: false, repetitions },
      ],
      step: [1, 1, 1, 1, 1],
    };
    const report = summarise(times, ROOFLINE);
    expect(report.quantum).toBe(quantum);
    expect(report.phases[1].kernels.map(({ nanoseconds }) => nanoseconds)).toEqual([
      3 * quantum,
      0.4 * quantum,
    ]);
    expect(profileText(report, 'x')).toContain(
      `means of 5 repetitions, timestamps rounded to ${Math.round(quantum / 1000)} µs`,
    );
  },
);

test('the text has one line per row, with rates and their share of the adapter’s best', () => {
  const wallClock = { phase: 'teacher', runsPerStep: 1, wallClock: true } as const;
  const teacher = { ...wallClock, repetitions: [[dispatch('teacher', 'teacher', 4994)]] };
  const report = summarise({ ...TIMES, phases: [teacher, ...TIMES.phases] }, ROOFLINE);
  const lines = profileText(report, 'Some GPU').split('\n');
  expect(lines.slice(0, 4)).toEqual([
    'adapter: Some GPU',
    'a step: 0.040 ms in kernels, 0.050 ms of wall time',
    'best rates: matrix product 100 GFLOP/s, copy 10.0 GB/s',
    'medians of 3 repetitions',
  ]);
  const cells = lines.slice(6).map((line) => line.trim().split(/ {2,}/));
  expect(cells.map(([name]) => name)).toEqual([
    ...['teacher (wall clock)', 'student', 'matmul', 'mlp.c_fc dw', 'mlp.c_fc', 'gelu', 'copy'],
    ...['optimiser', 'adamw'],
  ]);
  // 400,000 operations and 24,000 bytes in 26,006 ns.
  expect(cells[2]).toEqual(['matmul', '8', '0.026', '65.0%', '15.4', '15.4%', '0.923', '9.2%']);
  expect(cells[6]).toEqual(['copy', '2', '0.000', '0.0%', 'n/a', 'n/a']);
});

test('a step and its phases take turns, and stop when the signal is aborted', async () => {
  const calls: string[] = [];
  const step = async () => void calls.push('step');
  const run = async () => {
    calls.push('student');
    return [dispatch('gelu', 'gelu', 1)];
  };
  const stop = new AbortController();
  const phases = [{ phase: 'student' as const, runsPerStep: 1, wallClock: false, run }];
  const times = await timeStep(step, phases, stop.signal);
  expect(times.step.length).toBeGreaterThanOrEqual(3);
  expect(times.phases[0].repetitions).toHaveLength(times.step.length);
  expect(calls.slice(0, 4)).toEqual(['step', 'student', 'step', 'student']);
  const broken = timeStep(async () => stop.abort(new Error('Enough.')), phases, stop.signal);
  await expect(broken).rejects.toThrow('Enough.');
});
