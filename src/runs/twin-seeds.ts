// What a run gained over its twin, over all seeds that were tried. Pure.

import { type Config, FIELDS, type FieldName } from '../config';
import type { SeedsGain } from '../twin-worth';
import type { RunRow } from './row';
import { deviationOf, meanOf } from './sweep-result';

/** They change what is shown, not what is trained. */
const SHOWN_ONLY: readonly FieldName[] = ['seed', 'prompt', 'sample_tokens'];

const sameButSeed = (a: Config, b: Config) =>
  (Object.keys(FIELDS) as FieldName[]).every(
    (name) => SHOWN_ONLY.includes(name) || a[name] === b[name],
  );

type Kept = Pick<RunRow, 'config' | 'state' | 'data' | 'perplexity' | 'twinPerplexity'>;

/**
 * The gain in perplexity of finished runs that differ from `run` in the seed at most, itself
 * included; one run for each seed. Undefined for a single seed.
 * @param rows the newest first
 */
export function gainOverSeeds(run: Kept, rows: readonly Kept[]): SeedsGain | undefined {
  const gains = new Map<number, number>();
  for (const { config, state, data, perplexity, twinPerplexity } of [run, ...rows]) {
    if (state !== 'finished' || data !== run.data || gains.has(config.seed)) continue;
    if (perplexity === undefined || twinPerplexity === undefined) continue;
    if (sameButSeed(config, run.config)) gains.set(config.seed, twinPerplexity - perplexity);
  }
  const values = [...gains.values()];
  const deviation = deviationOf(values);
  if (deviation === undefined) return undefined;
  return { seeds: values.length, mean: meanOf(values), deviation };
}
