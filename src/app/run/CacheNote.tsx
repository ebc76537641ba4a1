// The teacher's cache: how many tokens of each position it holds, its bytes, the time to write it,
// and the KL that it loses.

import type { CacheReport } from '../../worker/protocol';
import { formatBytes, formatDuration, formatMeasure } from '../shared/format';
import { useRun } from './store';

export function CacheNote() {
  const cache = useRun((state) => state.run?.report?.cache);
  if (!cache) return null;
  return (
    <div className="cache-note" data-testid="cache">
      <p>{describeCache(cache)}</p>
      {cache.kl && <p>{describeLoss(cache.kl, cache.k)}</p>}
    </div>
  );
}

const elapsed = (seconds: number) =>
  seconds < 60 ? `${seconds.toFixed(1)} s` : formatDuration(seconds);
const integer = (value: number) => value.toLocaleString('en');

function describeCache({ V, k, bytesPerPosition, bytes, seconds, found }: CacheReport): string {
  const tokens =
    k === V ? `all ${integer(V)} tokens` : `the top ${integer(k)} of ${integer(V)} tokens`;
  const sizes = `${integer(bytesPerPosition)} bytes per position, ${formatBytes(bytes)} in total`;
  const when = found
    ? `from an earlier run that wrote it in ${elapsed(seconds)}`
    : `written in ${elapsed(seconds)}`;
  return `The teacher is cached and off the GPU: ${tokens}, ${sizes}, ${when}.`;
}

function describeLoss({ full, kept }: NonNullable<CacheReport['kl']>, k: number): string {
  const share = full > 0 ? ` (${((100 * (full - kept)) / full).toPrecision(2)}%)` : '';
  return (
    `Before training, KL was ${formatMeasure(full)} over all tokens and ` +
    `${formatMeasure(kept)} over the top ${integer(k)} and the tail: ` +
    `${formatMeasure(full - kept)} less${share}. ` +
    'KD and KL of this run use the top tokens and the tail.'
  );
}
