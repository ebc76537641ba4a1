// The page and its address: the address follows the settings, and opening a link restores them. It
// starts nothing.

import type { Config } from '../../config';
import { checkConfig } from '../../config';
import { formatLink, parseLink } from '../../link';
import { useRun } from '../run/store';
import { roomOf, useRoom } from './rooms';

/** Browsers refuse address changes that come too fast. */
const WRITE_DELAY = 300;

/**
 * The link to these settings, on whatever host and path the page is served from. Throws where
 * checkConfig finds problems.
 */
export function linkTo(config: Config): string {
  return `${location.origin}${location.pathname}#${formatLink(config)}`;
}

/** Reads the address once, then keeps both in step. Returns what undoes it. */
export function followAddress(): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  // The hash that stands for the settings as they are: going back to it from a lab opens no link.
  let own = '';
  const read = () => {
    const { room, text } = roomOf(location.hash);
    useRoom.setState(room === 'distil' ? { room } : { room, [room]: text });
    if (room === 'distil' && text.length > 1 && text !== own)
      useRun.getState().openLink(parseLink(text));
    remember();
  };
  const remember = () => {
    const { config } = useRun.getState();
    // Settings that do not fit each other have no link; the address keeps the last that do.
    if (checkConfig(config).length === 0) own = `#${formatLink(config)}`;
  };
  const write = () => {
    remember();
    if (useRoom.getState().room === 'distil') history.replaceState(null, '', own);
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
