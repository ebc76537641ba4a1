// Which room the page shows, and the part of the address that belongs to it: `#lab=…`, `#bug=…`, or
// a run's link.

import { create } from 'zustand';

export type Room = 'distil' | 'lab' | 'bug';

interface RoomStore {
  room: Room;
  /** What stands after `#lab=` or `#bug=`, as it is written there; not to be trusted. */
  lab: string;
  bug: string;
}

export const useRoom = create<RoomStore>()(() => ({ room: 'distil', lab: '', bug: '' }));

/** The room of an address's hash, and what it says to that room. */
export function roomOf(hash: string): { room: Room; text: string } {
  const [, name, text] = /^#?(lab|bug)(?:=(.*))?$/s.exec(hash) ?? [];
  return name ? { room: name as Room, text: text ?? '' } : { room: 'distil', text: hash };
}

/**
 * Puts a lab's new state into the address, where a reload and a shared link find it; no step of the
 * browser's history.
 */
export function writeRoom(room: 'lab' | 'bug', text: string): void {
  useRoom.setState({ [room]: text });
  history.replaceState(null, '', `#${room}=${text}`);
}
