// The address bar follows the settings, and a link that is opened sets them. Opening one starts nothing.

import type { Config } from '../config';
import { checkConfig } from '../config';
import { formatLink, parseLink } from '../link';
import { useRun } from './store';

/** Browsers refuse address changes that come too fast. */
const WRITE_DELAY = 300;

/** The link to these settings, on whatever host and path the page is served from. Throws where checkConfig finds problems. */
export function linkTo(config: Config): string {
  return `${location.origin}${location.pathname}#${formatLink(config)}`;
}

/** Reads the address once, then keeps both in step. Returns what undoes it. */
export function followAddress(): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const read = () => {
    if (location.hash.length > 1) useRun.getState().openLink(parseLink(location.hash));
  };
  const write = () => {
    const { config } = useRun.getState();
    // Settings that do not fit each other have no link; the address keeps the last that do.
    if (checkConfig(config).length === 0) history.replaceState(null, '', `#${formatLink(config)}`);
  };
  read();
  addEventListener('hashchange', read);
  const unsubscribe = useRun.subscribe((state, before) => {
    if (state.config === before.config) return;
    clearTimeout(timer);
    timer = setTimeout(write, WRITE_DELAY);
  });
  return () => {
    clearTimeout(timer);
    removeEventListener('hashchange', read);
    unsubscribe();
  };
}
