// A run's Doctor: collects its records as they come, and says which verdicts are new. A long run
// keeps its first and its latest steps only, which is what the rules look at.

import type { Config } from '../config';
import type { EvaluationRecord, NonFiniteRecord, StepRecord } from '../distill/records';
import type { Evidence, RunFacts } from './evidence';
import { examine, healthyLine, type Verdict } from './examine';

/** Steps that are kept from the start, and from the end. */
const FIRST = 64;
const LATEST = 512;
/** Steps between two examinations, beside those at each evaluation. */
const EXAMINED_EVERY = 10;

export class Doctor {
  #config: Config;
  readonly #first: StepRecord[] = [];
  #latest: StepRecord[] = [];
  #evaluations: EvaluationRecord[] = [];
  #memory: { step: number; bytes: number }[] = [];
  #nonFinite?: NonFiniteRecord;
  #verdicts: Verdict[];

  constructor(
    config: Config,
    private readonly facts: RunFacts,
  ) {
    this.#config = { ...config };
    this.#verdicts = examine(this.evidence);
  }

  /** What it has seen. */
  get evidence(): Evidence {
    return {
      config: this.#config,
      facts: this.facts,
      steps: [...this.#first, ...this.#latest],
      evaluations: this.#evaluations,
      memory: this.#memory,
      nonFinite: this.#nonFinite,
    };
  }

  /** The verdicts as they stand. */
  get verdicts(): readonly Verdict[] {
    return this.#verdicts;
  }

  /** One sentence: the gravest verdict, or that all is well. */
  get line(): string {
    const [gravest] = this.#verdicts;
    return gravest ? `${gravest.title}. ${gravest.text}` : healthyLine(this.evidence);
  }

  change(changes: Partial<Config>): void {
    Object.assign(this.#config, changes);
  }

  /** Takes in what a continued run did up to the step `last`. */
  recall({ steps, evaluations }: Pick<Evidence, 'steps' | 'evaluations'>, last: number): void {
    for (const record of steps) if (record.step <= last) this.#keep(record);
    this.#evaluations.push(...evaluations.filter(({ step }) => step <= last));
    this.#examine();
  }

  /** @returns the verdicts that did not stand before */
  nonFinite(record: NonFiniteRecord): Verdict[] {
    this.#nonFinite = record;
    return this.#examine();
  }

  memory(step: number, bytes: number): void {
    this.#memory.push({ step, bytes });
  }

  /** @returns the verdicts that did not stand before this step */
  step(record: StepRecord): Verdict[] {
    this.#keep(record);
    return record.step % EXAMINED_EVERY === 0 ? this.#examine() : [];
  }

  /** @returns the verdicts that did not stand before this evaluation */
  evaluation(record: EvaluationRecord): Verdict[] {
    this.#evaluations.push(record);
    return this.#examine();
  }

  #keep(record: StepRecord): void {
    if (this.#first.length < FIRST) this.#first.push(record);
    else this.#latest.push(record);
    // Dropped in blocks, so that a step costs no copy.
    if (this.#latest.length > 2 * LATEST) this.#latest = this.#latest.slice(-LATEST);
  }

  #examine(): Verdict[] {
    const before = new Set(this.#verdicts.map(({ rule }) => rule));
    this.#verdicts = examine(this.evidence);
    return this.#verdicts.filter(({ rule }) => !before.has(rule));
  }
}
