// Where a step goes: the times of its dispatches, measured again and again, then grouped by kernel
// and by kind. Knows no GPU: what runs is given.

import type { DispatchCost, DispatchTime } from '../../gpu/program';
import { withoutLayer } from '../../model/parameters';

/** Parts of a step, in the order in which they run. */
export type Part = 'teacher' | 'student' | 'optimiser';

interface PartRuns {
  part: Part;
  /** How often a step runs it: once a batch, or once. */
  times: number;
  /** Its time is the clock's, for its kernels are not ours to measure: one row for all of it. */
  clocked: boolean;
}

/** A part that can be run by itself. */
export interface PartToTime extends PartRuns {
  run(): Promise<DispatchTime[]>;
}

/** What was measured of a step. */
export interface StepTimes {
  /** Each part's dispatches, one list a repetition. */
  parts: (PartRuns & { repetitions: DispatchTime[][] })[];
  /**
   * A whole step by the clock, from its first call to an idle GPU. Milliseconds, one a repetition.
   */
  step: number[];
}

/** What the adapter did at its best, on this device. */
export interface Roofline {
  /** Of our matrix product of large f32 squares. */
  flopsPerSecond: number;
  /** Of a copy between two large buffers, bytes read and bytes written. */
  bytesPerSecond: number;
}

export interface Figures extends DispatchCost {
  name: string;
  /** In one step. */
  dispatches: number;
  /** In one step, all dispatches together; flops and bytes likewise. */
  nanoseconds: number;
}

/** Where a step goes. Rows come in the order of their time, parts in their own. */
export interface ProfileReport extends Figures {
  parts: (Figures & { clocked: boolean; kernels: (Figures & { kinds: Figures[] })[] })[];
  /** The median of whole steps by the clock, milliseconds. */
  stepMilliseconds: number;
  repetitions: number;
  /** Nanoseconds that timestamps are rounded to, as browsers do; absent where they are exact. */
  quantum?: number;
  roofline: Roofline;
}

/** Fewer repetitions say little; more take longer than they are worth, unless a step is short. */
const REPETITIONS = { least: 3, most: 50, milliseconds: 2500 };

/** Takes whole steps, and each part by itself, in turn. @throws what aborts `signal` */
export async function timeStep(
  step: () => Promise<void>,
  parts: readonly PartToTime[],
  signal?: AbortSignal,
): Promise<StepTimes> {
  const times: StepTimes = {
    parts: parts.map(({ run: _, ...part }) => ({ ...part, repetitions: [] })),
    step: [],
  };
  const started = performance.now();
  for (let done = 0; done < REPETITIONS.most; done++) {
    if (done >= REPETITIONS.least && performance.now() - started > REPETITIONS.milliseconds) break;
    signal?.throwIfAborted();
    const before = performance.now();
    await step();
    times.step.push(performance.now() - before);
    for (const [i, { run }] of parts.entries()) times.parts[i].repetitions.push(await run());
  }
  return times;
}

/**
 * Times that are all multiples of so many nanoseconds are rounded ones: browsers take 100 µs, or
 * 2^16 ns.
 */
const LEAST_QUANTUM = 10_000;

function quantumOf(nanoseconds: readonly number[]): number | undefined {
  const common = (a: number, b: number): number => (b === 0 ? a : common(b, a % b));
  const quantum = nanoseconds.reduce(common, 0);
  return quantum >= LEAST_QUANTUM ? quantum : undefined;
}

/**
 * Groups what was measured: `h.3.mlp.c_fc dw` counts with the same product of every other layer.
 */
