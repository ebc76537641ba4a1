// Work that is cut off at any moment, and what the next process finds: an attack whose input is the
// moment. Nothing that was finished is lost, and nothing half-written is believed.

import fc from 'fast-check';
import { Random } from '../../src/tensor/random';
import { type Attack, Misread } from '../fuzz/run';
import { Disk } from './disk';
import { unmountAll } from './node-disk';

export interface Scenario {
  name: string;
  /** The disk imitates the page's, whose folders cannot be flushed. */
  page?: boolean;
  /** As in Attack. */
  share?: number;
  /** What is there before, and durable. */
  start?(disk: Disk): Promise<void>;
  /** What is cut off. `done` notes what is finished, so that it must be found again. */
  work(disk: Disk, done: (what: string) => void): Promise<void>;
  /**
   * Looks at what is left, as a new process does.
   * @param lost what was done last may be gone, as this file system cannot make it durable
   * @throws Misread
   */
  check(disk: Disk, done: ReadonlySet<string>, lost: boolean): Promise<void>;
}

interface Cut {
  moment: number;
  power: boolean;
  seed: number;
}

export const expectThat = (holds: boolean, otherwise: string) => {
  if (!holds) throw new Misread(otherwise);
};

export function cuts({ name, share, page = false, start, work, check }: Scenario): Attack {
  let moments: Promise<number> | undefined;
  let before: Promise<Disk> | undefined;
  const begin = async () => {
    const disk = new Disk(() => 0, !page);
    await start?.(disk);
    return disk;
  };

  /** Returns at which moments it can be cut off. */
  async function attempt({ power, seed }: Cut, dieAt: number): Promise<number> {
    const random = new Random(seed);
    before ??= begin();
    const disk = (await before).copy(() => random.uniform());
    disk.dieAt = dieAt;
    const done = new Set<string>();
    try {
      await work(disk, (what) => {
        if (!disk.dead) done.add(what);
      });
    } catch (error) {
      if (!disk.dead) throw error;
    }
    const wasCut = disk.dead;
    expectThat(wasCut || dieAt === Number.POSITIVE_INFINITY, `moment ${dieAt} never came`);
    const next = disk.next(wasCut && power);
    await check(next, done, next.lostNames > 0 && page);
    unmountAll();
    return disk.moments;
  }

  const attack: Attack<Cut> = {
    name: `cut: ${name}`,
    share,
    inputs: fc.noBias(
      fc.record({ moment: fc.nat(), power: fc.boolean(), seed: fc.nat(2 ** 31 - 1) }),
    ),
    async read(cut) {
      moments ??= attempt(cut, Number.POSITIVE_INFINITY);
      await attempt(cut, 1 + (cut.moment % (await moments)));
    },
    errors: [],
    says: /\w/,
  };
  return attack as unknown as Attack;
}
