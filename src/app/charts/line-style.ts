// Colour and dash of the current run's losses, and of the runs that it is compared with. No two of
// the first thirty runs look alike, and neighbours differ in both, so that a line is known without
// its colour, too. Pure.

export interface LineStyle {
  /** A CSS colour. */
  colour: string;
  /** As in stroke-dasharray. The live run's line is solid. */
  dash: string;
}

/** The lines of the loss chart; the last is drawn on top. */
export const LOSS_LINES: readonly {
  measure: 'loss' | 'ce' | 'kd';
  name: string;
  colour: string;
  width: number;
  dash?: string;
}[] = [
  { measure: 'ce', name: 'CE', colour: 'var(--ce)', width: 1.5, dash: '7 2' },
  { measure: 'kd', name: 'KD', colour: 'var(--kd)', width: 1.5, dash: '2 2' },
  { measure: 'loss', name: 'total', colour: 'var(--student)', width: 2.25 },
];

/** Defined in base.css for both themes; tests/unit/app/charts.test.ts measures them. */
export const RUN_COLOURS = [1, 2, 3, 4, 5, 6].map((number) => `--run-${number}`);
const DASHES = ['7 3', '2 3', '10 3 2 3', '14 4', '5 2 1 2 1 2'];

/** The style of the run, or of the expert, in this place, 0 for the first. */
export function lineStyle(slot: number): LineStyle {
  return {
    colour: `var(${RUN_COLOURS[slot % RUN_COLOURS.length]})`,
    dash: DASHES[slot % DASHES.length],
  };
}

/** Places by run; a run keeps its place, and a new one takes the first that is free. */
export type Slots = Readonly<Record<string, number>>;

export function assignSlots(slots: Slots, ids: readonly string[]): Slots {
  const missing = ids.filter((id) => !(id in slots));
  if (missing.length === 0) return slots;
  const assigned: Record<string, number> = { ...slots };
  const taken = new Set(Object.values(assigned));
  let free = 0;
  for (const id of missing) {
    while (taken.has(free)) free += 1;
    assigned[id] = free;
    taken.add(free);
  }
  return assigned;
}
