// Caches blocks of model files in the browser. If storage is refused or full, loading continues
// without it.

import type { BlockCache } from './http';

const CACHE_NAME = 'stillhouse-models';

/**
 * Blocks in the browser's Cache Storage.
 * @param onRefused called once, with the reason, when blocks cannot be stored
 */
export function browserCache(
  onRefused: (why: string) => void,
  storage = globalThis.caches,
): BlockCache {
  // Cache Storage is keyed by URL. This host cannot exist, so no entry can pass for a real
  // response.
  const request = (key: string) => `https://stillhouse.invalid/${encodeURIComponent(key)}`;
  let cache: Promise<Cache> | undefined;
  let gaveUp = false;
  const attempt = async <T>(work: (cache: Cache) => Promise<T>): Promise<T | undefined> => {
    if (gaveUp) return undefined;
    try {
      if (!storage) throw new Error('this page has no storage; it needs https or localhost');
      cache ??= storage.open(CACHE_NAME);
      return await work(await cache);
    } catch (error) {
      if (!gaveUp) {
        gaveUp = true;
        const full = (error as Error).name === 'QuotaExceededError';
        onRefused(full ? 'the browser’s storage for this page is full' : (error as Error).message);
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
