// The lines that a run prints, in the style of the script that this project grew from, and figures
// as people read them. Pure.

import type { EvaluationRecord, StepRecord } from '../distill/records';
import type { Purpose } from '../gpu/memory';

/** Steps that the speed is averaged over. */
const SPEED_STEPS = 20;

/** How fast a run is, from when its steps ended. */
export class Pace {
  #times: number[] = [];

  constructor(
    private readonly tokensPerStep: number,
    private readonly steps: number,
  ) {}

  /** A step ended at `milliseconds`. The first call is before any has, and starts the clock. */
  tick(milliseconds: number): void {
    this.#times = [...this.#times.slice(-SPEED_STEPS), milliseconds];
  }

  /** "1,234 tok/s, 03:10 left" after `step`; n/a until a step is done. */
  at(step: number): string {
    const count = this.#times.length - 1;
    const seconds = count > 0 ? (this.#times[count] - this.#times[0]) / 1000 : 0;
    if (seconds <= 0) return 'n/a tok/s, n/a left';
    const speed = (count * this.tokensPerStep) / seconds;
    return `${whole(speed)} tok/s, ${duration(((this.steps - step) * seconds) / count)} left`;
  }
}

/** One step. */
export function stepLine({ step, loss, applied }: StepRecord, pace: string): string {
  return `Step ${step}: Loss=${figure(loss, 4)}${applied ? '' : ' (skipped)'}, ${pace}`;
}

/** One evaluation, with the loss of the step before it: none before training. */
export function evaluationLine(
  record: EvaluationRecord,
  last: StepRecord | undefined,
  pace: string,
): string {
  const { step, tried, succeeded, tokens, studentPerplexity } = record;
  const perplexity =
    studentPerplexity === undefined ? `n/a (${tokens} valid tokens)` : figure(studentPerplexity, 2);
  const success = tried > 0 ? figure(succeeded / tried, 3) : 'n/a';
  const skipped = last && last.skippedTotal > 0 ? `${whole(last.skippedTotal)} skipped, ` : '';
  return (
    `Step ${step}: Loss=${figure(last?.loss, 4)}, PPL=${perplexity}, ` +
    `Success=${success} (${succeeded} of ${tried}), ${skipped}${pace}`
  );
}

/**
 * A number with so many digits behind the point; never clamped, and n/a where there is none:
 * metrics.jsonl has null for NaN.
 */
export function figure(value: number | null | undefined, digits: number): string {
  return typeof value !== 'number' || Number.isNaN(value) ? 'n/a' : value.toFixed(digits);
}

const whole = (value: number) => Math.round(value).toLocaleString('en-US');

/** mm:ss, or h:mm:ss. */
function duration(seconds: number): string {
  const all = Math.round(seconds);
  const two = (value: number) => String(value).padStart(2, '0');
  const [hours, minutes] = [Math.floor(all / 3600), Math.floor(all / 60) % 60];
  return `${hours > 0 ? `${hours}:` : ''}${two(minutes)}:${two(all % 60)}`;
}

/** 1.61 GB, 12.3 MB, 4.5 kB */
function size(bytes: number): string {
  const [unit, name, digits] =
    bytes >= 1e9 ? [1e9, 'GB', 2] : bytes >= 1e6 ? [1e6, 'MB', 1] : [1e3, 'kB', 1];
  return `${(bytes / unit).toFixed(digits)} ${name}`;
}

/** "57.3 MB: weights 12.0 MB, …", largest first. */
export function memoryText(totals: Partial<Record<Purpose, number>>): string {
  const parts = Object.entries(totals).sort(([, a], [, b]) => b - a);
  const sum = parts.reduce((total, [, bytes]) => total + bytes, 0);
  return `${size(sum)}: ${parts.map(([purpose, bytes]) => `${purpose} ${size(bytes)}`).join(', ')}`;
}

/** "model.safetensors of distilgpt2: 120.5 MB of 352.8 MB" */
export function loadedText(
  file: string,
  label: string,
  loaded: number,
  total: number | undefined,
): string {
  return `${file} of ${label}: ${size(loaded)}${total === undefined ? '' : ` of ${size(total)}`}`;
}
