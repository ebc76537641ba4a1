// The service worker, which makes the page work offline. It keeps the page itself when it is
// installed, and whatever else the page fetches from its own folder once it is used: models, texts,
// the recorded run, onnxruntime's WebAssembly. build.ts builds it into the page's folder.
//
// A new version waits until the page asks for it, or every tab of the old one is closed.

import { clientsClaim } from 'workbox-core';
import {
  cleanupOutdatedCaches,
  createHandlerBoundToURL,
  precacheAndRoute,
} from 'workbox-precaching';
import { NavigationRoute, registerRoute } from 'workbox-routing';
import { CacheFirst, NetworkFirst } from 'workbox-strategies';

declare const self: ServiceWorkerGlobalScope;
/** Scripts and styles; a name without a hash of its content has a revision. */
declare const PAGE_FILES: { url: string; revision: string | null }[];
/** Large files that are kept once they are used; their names have hashes of their contents. */
declare const LARGE_FILES: string[];

const LARGE = 'large files';
const USED = 'used files';

precacheAndRoute(PAGE_FILES);
cleanupOutdatedCaches();
// The page is one document, whatever its query.
registerRoute(
  new NavigationRoute(createHandlerBoundToURL('index.html'), {
    allowlist: [/\/(index\.html)?(\?.*)?$/],
  }),
);

const scope = new URL(self.registration.scope);
const isLarge = (url: URL) => LARGE_FILES.some((file) => new URL(file, scope).href === url.href);
const isOurs = (url: URL) => url.href.startsWith(scope.href);

registerRoute(({ url }) => isLarge(url), new CacheFirst({ cacheName: LARGE }));
// A model or a text may be replaced under its name, so the server comes first. The page reads
// models in ranges, and only a whole file can be kept: the page takes that, too. It is asked for as
// a range, since a server may compress other answers, and then does not tell their length.
registerRoute(
  ({ url }) => isOurs(url),
  new NetworkFirst({
    cacheName: USED,
    plugins: [
      {
        requestWillFetch: async ({ request }) =>
          request.headers.has('range')
            ? new Request(request.url, {
                headers: { range: 'bytes=0-' },
                signal: request.signal,
                cache: request.cache,
              })
            : request,
        fetchDidSucceed: async ({ response }) => wholeOf(response),
        // That a folder lacks a file is worth keeping, too: some are optional.
        cacheWillUpdate: async ({ response }) =>
          response.status === 200 || response.status === 404 ? response : null,
      },
    ],
  }),
);

/** The answer for a range that is the whole file, as that for the file. */
function wholeOf(response: Response): Response {
  const [, last, size] =
    /^bytes 0-(\d+)\/(\d+)$/.exec(response.headers.get('content-range') ?? '') ?? [];
  if (response.status !== 206 || Number(last) + 1 !== Number(size)) return response;
  const headers = new Headers(response.headers);
  headers.delete('content-range');
  return new Response(response.body, { headers });
}

// The first page is served from the moment on in which its service worker is ready.
clientsClaim();
self.addEventListener('message', ({ data }) => {
  if (data?.type === 'SKIP_WAITING') void self.skipWaiting();
});
self.addEventListener('activate', (event) => event.waitUntil(forgetOldLargeFiles()));

async function forgetOldLargeFiles(): Promise<void> {
  const cache = await caches.open(LARGE);
  for (const request of await cache.keys())
    if (!isLarge(new URL(request.url))) await cache.delete(request);
}
