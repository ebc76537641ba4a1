// metrics.jsonl: one JSON object per line, first the settings, then every step, evaluation and new
// verdict of the Doctor. JSON has no NaN, so NaN is written as null.

import { appendFileSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { RunStory } from '../distill/export/model-card';
import type { EvaluationRecord, StepRecord } from '../distill/records';
import type { Verdict } from '../doctor/examine';
import { CheckpointError } from './checkpoint';

/** Rows of the model card's table of losses. */
const MOST_LOSSES = 25;

type Line = { type: string; step?: number } & Record<string, unknown>;

export class Metrics {
  /** The latest of each, including those of a run that is resumed. */
  lastStep: StepRecord | undefined;
  lastEvaluation: EvaluationRecord | undefined;
  /** The records of a run that is resumed, up to the checkpoint. */
  readonly before: { steps: StepRecord[]; evaluations: EvaluationRecord[] } = {
    steps: [],
    evaluations: [],
  };

  constructor(private readonly path: string) {}

  /** Starts a new file. */
  begin(settings: object): void {
    writeFileSync(this.path, '');
    this.#write({ type: 'config', ...settings });
  }

  /** Continues after the checkpoint's `step`. Later lines are removed: their steps run again. */
  resume(step: number, settings: object): void {
    const text = existsSync(this.path) ? readFileSync(this.path, 'utf8') : '';
    // If the run was killed, the last line may be incomplete.
    const lines = text.split('\n').slice(0, -1);
    const remaining = lines.filter((line, i) => {
      const record = this.#parse(line, i + 1);
      if ((record.step ?? 0) > step) return false;
      if (record.type === 'step') this.before.steps.push(withNaN(record as unknown as StepRecord));
      if (record.type === 'evaluation')
        this.before.evaluations.push(record as unknown as EvaluationRecord);
      return true;
    });
    this.lastStep = this.before.steps.at(-1);
    this.lastEvaluation = this.before.evaluations.at(-1);
    writeFileSync(`${this.path}.new`, remaining.map((line) => `${line}\n`).join(''));
    renameSync(`${this.path}.new`, this.path);
    this.#write({ type: 'resumed', step, ...settings });
  }

  step(record: StepRecord): void {
    this.lastStep = record;
    this.#write({ type: 'step', ...record });
  }

  evaluation(record: EvaluationRecord): void {
    this.lastEvaluation = record;
    this.#write({ type: 'evaluation', ...record });
  }

  /** What the Doctor found after `step`. */
  verdict(step: number, verdict: Verdict): void {
    this.#write({ type: 'verdict', step, ...verdict });
  }

  /** GPU memory by purpose, in bytes: planned before the run, and measured once it is built. */
  memory(planned: object, measured: object): void {
    this.#write({ type: 'memory', planned, measured });
  }

  /** The run as a model card shows it: every evaluation, and a sample of the steps. */
  story(): RunStory {
    const lines = readFileSync(this.path, 'utf8').trimEnd().split('\n');
    const all = lines.map((line, i) => this.#parse(line, i + 1));
    const steps = all.filter(({ type }) => type === 'step') as unknown as StepRecord[];
    const rows = Math.min(MOST_LOSSES, steps.length);
    const losses = Array.from({ length: rows }, (_, i) => {
      return withNaN(steps[Math.round(((i + 1) * steps.length) / rows) - 1]);
    });
    const evaluations = all.filter(
      ({ type }) => type === 'evaluation',
    ) as unknown as EvaluationRecord[];
    return { evaluations, losses, changes: [] };
  }

  #parse(line: string, number: number): Line {
    try {
      return JSON.parse(line) as Line;
    } catch (cause) {
      throw new CheckpointError(
        `${this.path}: line ${number} is not JSON. Move the file away to continue without it.`,
        { cause },
      );
    }
  }

  #write(line: Line): void {
    appendFileSync(this.path, `${JSON.stringify(line)}\n`);
  }
}

/** A step as it was before JSON made null of its NaN. */
const withNaN = (record: StepRecord): StepRecord => ({
  ...record,
  loss: record.loss ?? Number.NaN,
  ce: record.ce ?? Number.NaN,
  kd: record.kd ?? Number.NaN,
  gradNorm: record.gradNorm ?? Number.NaN,
});
