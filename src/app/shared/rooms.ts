// Which room the page shows, and the part of the address that belongs to it: `#lesson=…` for the
// lessons, `#lab=…` for the Stride Lab, `#bug=…` for the Bug Lab, `#runs` for the kept runs,
// `#examples`, otherwise a run's link.

import { create } from 'zustand';

/** The rooms beside the run, which come when they are first opened. */
export type Lab = 'lessons' | 'strideLab' | 'bugLab' | 'runs' | 'examples';
export type Room = 'distil' | Lab;

/** The labs' names in the address. Shared links depend on them. */
const HASH_NAMES: Record<Lab, string> = {
  lessons: 'lesson',
  strideLab: 'lab',
  bugLab: 'bug',
  runs: 'runs',
  examples: 'examples',
};

/**
 * For each lab the text after its name in the address, as in `#lab=2,3` or the id of a kept run;
 * untrusted.
 */
interface RoomStore extends Record<Lab, string> {
  room: Room;
}

export const useRoom = create<RoomStore>()(() => ({
  room: 'distil',
  lessons: '',
  strideLab: '',
  bugLab: '',
  runs: '',
  examples: '',
}));

/** The room that a hash names, and the text for that room. */
export function roomOf(hash: string): { room: Room; text: string } {
  for (const lab of Object.keys(HASH_NAMES) as Lab[]) {
    const [match, text = ''] = new RegExp(`^#?${HASH_NAMES[lab]}(?:=(.*))?$`, 's').exec(hash) ?? [];
    if (match !== undefined) return { room: lab, text };
  }
  return { room: 'distil', text: hash };
}

/** The hash that opens a lab in the state that `text` describes. */
export const labHash = (lab: Lab, text: string): string =>
  `#${HASH_NAMES[lab]}${text && `=${text}`}`;

/** Writes a lab's new state to the address. It adds no entry to the browser's history. */
export function writeRoom(lab: Lab, text: string): void {
  useRoom.setState({ [lab]: text });
  history.replaceState(null, '', labHash(lab, text));
}
