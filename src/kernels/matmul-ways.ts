// The ways to multiply matrices, which all make the same bits, and the choice between them: what is fast on a software adapter is slow on
// a GPU, and the other way round.

import type { Gpu } from '../gpu/device';
import type { Storage } from '../gpu/kernel';
import plainWgsl from './matmul.wgsl?raw';
import subgroupWgsl from './matmul_subgroup.wgsl?raw';
import tileWgsl from './matmul_tile.wgsl?raw';

/** A kernel and its constants. A workgroup makes `rows` × `columns` elements of c. */
export interface Way {
  name: string;
  file: string;
  wgsl: string;
  constants: Record<string, number>;
  rows: number;
  columns: number;
  /** Its text depends on which of their dimensions the operands' neighbours in memory lie along. */
  orders?: boolean;
  /** Multiplications in a second if every element that workgroups make is wanted. A guess in units of the plain way's, until measured. */
  speed: number;
}

const plain = (LANES: number): Way => ({
  ...{ name: `plain, ${LANES} lanes`, file: 'matmul', wgsl: plainWgsl, speed: 1 },
  ...{ constants: { LANES, ROWS: 8, COLUMNS: 4 }, rows: 8, columns: 4 * LANES },
});

const subgroup = (size: number, COLUMNS: number, speed: number): Way => {
  const SUBGROUP = 2 ** Math.floor(Math.log2(Math.min(16, size)));
  return {
    ...{ name: `subgroups, 16 × ${COLUMNS}`, file: 'matmul_subgroup', wgsl: subgroupWgsl, speed },
    ...{ constants: { LANES: 16, SUBGROUP, LOADS: 16 / SUBGROUP, COLUMNS }, rows: 16, columns: 16 * COLUMNS },
  };
};

const tile = (QUADS: number, speed: number): Way => ({
  ...{ name: `tiles of ${64 * QUADS}`, file: 'matmul_tile', wgsl: tileWgsl, speed },
  ...{ constants: { QUADS }, rows: 64 * QUADS, columns: 64 * QUADS, orders: true },
});

/** A subgroup that has fewer lanes than this saves too few loads. */
const LEAST_SUBGROUP = 4;

/** The ways that are worth trying on an adapter, the plain one first. */
export function waysOf({ adapter: { software, subgroupSize } }: Gpu): [Way, ...Way[]] {
  if (!software) return [plain(64), tile(1, 3), tile(2, 5)];
  if (subgroupSize < LEAST_SUBGROUP) return [plain(16)];
  return [plain(16), subgroup(subgroupSize, 4, 2), subgroup(subgroupSize, 8, 2.3)];
}

/** Every way that an adapter can go, for checks. */
export function allWays(gpu: Gpu): Way[] {
  const as = (software: boolean) => waysOf({ ...gpu, adapter: { ...gpu.adapter, software } } as Gpu);
  return [...as(true), ...as(false)];
}

const measured = new WeakMap<Gpu, Map<string, number>>();

/** What was measured, in place of the guess; 0 where a way is not to be used. All of an adapter's ways, or none, for a storage type. */
export function setSpeeds(gpu: Gpu, dtype: Storage, speeds: ReadonlyMap<string, number>): void {
  const table = measured.get(gpu) ?? new Map<string, number>();
  measured.set(gpu, table);
  for (const [name, speed] of speeds) table.set(`${dtype} ${name}`, speed);
}

/** Whether speeds were measured for a storage type. */
export const isMeasured = (gpu: Gpu, dtype: Storage): boolean =>
  waysOf(gpu).every(({ name }) => measured.get(gpu)?.has(`${dtype} ${name}`));

/** Workgroups that a GPU runs side by side, more or less: with fewer, a part of it is idle. */
const SIDE_BY_SIDE = 128;

/** The way that takes least time for c (M, N), counting what workgroups make beyond its edges. `dtype`: what b holds. */
export function bestWay(gpu: Gpu, M: number, N: number, dtype: Storage): Way {
  const least = gpu.adapter.software ? 1 : SIDE_BY_SIDE;
  const time = ({ name, rows, columns, speed }: Way) => {
    const groups = Math.max(least, Math.ceil(M / rows) * Math.ceil(N / columns));
    return (groups * rows * columns) / (measured.get(gpu)?.get(`${dtype} ${name}`) ?? speed);
  };
  return waysOf(gpu).reduce((best, way) => (time(way) < time(best) ? way : best));
}
