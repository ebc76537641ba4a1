// Where a step's time goes: the times of its dispatches over several repetitions, grouped by kernel
// and by what the kernel was used for. It knows no GPU; the caller passes what to run.

import type { DispatchCost, DispatchTime } from '../../gpu/program';
import { withoutLayer } from '../../model/parameters';

/** The phases of a step, in the order in which they run. */
export type Phase = 'teacher' | 'student' | 'optimiser';

interface PhaseRuns {
  phase: Phase;
  /** Once for each batch, or once. */
  runsPerStep: number;
  /** Timed as a whole by the wall clock, because its kernels are not ours to measure. */
  wallClock: boolean;
}

/** A phase that can run by itself. */
export interface PhaseToTime extends PhaseRuns {
  run(): Promise<DispatchTime[]>;
}

export interface StepTimes {
  /** Each phase's dispatches, one list per repetition. */
  phases: (PhaseRuns & { repetitions: DispatchTime[][] })[];
  /** Wall time of a whole step, until the GPU is idle, per repetition. Milliseconds. */
  step: number[];
}

/** The best rates measured on this adapter. */
export interface Roofline {
  /** Of our matrix product, for large f32 squares. */
  flopsPerSecond: number;
  /** Of a copy between two large buffers: bytes read plus bytes written. */
  bytesPerSecond: number;
}

export interface Figures extends DispatchCost {
  name: string;
  /** In one step. */
  dispatches: number;
  /** In one step, over all dispatches; flops and bytes likewise. */
  nanoseconds: number;
}

/** Where a step's time goes. Phases come in their order, kernels and kinds slowest first. */
export interface ProfileReport extends Figures {
  phases: (Figures & { wallClock: boolean; kernels: (Figures & { kinds: Figures[] })[] })[];
  /** Median wall time of whole steps. */
  stepMilliseconds: number;
  repetitions: number;
  /** Nanoseconds that the browser rounds timestamps to; absent if they are exact. */
  quantum?: number;
  roofline: Roofline;
}

/** At least 3 repetitions, then as many as fit into 2.5 s, but at most 50. */
const REPETITIONS = { least: 3, most: 50, milliseconds: 2500 };

/** Runs whole steps and each phase by itself, in turn. @throws the reason of an aborted `signal` */
export async function timeStep(
  step: () => Promise<void>,
  phases: readonly PhaseToTime[],
  signal?: AbortSignal,
): Promise<StepTimes> {
  const times: StepTimes = {
    phases: phases.map(({ run: _, ...phase }) => ({ ...phase, repetitions: [] })),
    step: [],
  };
  const started = performance.now();
  for (let done = 0; done < REPETITIONS.most; done++) {
    if (done >= REPETITIONS.least && performance.now() - started > REPETITIONS.milliseconds) break;
    signal?.throwIfAborted();
    const before = performance.now();
    await step();
    times.step.push(performance.now() - before);
    for (const [i, { run }] of phases.entries()) times.phases[i].repetitions.push(await run());
  }
  return times;
}

/**
 * Timestamps with a common divisor of at least so many nanoseconds are rounded: browsers round to
 * 100 µs, or to 2^16 ns.
 */
const LEAST_QUANTUM = 10_000;

function quantumOf(nanoseconds: readonly number[]): number | undefined {
  const common = (a: number, b: number): number => (b === 0 ? a : common(b, a % b));
  const quantum = nanoseconds.reduce(common, 0);
  return quantum >= LEAST_QUANTUM ? quantum : undefined;
}

/** Groups the times by phase, kernel and kind. A kind has the same dispatch of every layer. */
export function summarise({ phases, step }: StepTimes, roofline: Roofline): ProfileReport {
  const stamped = phases
    .filter(({ wallClock }) => !wallClock)
    .flatMap(({ repetitions }) => repetitions.flat());
  const quantum = quantumOf(stamped.map(({ nanoseconds }) => nanoseconds));
  // Most short times are rounded to 0, and so is their median. The mean is right.
  const average = quantum ? mean : median;
  const reports = phases.map(({ phase, runsPerStep, wallClock, repetitions }) => {
    const [first] = repetitions;
    const rows = first.map(({ kernel, label, flops, bytes }, i) => {
      const nanoseconds =
        runsPerStep * average(repetitions.map((dispatches) => dispatches[i].nanoseconds));
      const cost = { flops: runsPerStep * flops, bytes: runsPerStep * bytes };
      return {
        kernel,
        figures: { name: withoutLayer(label), dispatches: runsPerStep, nanoseconds, ...cost },
      };
    });
    const kernels = grouped(rows, ({ kernel }) => kernel).map(([kernel, dispatches]) => {
      const all = dispatches.map(({ figures }) => figures);
      const kinds = grouped(all, ({ name }) => name).map(([name, rows]) => total(name, rows));
      return { ...total(kernel, all), kinds: kinds.sort(slowestFirst) };
    });
    return { ...total(phase, kernels), wallClock, kernels: kernels.sort(slowestFirst) };
  });
  return {
    ...total('step', reports),
    phases: reports,
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
