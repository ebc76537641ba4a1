// metrics.jsonl: one JSON a line, the settings first, then every step and every evaluation. A
// number that is none (NaN) is null.

import { appendFileSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { RunStory } from '../distill/export/model-card';
import type { EvaluationRecord, StepRecord } from '../distill/records';
import { CheckpointError } from './checkpoint';

/** Rows of the model card's table of losses. */
const MOST_LOSSES = 25;

type Line = { type: string; step?: number } & Record<string, unknown>;

export class Metrics {
  /** The newest of each, also of the run that is continued. */
  lastStep: StepRecord | undefined;
  lastEvaluation: EvaluationRecord | undefined;

  constructor(private readonly path: string) {}

  /** Begins the file anew. */
  begin(settings: object): void {
    writeFileSync(this.path, '');
    this.#write({ type: 'config', ...settings });
  }

  /**
   * Goes on after `step`: what was recorded beyond it did not make it into the checkpoint, and will
   * come again.
   */
  resume(step: number, settings: object): void {
    const text = existsSync(this.path) ? readFileSync(this.path, 'utf8') : '';
    // The last line may be cut short, where a run was killed.
    const lines = text.split('\n').slice(0, -1);
    const kept = lines.filter((line, i) => {
      const record = this.#parse(line, i + 1);
      if ((record.step ?? 0) > step) return false;
      if (record.type === 'step') this.lastStep = record as unknown as StepRecord;
      if (record.type === 'evaluation') this.lastEvaluation = record as unknown as EvaluationRecord;
      return true;
    });
    writeFileSync(`${this.path}.new`, kept.map((line) => `${line}\n`).join(''));
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

  /**
   * Bytes of GPU memory by purpose: the planner's word, and what was counted once the run was
   * built.
   */
  memory(planned: object, measured: object): void {
    this.#write({ type: 'memory', planned, measured });
  }

  /** What a model card tells of the run: every evaluation, and some of the steps. */
  story(): RunStory {
    const lines = readFileSync(this.path, 'utf8').trimEnd().split('\n');
    const all = lines.map((line, i) => this.#parse(line, i + 1));
    const steps = all.filter(({ type }) => type === 'step') as unknown as StepRecord[];
    const rows = Math.min(MOST_LOSSES, steps.length);
    const losses = Array.from({ length: rows }, (_, i) => {
      const record = steps[Math.round(((i + 1) * steps.length) / rows) - 1];
      return {
        ...record,
        loss: record.loss ?? Number.NaN,
        ce: record.ce ?? Number.NaN,
        kd: record.kd ?? Number.NaN,
      };
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
        `${this.path}: line ${number} is not JSON. Move the file away to go on without it.`,
        {
          cause,
        },
      );
    }
  }

  #write(line: Line): void {
    appendFileSync(this.path, `${JSON.stringify(line)}\n`);
  }
}
