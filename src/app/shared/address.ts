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
 * The link to these settings, on the host and path that serve the page.
 * @throws Error if checkConfig finds problems
 */
export function linkTo(config: Config): string {
  return `${location.origin}${location.pathname}#${formatLink(config)}`;
}

/** Reads the address, then keeps it and the settings in step. Returns a function that stops it. */
export function followAddress(): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  // The hash of the current settings: going back to it from a lab opens no link.
  let settingsHash = '';
  // The address as it was last read or written.
  let knownHash = '';
  const read = () => {
    knownHash = location.hash;
    const { room, text } = roomOf(location.hash);
    useRoom.setState(room === 'distil' ? { room } : { room, [room]: text });
    if (room === 'distil' && text.length > 1 && text !== settingsHash)
      useRun.getState().openLink(parseLink(text));
    remember();
  };
  const remember = () => {
    const { config } = useRun.getState();
    // Settings that contradict each other have no link; the address keeps the last valid one.
    if (checkConfig(config).length === 0) settingsHash = `#${formatLink(config)}`;
  };
  const write = () => {
    remember();
    // A link that was just opened is read when its event arrives: it must not be overwritten.
    if (location.hash !== knownHash || useRoom.getState().room !== 'distil') return;
    history.replaceState(null, '', settingsHash);
    knownHash = location.hash;
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
