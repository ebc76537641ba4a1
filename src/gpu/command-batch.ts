// GPU commands on their way to the queue. Programs and copies are batched into one submission until
// it would keep the GPU busy for too long. Then it is submitted and the next one begun, so that a
// slow GPU can draw the screen in between. Cuts lie between dispatches and change no result.
//
// A Program's first runs measure how long its dispatches take. Each dispatch gets a submission of
// its own, timed from the CPU by onSubmittedWorkDone, which every adapter has.

import type { Gpu } from './device';
import type { Program } from './program';

/** Several, since the first run compiles what the driver left until then. The fastest counts. */
const MEASURED_RUNS = 3;

/** What a Program's measured runs have shown so far. */
interface Pace {
  runs: number;
  /** Milliseconds of each dispatch in the fastest run. Only their sum is precise. */
  fastest: Float64Array;
  total: number;
}

const paces = new WeakMap<Program, Pace>();

export class CommandBatch {
  /** Submissions so far. A measured run makes one for each dispatch. */
  submissions = 0;
  #encoder?: GPUCommandEncoder;
  /** Milliseconds that the pending commands are expected to take. */
  #expected = 0;
  #measurement?: Promise<void>;
  /** When the dispatch measured last was done, by performance.now(). */
  #last = 0;

  constructor(
    private readonly gpu: Gpu,
    private readonly label: string,
  ) {}

  /** Whether any of its programs was measured. */
  get measured(): boolean {
    return this.#measurement !== undefined;
  }

  /** For copies and clears between programs. A submission ends it, so get it anew each time. */
  get encoder(): GPUCommandEncoder {
    this.#encoder ??= this.gpu.device.createCommandEncoder({ label: this.label });
    return this.#encoder;
  }

  /** Appends a program, and submits as soon as the pending commands would take too long. */
  run(program: Program): void {
    const pace = paces.get(program);
    if (!pace || pace.runs < MEASURED_RUNS) {
      this.#measure(program);
      return;
    }
    let first = 0;
    for (let i = 0; i < program.length; i++) {
      const milliseconds = pace.fastest[i];
      if (this.#expected > 0 && this.#expected + milliseconds > this.gpu.submissionMilliseconds) {
        if (i > first) program.encode(this.encoder, first, i);
        this.#submit();
        first = i;
      }
      this.#expected += milliseconds;
    }
    program.encode(this.encoder, first);
  }

  /**
   * Submits pending commands. Resolves at once, except in measured runs: then after the dispatch
   * times are known.
   */
  async submit(): Promise<void> {
    this.#submit();
    await this.#measurement;
  }

  #submit(): void {
    if (!this.#encoder) return;
    this.gpu.device.queue.submit([this.#encoder.finish()]);
    this.#encoder = undefined;
    this.#expected = 0;
    this.submissions++;
  }

  #measure(program: Program): void {
    const times = new Float64Array(program.length);
    this.#submit();
    for (let i = 0; i < program.length; i++) {
      program.encode(this.encoder, i, i + 1);
      this.#submit();
      const submitted = performance.now();
      this.#measurement = this.#whenDone((now) => {
        // A dispatch runs from the end of the one before it, or from its submission if that was
        // later. The first one's time includes what was on the queue before.
        times[i] = now - Math.max(this.#last, submitted);
        this.#last = now;
        if (i === program.length - 1) addRun(program, times);
      });
    }
  }

  async #whenDone(then: (now: number) => void): Promise<void> {
    try {
      await this.gpu.idle();
      then(performance.now());
    } catch {
      // The device is lost, which gpu.lost reports.
    }
  }
}

function addRun(program: Program, times: Float64Array): void {
  const pace = paces.get(program) ?? { runs: 0, fastest: times, total: Number.POSITIVE_INFINITY };
  paces.set(program, pace);
  pace.runs++;
  const total = times.reduce((a, b) => a + b);
  if (total < pace.total) Object.assign(pace, { fastest: times, total });
}
