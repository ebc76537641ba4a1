// What a session tells the page of its steps: records, a few times a second, and how fast they
// come.

import type { StepRecord } from '../distill/records';
import { post } from './host';

/** The page draws no faster. */
const REPORT_MILLISECONDS = 200;
/** Steps that the speed is averaged over. */
const SPEED_STEPS = 20;
/** A step that is so much longer than those before, and so long, met a machine that slept. */
const SLEPT = { times: 20, milliseconds: 60_000 };

export class RunReports {
  #records: StepRecord[] = [];
  #twinRecords: StepRecord[] = [];
  /** When the last steps ended, by performance.now(). */
  #times: number[] = [];
  #reported = 0;

  constructor(private readonly runId: string) {}

  record(record: StepRecord): void {
    this.#records.push(record);
  }

  twinRecord(record: StepRecord): void {
    this.#twinRecords.push(record);
  }

  /** A step has ended. Returns whether the page should hear of it. */
  tick(): boolean {
    const now = performance.now();
    const [first = now, last = now] = [this.#times[0], this.#times.at(-1)];
    const usual = (last - first) / Math.max(1, this.#times.length - 1);
    if (now - last > Math.max(SLEPT.milliseconds, SLEPT.times * usual)) this.interrupt();
    this.#times = [...this.#times.slice(-SPEED_STEPS), now];
    if (now - this.#reported <= REPORT_MILLISECONDS) return false;
    this.#reported = now;
    return true;
  }

  /** The time until the next step is no step's. */
  interrupt(): void {
    this.#times = [];
  }

  /** 0 until it can be told. */
  get stepsPerSecond(): number {
    const steps = this.#times.length - 1;
    const seconds = steps > 0 ? (this.#times[steps] - this.#times[0]) / 1000 : 0;
    return seconds > 0 ? steps / seconds : 0;
  }

  /** Posts the records that wait. */
  flush(): void {
    if (this.#records.length > 0)
      post({ type: 'steps', runId: this.runId, records: this.#records.splice(0) });
    if (this.#twinRecords.length > 0)
      post({ type: 'twin-steps', runId: this.runId, records: this.#twinRecords.splice(0) });
  }
}
