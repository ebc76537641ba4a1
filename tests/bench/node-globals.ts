// What the peers expect from a browser and Node 20 lacks.

/**
 * jax-js reads the user agent, to detect Firefox, and maps and filters iterators, as Node can
 * from version 22 on. Call after openDawn.
 */
export function addBrowserGlobals(): void {
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
