// A model on the Hugging Face hub. If its weights are a pickle, which cannot be read here, the
// hub's converter bot may have offered safetensors in a pull request that nobody merged. The
// weights are then read from that revision.

import { downloadJson } from './download';
import { type HttpOptions, httpSource, hubAddress } from './http';
import type { ModelSource } from './source';

const HUB = 'https://huggingface.co';
/**
 * The hub's conversion account. Anyone can open a pull request; only this account's are trusted.
 */
const CONVERTER = 'SFconvertbot';

interface HubModel extends Omit<HttpOptions, 'label' | 'address'> {
  /** "org/name", or "name" */
  id: string;
  /** A branch, tag or commit. Default: "main", with the converter's weights if needed. */
  revision?: string;
  host?: string;
}

export function hubSource({ id, revision, host = HUB, ...options }: HubModel): ModelSource {
  const at = (commit?: string) =>
    httpSource({
      ...options,
      label: commit ? `${id}@${commit}` : id,
      address: hubAddress(id, commit, host),
    });
  const source = at(revision);
  // A named revision is read as it is, without the converter's weights.
  if (revision !== undefined) return source;
  let conversion: Promise<ModelSource | undefined> | undefined;
  return {
    ...source,
    async converted() {
      conversion ??= conversionRequest(id, host, options.signal).then((pull) =>
        pull === undefined ? undefined : at(`refs/pr/${pull}`),
      );
      return conversion;
    },
    close() {
      source.close();
      // If the search failed, converted() has already thrown the error.
      conversion?.then(
        (other) => other?.close(),
        () => undefined,
      );
    },
  };
}

/** The number of the converter's latest pull request; undefined if none is listed. */
async function conversionRequest(
  id: string,
  host: string,
  signal?: AbortSignal,
): Promise<number | undefined> {
  const path = id.split('/').map(encodeURIComponent).join('/');
  const query = `type=pull_request&status=all&author=${CONVERTER}`;
  const address = `${host}/api/models/${path}/discussions?${query}`;
  const answer = await downloadJson(address, { signal }).catch(() => undefined);
  signal?.throwIfAborted();
  const discussions = (answer as { discussions?: unknown } | undefined)?.discussions;
  if (!Array.isArray(discussions)) return undefined;
  const numbers = discussions.flatMap(
    (entry: { num?: unknown; author?: { name?: unknown }; isPullRequest?: unknown }) =>
      Number.isInteger(entry?.num) &&
      entry.author?.name === CONVERTER &&
      entry.isPullRequest === true
        ? [entry.num as number]
        : [],
  );
  return numbers.length > 0 ? Math.max(...numbers) : undefined;
}
