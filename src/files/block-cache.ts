// The browser's own storage for blocks of model files. Where it is refused or full, loading goes on
// without it.

import type { BlockCache } from './http';

const NAME = 'stillhouse-models';

/**
 * Blocks in the browser's Cache Storage.
 * @param refused is told once why nothing is kept any more
 */
export function browserCache(
  refused: (why: string) => void,
  storage = globalThis.caches,
): BlockCache {
  // Cache Storage is keyed by addresses. This host cannot exist, so no entry is ever taken for the
  // hub's.
  const request = (key: string) => `https://stillhouse.invalid/${encodeURIComponent(key)}`;
  let cache: Promise<Cache> | undefined;
  let given = false;
  const attempt = async <T>(work: (cache: Cache) => Promise<T>): Promise<T | undefined> => {
    if (given) return undefined;
    try {
      if (!storage) throw new Error('this page has no storage; it needs https or localhost');
      cache ??= storage.open(NAME);
      return await work(await cache);
    } catch (error) {
      if (!given) {
        given = true;
        const full = (error as Error).name === 'QuotaExceededError';
        refused(full ? 'the browser’s storage for this page is full' : (error as Error).message);
      }
      return undefined;
    }
  };
  return {
    get: (key) =>
      attempt(async (opened) => {
        const response = await opened.match(request(key));
        return response && new Uint8Array(await response.arrayBuffer());
      }),
    put: async (key, bytes) => {
      await attempt((opened) => opened.put(request(key), new Response(bytes)));
    },
  };
}
