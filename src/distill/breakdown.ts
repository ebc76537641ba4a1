// An evaluation's figures in groups of its tokens: KL by place in the context and by how common the
// token is, and the student's calibration. Pure; small, since every evaluation's record holds it.

import type { Batch } from '../data/batches';
import type { TokenFigures } from './evaluate';
import { labelsOf } from './loss-paths';
import type { CalibrationGroup, EvaluationRecord, KlGroup } from './records';

/** Groups of confidence, of equal width. */
const CONFIDENCES = 10;
/** Digits that a figure of a group keeps: its noise is larger. */
const DIGITS = 4;

export class Breakdown {
  readonly #positions = new Groups();
  readonly #frequencies = new Groups();
  readonly #confidences = new Groups();

  /**
   * @param T of the batches
   * @param frequencies (V) how often each token is in the training text
   */
  constructor(
    private readonly T: number,
    private readonly frequencies: Uint32Array,
  ) {}

  add(batch: Batch, { kl, confidence, studentRight }: TokenFigures): void {
    for (const { row, position, token } of labelsOf(batch, this.T)) {
      this.#positions.add(Math.floor(Math.log2(position)), kl[row]);
      const times = this.frequencies[token];
      this.#frequencies.add(times === 0 ? 0 : 1 + Math.floor(Math.log10(times)), kl[row]);
      const group = Math.min(CONFIDENCES - 1, Math.floor(confidence[row] * CONFIDENCES));
      this.#confidences.add(group, confidence[row], studentRight[row]);
    }
  }

  /** The groups for a record of the same evaluation: none that it has no figures for. */
  of({ kl, confidence }: EvaluationRecord): Partial<EvaluationRecord> {
    const klGroups = (groups: Groups, first: (group: number) => number) =>
      groups.means<KlGroup>((group, tokens, [mean]) => [
        first(group),
        first(group + 1) - 1,
        tokens,
        mean,
      ]);
    return {
      ...(Number.isFinite(kl) && {
        klByPosition: klGroups(this.#positions, (group) => 2 ** group),
        klByFrequency: klGroups(this.#frequencies, (group) =>
          group === 0 ? 0 : 10 ** (group - 1),
        ),
      }),
      ...(Number.isFinite(confidence) && {
        calibration: this.#confidences.means<CalibrationGroup>((group, tokens, [mean, right]) => [
          group / CONFIDENCES,
          (group + 1) / CONFIDENCES,
          tokens,
          mean,
          right,
        ]),
      }),
    };
  }
}

/** Sums over the tokens of each group. */
class Groups {
  readonly #sums = new Map<number, { tokens: number; values: number[] }>();

  add(group: number, ...values: number[]): void {
    const sum = this.#sums.get(group) ?? { tokens: 0, values: values.map(() => 0) };
    this.#sums.set(group, {
      tokens: sum.tokens + 1,
      values: sum.values.map((value, i) => value + values[i]),
    });
  }

  /** The means of each group that has a token, the lowest group first. */
  means<Row>(row: (group: number, tokens: number, means: number[]) => Row): Row[] {
    return [...this.#sums]
      .sort(([a], [b]) => a - b)
      .map(([group, { tokens, values }]) => {
        const means = values.map((value) => Number((value / tokens).toPrecision(DIGITS)));
        return row(group, tokens, means);
      });
  }
}
