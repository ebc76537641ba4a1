// Work on its way to the queue. Programs and copies come together in one submission until that
// would keep the GPU busy for too long; then it is sent and the next one begun, so that a slow GPU
// can draw the screen in between. A cut lies between two dispatches and changes no result.
//
// How long a dispatch takes is measured in a program's first runs, each dispatch in a submission of
// its own: by the clock and the queue's word that a submission is done, which every adapter has.

import type { Gpu } from './device';
import type { Program } from './program';

/** The first compiles what a driver left for then; the fastest counts. */
const MEASURED_RUNS = 3;

interface Pace {
  runs: number;
  /**
   * Milliseconds of each dispatch in the fastest run. Its sum is that run's time; a single one is
   * as exact as the clock and the page's load.
   */
  fastest: Float64Array;
  total: number;
}

const paces = new WeakMap<Program, Pace>();

export class CommandBatch {
  /** Sent so far; those of a run that is measured are many. */
  submissions = 0;
  #encoder?: GPUCommandEncoder;
  /** Milliseconds that what is not sent yet will take. */
  #expected = 0;
  #measurement?: Promise<void>;
  /** When the dispatch measured last was done. */
  #last = 0;

  constructor(
    private readonly gpu: Gpu,
    private readonly label: string,
  ) {}

  get measured(): boolean {
    return this.#measurement !== undefined;
  }

  /** Takes copies and clears between programs. Ask for it anew each time: a submission ends it. */
  get encoder(): GPUCommandEncoder {
    this.#encoder ??= this.gpu.device.createCommandEncoder({ label: this.label });
    return this.#encoder;
  }

  /** Appends a program, and sends what is too long for one submission. */
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
        this.#send();
        first = i;
      }
      this.#expected += milliseconds;
    }
    program.encode(this.encoder, first);
  }

  /**
   * Sends what is left. Settles at once, unless a program was measured: then with its time, which
   * the next run of it goes by.
   */
  async submit(): Promise<void> {
    this.#send();
    await this.#measurement;
  }

  #send(): void {
    if (!this.#encoder) return;
    this.gpu.device.queue.submit([this.#encoder.finish()]);
    this.#encoder = undefined;
    this.#expected = 0;
    this.submissions++;
  }

  #measure(program: Program): void {
    const times = new Float64Array(program.length);
    this.#send();
    for (let i = 0; i < program.length; i++) {
      program.encode(this.encoder, i, i + 1);
      this.#send();
      const sent = performance.now();
      this.#measurement = this.#whenDone((now) => {
        // One that was sent late did not run from the end of the one before. What was on the queue
        // already counts to the first.
        times[i] = now - Math.max(this.#last, sent);
        this.#last = now;
        if (i === program.length - 1) note(program, times);
      });
    }
  }

  async #whenDone(then: (now: number) => void): Promise<void> {
    try {
      await this.gpu.device.queue.onSubmittedWorkDone();
      then(performance.now());
    } catch {
      // A device that is lost says so elsewhere.
    }
  }
}

function note(program: Program, times: Float64Array): void {
  const pace = paces.get(program) ?? { runs: 0, fastest: times, total: Number.POSITIVE_INFINITY };
  paces.set(program, pace);
  pace.runs++;
  const total = times.reduce((a, b) => a + b);
  if (total < pace.total) Object.assign(pace, { fastest: times, total });
}
