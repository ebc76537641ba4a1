// The lines that a run prints, in the style of the script that this project grew out of. Pure.

import type { EvaluationRecord, StepRecord } from '../distill/records';
import type { Verdict } from '../doctor/examine';
import { useText } from '../doctor/expert-use';
import type { Purpose } from '../gpu/memory';
import { activeParameters } from '../model/experts';
import type { Architecture } from '../model/family';
import { trainedParameters } from '../model/lora';
import { planArena } from '../model/parameters';

/** Steps that the speed is averaged over. */
const SPEED_STEPS = 20;

/** A run's speed, from the times at which its steps ended. */
export class Pace {
  #times: number[] = [];

  constructor(
    private readonly tokensPerStep: number,
    private readonly steps: number,
  ) {}

  /** Call before the first step, to start the clock, and after each step. */
  tick(milliseconds: number): void {
    this.#times = [...this.#times.slice(-SPEED_STEPS), milliseconds];
  }

  /** "1,234 tok/s, 03:10 left" after `step`; n/a until a step is done. */
  at(step: number): string {
    const count = this.#times.length - 1;
    const seconds = count > 0 ? (this.#times[count] - this.#times[0]) / 1000 : 0;
    if (seconds <= 0) return 'n/a tok/s, n/a left';
    const speed = (count * this.tokensPerStep) / seconds;
    return `${rounded(speed)} tok/s, ${duration(((this.steps - step) * seconds) / count)} left`;
  }
}

/** "1,234 parameters", and what else is to be said of adapters or experts. */
export function learning(student: Architecture): string {
  const { parameters } = planArena(student.parameters);
  const all = rounded(parameters);
  if (student.adapters)
    return (
      `${rounded(trainedParameters(student))} parameters of adapters, ` +
      `beside ${all} frozen ones,`
    );
  if (student.trains) return `${rounded(trainedParameters(student))} of ${all} parameters`;
  const active = activeParameters(student);
  if (active === parameters) return `${all} parameters`;
  return `${all} parameters, ${rounded(active)} of them active per token,`;
}

/** The line for a step. */
export function stepLine({ step, loss, applied }: StepRecord, pace: string): string {
  return `Step ${step}: Loss=${figure(loss, 4)}${applied ? '' : ' (skipped)'}, ${pace}`;
}

/** The line for an evaluation. `last` is the step before it, undefined before training. */
export function evaluationLine(
  record: EvaluationRecord,
  last: StepRecord | undefined,
  pace: string,
): string {
  const { step, tried, succeeded, tokens, studentPerplexity } = record;
  const perplexity =
    studentPerplexity === undefined ? `n/a (${tokens} valid tokens)` : figure(studentPerplexity, 2);
  const success = tried > 0 ? figure(succeeded / tried, 3) : 'n/a';
  const skipped = last && last.skippedTotal > 0 ? `${rounded(last.skippedTotal)} skipped, ` : '';
  const routers =
    last?.routerBalance === undefined
      ? ''
      : `RouterBalance=${figure(last.routerBalance, 4)}, RouterZ=${figure(last.routerZ, 4)}, `;
  return (
    `Step ${step}: Loss=${figure(last?.loss, 4)}, PPL=${perplexity}, ${routers}` +
    `Success=${success} (${succeeded} of ${tried}), ${skipped}${pace}`
  );
}

/** A line for each layer of a student with experts: how an evaluation's tokens used them. */
export const expertLines = ({ experts = [] }: EvaluationRecord): string[] =>
  experts.map((use) => `  ${useText(use)}`);

/** What the Doctor found, and what to do about it, as flags where settings can do it. */
export function verdictLines({ severity, title, text, advice, change }: Verdict): string[] {
  const flags = Object.entries(change ?? {}).map(([name, value]) => `--${name} ${value || "''"}`);
  const next = flags.length > 0 ? ` Try ${flags.join(' ')}.` : '';
  return [`Doctor (${severity}): ${title}. ${text}`, `  ${advice}${next}`];
}

/** A number with `digits` decimals, never clamped. NaN, which metrics.jsonl has as null, is n/a. */
export function figure(value: number | null | undefined, digits: number): string {
  return typeof value !== 'number' || Number.isNaN(value) ? 'n/a' : value.toFixed(digits);
}

const rounded = (value: number) => Math.round(value).toLocaleString('en-US');

/** mm:ss, or h:mm:ss. */
export function duration(seconds: number): string {
  const total = Math.round(seconds);
  const two = (value: number) => String(value).padStart(2, '0');
  const [hours, minutes] = [Math.floor(total / 3600), Math.floor(total / 60) % 60];
  return `${hours > 0 ? `${hours}:` : ''}${two(minutes)}:${two(total % 60)}`;
}

/** 1.61 GB, 12.3 MB, 4.5 kB */
function size(bytes: number): string {
  const [unit, name, digits] =
    bytes >= 1e9 ? [1e9, 'GB', 2] : bytes >= 1e6 ? [1e6, 'MB', 1] : [1e3, 'kB', 1];
  return `${(bytes / unit).toFixed(digits)} ${name}`;
}

/** "57.3 MB: weights 12.0 MB, …", largest first. */
export function memoryText(totals: Partial<Record<Purpose, number>>): string {
  const purposes = Object.entries(totals).sort(([, a], [, b]) => b - a);
  const sum = purposes.reduce((total, [, bytes]) => total + bytes, 0);
  const list = purposes.map(([purpose, bytes]) => `${purpose} ${size(bytes)}`);
  return `${size(sum)}: ${list.join(', ')}`;
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
