// A model on the Hugging Face hub. If its weights are a pickle, which cannot be read here, the
// hub's converter bot may have offered safetensors in a pull request that nobody merged. The
// weights are then read from that revision.

import type { Digest } from './digest';
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
      digests: once(() => digestsOf(id, commit ?? 'main', host, options.signal)),
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

/** Bytes of the hub's longest answer that is read. */
const MOST_ANSWER = 2 ** 23;

/** A model's path in the hub's addresses. */
const pathOf = (id: string) => id.split('/').map(encodeURIComponent).join('/');

function once<Value>(make: () => Promise<Value>): () => Promise<Value> {
  let made: Promise<Value> | undefined;
  return () => (made ??= make());
}

/** What the hub says of the contents of a model's files; nothing where it says nothing. */
async function digestsOf(
  id: string,
  revision: string,
  host: string,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, Digest>> {
  const tree = `${pathOf(id)}/tree/${encodeURIComponent(revision)}`;
  const address = `${host}/api/models/${tree}?recursive=true`;
  const answer = await downloadJson(address, { signal, most: MOST_ANSWER }).catch(() => undefined);
  signal?.throwIfAborted();
  const digests = new Map<string, Digest>();
  for (const entry of Array.isArray(answer) ? answer : []) {
    const { path, oid, lfs } = (entry ?? {}) as Record<string, unknown>;
    const large = (lfs as { oid?: unknown } | null | undefined)?.oid;
    const [kind, hex] =
      large === undefined ? (['git', oid] as const) : (['sha256', large] as const);
    const isHash = typeof hex === 'string' && /^[0-9a-f]+$/.test(hex);
    if (typeof path === 'string' && isHash && hex.length === (kind === 'git' ? 40 : 64))
      digests.set(path, { kind, hex });
  }
  return digests;
}

/** The number of the converter's latest pull request; undefined if none is listed. */
async function conversionRequest(
  id: string,
  host: string,
  signal?: AbortSignal,
): Promise<number | undefined> {
  const query = `type=pull_request&status=all&author=${CONVERTER}`;
  const address = `${host}/api/models/${pathOf(id)}/discussions?${query}`;
  const answer = await downloadJson(address, { signal, most: MOST_ANSWER }).catch(() => undefined);
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