export function summarise({ parts, step }: StepTimes, roofline: Roofline): ProfileReport {
  const stamped = parts
    .filter(({ clocked }) => !clocked)
    .flatMap(({ repetitions }) => repetitions.flat());
  const quantum = quantumOf(stamped.map(({ nanoseconds }) => nanoseconds));
  // Most roundings of a short time are to nothing, and so is their median; their mean is right.
  const usual = quantum ? mean : median;
  const reports = parts.map(({ part, times, clocked, repetitions }) => {
    const [first] = repetitions;
    const rows = first.map(({ kernel, label, flops, bytes }, i) => {
      const nanoseconds = times * usual(repetitions.map((dispatches) => dispatches[i].nanoseconds));
      const cost = { flops: times * flops, bytes: times * bytes };
      return {
        kernel,
        figures: { name: withoutLayer(label), dispatches: times, nanoseconds, ...cost },
      };
    });
    const kernels = grouped(rows, ({ kernel }) => kernel).map(([kernel, own]) => {
      const all = own.map(({ figures }) => figures);
      const kinds = grouped(all, ({ name }) => name).map(([name, those]) => total(name, those));
      return { ...total(kernel, all), kinds: kinds.sort(slowestFirst) };
    });
    return { ...total(part, kernels), clocked, kernels: kernels.sort(slowestFirst) };
  });
  return {
    ...total('step', reports),
    parts: reports,
    stepMilliseconds: median(step),
    repetitions: step.length,
    quantum,
    roofline,
  };
}

function grouped<T>(rows: readonly T[], key: (row: T) => string): [string, T[]][] {
  const groups = new Map<string, T[]>();
  for (const row of rows) groups.set(key(row), [...(groups.get(key(row)) ?? []), row]);
  return [...groups];
}

function total(name: string, rows: readonly Figures[]): Figures {
  const sum = (of: (row: Figures) => number) => rows.reduce((all, row) => all + of(row), 0);
  return {
    name,
    dispatches: sum((row) => row.dispatches),
    nanoseconds: sum((row) => row.nanoseconds),
    flops: sum((row) => row.flops),
    bytes: sum((row) => row.bytes),
  };
}

const slowestFirst = (a: Figures, b: Figures) => b.nanoseconds - a.nanoseconds;

const mean = (values: readonly number[]) => values.reduce((a, b) => a + b) / values.length;

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The report as a table for a terminal or a bug report. `adapter`: its name. */
export function profileText(report: ProfileReport, adapter: string): string {
  const { roofline, repetitions, quantum, stepMilliseconds } = report;
  const milliseconds = (nanoseconds: number) => (nanoseconds / 1e6).toFixed(3);
  const share = (part: number, whole: number) => `${((100 * part) / whole).toFixed(1)}%`;
  const row = (indent: number, { name, dispatches, nanoseconds, flops, bytes }: Figures) => {
    // Per nanosecond is billions per second. What took no time that a timestamp shows has no rate.
    const rate = (amount: number, best: number) =>
      amount > 0 && nanoseconds > 0
        ? [(amount / nanoseconds).toPrecision(3), share((amount / nanoseconds) * 1e9, best)]
        : ['n/a', ''];
    return [
      ' '.repeat(indent) + name,
      ...[String(dispatches), milliseconds(nanoseconds), share(nanoseconds, report.nanoseconds)],
      ...[...rate(flops, roofline.flopsPerSecond), ...rate(bytes, roofline.bytesPerSecond)],
    ];
  };
  const table = [
    ['', 'dispatches', 'ms', 'share', 'GFLOP/s', 'of peak', 'GB/s', 'of copy'],
    ...report.parts.flatMap((part) => [
      row(0, { ...part, name: part.clocked ? `${part.name} (by the clock)` : part.name }),
      ...(part.clocked ? [] : part.kernels).flatMap((kernel) => [
        row(2, kernel),
        ...(kernel.kinds.length > 1 ? kernel.kinds : []).map((kind) => row(4, kind)),
      ]),
    ]),
  ];
  const widths = table[0].map((_, column) =>
    Math.max(...table.map((cells) => cells[column].length)),
  );
  const lines = table.map((cells) =>
    cells
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column]),
      )
      .join('  ')
      .trimEnd(),
  );
  return [
    `adapter: ${adapter}`,
    `a step: ${milliseconds(report.nanoseconds)} ms in kernels, ${stepMilliseconds.toFixed(3)} ms by the clock`,
    `at best: matrix product ${(roofline.flopsPerSecond / 1e9).toPrecision(3)} GFLOP/s, copy ${(roofline.bytesPerSecond / 1e9).toPrecision(3)} GB/s`,
    quantum
      ? `means of ${repetitions} repetitions, timestamps rounded to ${(quantum / 1000).toFixed(0)} µs`
      : `medians of ${repetitions} repetitions`,
    '',
    ...lines,
  ].join('\n');
}
