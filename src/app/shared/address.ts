// The page and its address: the address follows the settings, and opening a link restores them. It
// starts nothing.

import type { Config } from '../../config';
import { checkConfig } from '../../config';
import { formatLink, parseLink } from '../../link';
import type { RunState } from '../run/reduce';
import { useRun } from '../run/store';
import { roomOf, useRoom } from './rooms';

/** Browsers refuse address changes that come too fast. */
const WRITE_DELAY = 300;

/**
 * The link to these settings, and to the ghost of a run with them, on the host and path that serve
 * the page.
 * @throws Error if checkConfig finds problems
 */
export function linkTo(config: Config, ghost?: string): string {
  return `${location.origin}${location.pathname}#${formatLink(config, ghost)}`;
}

/** The hash of the Distil room as it is. Settings that contradict each other have none. */
export function settingsHash({
  config,
  ghost,
}: Pick<RunState, 'config' | 'ghost'>): string | undefined {
  return checkConfig(config).length > 0 ? undefined : `#${formatLink(config, ghost?.text)}`;
}

/** Reads the address, then keeps it and the settings in step. Returns a function that stops it. */
export function followAddress(): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  // Of the Distil room: going back to it from a lab opens no link.
  let distilHash = '';
  // The address as it was last read or written.
  let knownHash = '';
  // The address keeps the last settings that have a link.
  const remember = () => {
    distilHash = settingsHash(useRun.getState()) ?? distilHash;
  };
  const read = () => {
    remember();
    knownHash = location.hash;
    const { room, text } = roomOf(location.hash);
    useRoom.setState(room === 'distil' ? { room } : { room, [room]: text });
    if (room === 'distil' && text.length > 1 && text !== distilHash)
      useRun.getState().openLink(parseLink(text));
    remember();
  };
  const write = () => {
    remember();
    // A link that was just opened is read when its event arrives: it must not be overwritten.
    if (location.hash !== knownHash || useRoom.getState().room !== 'distil') return;
    history.replaceState(null, '', distilHash);
    knownHash = location.hash;
  };
  read();
  addEventListener('hashchange', read);
  const unsubscribe = useRun.subscribe((state, before) => {
    if (state.config === before.config && state.ghost === before.ghost) return;
    clearTimeout(timer);
    timer = setTimeout(write, WRITE_DELAY);
  });
  return () => {
    clearTimeout(timer);
    removeEventListener('hashchange', read);
    unsubscribe();
  };
}
