// A model of the hub. Where its own weights are a pickle, which cannot be read here, the hub's
// converter may have offered safetensors as a pull request that nobody merged: that revision's
// weights are then read.

import { downloadJson } from './download';
import { type HttpOptions, httpSource, hubAddress } from './http';
import type { ModelSource } from './source';

const HUB = 'https://huggingface.co';
/**
 * The hub's own account for conversions. Anyone may open a pull request; only this one's are looked
 * at.
 */
const CONVERTER = 'SFconvertbot';

interface HubModel extends Omit<HttpOptions, 'label' | 'address'> {
  /** "org/name", or "name" */
  id: string;
  /** A branch, tag or commit. Without it "main", or the converter's offer. */
  revision?: string;
  host?: string;
}

export function hubSource({ id, revision, host = HUB, ...options }: HubModel): ModelSource {
  const at = (named?: string) =>
    httpSource({
      ...options,
      label: named ? `${id}@${named}` : id,
      address: hubAddress(id, named, host),
    });
  const source = at(revision);
  // Whoever names a revision means it.
  if (revision !== undefined) return source;
  let found: Promise<ModelSource | undefined> | undefined;
  return {
    ...source,
    async converted() {
      found ??= offered(id, host, options.signal).then((pull) =>
        pull === undefined ? undefined : at(`refs/pr/${pull}`),
      );
      return found;
    },
    close() {
      source.close();
      // A search that failed has told whoever asked.
      found?.then(
        (other) => other?.close(),
        () => undefined,
      );
    },
  };
}

/**
 * The number of the converter's latest pull request; undefined if there is none, or the hub does
 * not say.
 */
async function offered(
  id: string,
  host: string,
  signal?: AbortSignal,
): Promise<number | undefined> {
  const path = id.split('/').map(encodeURIComponent).join('/');
  const address = `${host}/api/models/${path}/discussions?type=pull_request&status=all&author=${CONVERTER}`;
  const answer = await downloadJson(address, { signal }).catch(() => undefined);
  signal?.throwIfAborted();
  const listed = (answer as { discussions?: unknown } | undefined)?.discussions;
  if (!Array.isArray(listed)) return undefined;
  const numbers = listed.flatMap(
    (entry: { num?: unknown; author?: { name?: unknown }; isPullRequest?: unknown }) =>
      Number.isInteger(entry?.num) &&
      entry.author?.name === CONVERTER &&
      entry.isPullRequest === true
        ? [entry.num as number]
        : [],
  );
  return numbers.length > 0 ? Math.max(...numbers) : undefined;
}
