// What the peers expect of a browser and Node 20 does not have.

/**
 * jax-js asks the user agent whether this is Firefox, and maps and filters iterators, as Node can
 * from 22 on. Call it after openDawn.
 */
export function likeABrowser(): void {
  const page = navigator as { userAgent?: string };
  if (page.userAgent === undefined)
    Object.defineProperty(page, 'userAgent', { value: 'Node', configurable: true });
  const iterators = Object.getPrototypeOf(Object.getPrototypeOf([].values()));
  for (const name of ['map', 'filter'] as const) {
    iterators[name] ??= function (this: Iterable<unknown>, change: () => unknown) {
      return [...this][name](change).values();
    };
  }
}
