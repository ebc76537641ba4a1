// Whether the page is offline and what it has kept, and whether a newer version of it waits.

import { create } from 'zustand';

export interface Connection {
  offline: boolean;
  /** Built-in models that were used here, and so are kept. Known while the page is offline. */
  models: string[];
  /** Reloads the page as the newer version; undefined if there is none. */
  update?: () => void;
}

export const useConnection = create<Connection>()(() => ({ offline: false, models: [] }));

/** Follows the connection, and installs the service worker. */
export async function keepForOffline(): Promise<void> {
  const follow = async () => {
    const offline = !navigator.onLine;
    useConnection.setState({ offline, models: offline ? await keptModels() : [] });
  };
  for (const change of ['online', 'offline']) addEventListener(change, () => void follow());
  await follow();
  // Only pages from a secure origin have it.
  if (!('serviceWorker' in navigator)) return;
  if (import.meta.env.DEV) {
    // The development server has nothing to keep, and a worker left here would hide changes.
    for (const old of await navigator.serviceWorker.getRegistrations()) await old.unregister();
    return;
  }
  const { Workbox } = await import('workbox-window');
  const worker = new Workbox(new URL('service-worker.js', document.baseURI).href);
  worker.addEventListener('waiting', () =>
    useConnection.setState({
      update() {
        worker.addEventListener('controlling', () => location.reload());
        worker.messageSkipWaiting();
      },
    }),
  );
  // What the first visit fetched before its service worker was there.
  worker.addEventListener('activated', ({ isUpdate }) => {
    if (isUpdate) return;
    const urlsToCache = performance.getEntriesByType('resource').map(({ name }) => name);
    void worker.messageSW({ type: 'CACHE_URLS', payload: { urlsToCache } });
  });
  // A browser may refuse, in a private window for example: then nothing is kept.
  await worker.register().catch(() => undefined);
}

/** Names of the built-in models whose weights are kept. */
async function keptModels(): Promise<string[]> {
  if (!('caches' in globalThis)) return [];
  const names = new Set<string>();
  for (const name of await caches.keys()) {
    for (const { url } of await (await caches.open(name)).keys()) {
      const [, model] = /\/models\/([^/]+)\/.*\.(?:safetensors|onnx)$/.exec(url) ?? [];
      if (model && url.startsWith(new URL('.', document.baseURI).href)) names.add(model);
    }
  }
  return [...names].sort();
}
