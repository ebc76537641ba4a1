// What the run keeps of its teacher: how many words of each position, the bytes and the time that
// took, and what is lost by it.

import type { CacheReport } from '../../worker/protocol';
import { formatBytes, formatDuration, formatMeasure } from '../shared/format';
import { useRun } from './store';

export function CacheNote() {
  const cache = useRun((state) => state.run?.report?.cache);
  useRun((state) => state.commits);
  if (!cache) return null;
  return (
    <div className="cache-note" data-testid="cache">
      <p>{keptText(cache)}</p>
      {cache.kl && <p>{differenceText(cache.kl, cache.k)}</p>}
    </div>
  );
}

const took = (seconds: number) =>
  seconds < 60 ? `${seconds.toFixed(1)} s` : formatDuration(seconds);
const integer = (value: number) => value.toLocaleString('en');

function keptText({ V, k, bytesPerPosition, bytes, seconds, found }: CacheReport): string {
  const words = k === V ? `all ${integer(V)} words` : `${integer(k)} of ${integer(V)} words`;
  const sizes = `${words}, ${integer(bytesPerPosition)} bytes a token, ${formatBytes(bytes)} in all`;
  const when = found
    ? `found from an earlier run, which took ${took(seconds)}`
    : `written in ${took(seconds)}`;
  return `The teacher is cached and has left the GPU: ${sizes}, ${when}.`;
}

function differenceText({ full, kept }: NonNullable<CacheReport['kl']>, k: number): string {
  const share = full > 0 ? ` (${((100 * (full - kept)) / full).toPrecision(2)}%)` : '';
  return (
    `KL before training was ${formatMeasure(full)} over all words, and is ${formatMeasure(kept)} over the ${integer(k)} ` +
    `likeliest and the rest: ${formatMeasure(full - kept)} less${share}. KD and KL of this run are of the second kind.`
  );
}
