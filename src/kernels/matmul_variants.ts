// The ways to multiply matrices, which all make the same bits, and the choice between them: what is
// fast on a software adapter is slow on a GPU, and the other way round.

import type { Gpu } from '../gpu/device';
import type { Storage } from '../gpu/kernel';
import type { Layout } from '../tensor/layout';

/** A kernel and its constants. A workgroup makes `rows` × `columns` elements of c. */
export interface Way {
  name: string;
  file: string;
  constants: Record<string, number>;
  rows: number;
  columns: number;
  /** Its text depends on which of their dimensions the operands' neighbours in memory lie along. */
  orders?: boolean;
  /** It loads four neighbours at once, and so serves only operands that lie in fours; see `lie`. */
  fours?: boolean;
  /**
   * Multiplications in a second if every element that workgroups make is wanted. A guess in units
   * of the plain way's, until measured.
   */
  speed: number;
}

const plain = (LANES: number): Way => ({
  name: `plain, ${LANES} lanes`,
  file: 'matmul',
  speed: 1,
  constants: { LANES, ROWS: 8 },
  rows: 8,
  columns: 4 * LANES,
});

const subgroup = (size: number, FOURS: number, speed: number): Way => {
  const SUBGROUP = 2 ** Math.floor(Math.log2(Math.min(16, size)));
  return {
    name: `subgroups, 16 × ${4 * FOURS}`,
    file: 'software/matmul_subgroup',
    speed,
    constants: { LANES: 16, SUBGROUP, LOADS: 16 / SUBGROUP, FOURS },
    rows: 16,
    columns: 64 * FOURS,
  };
};

const quads = (SIXTEENS: number, FOURS: number, speed: number): Way => ({
  name: `quads, ${16 * SIXTEENS} × ${4 * FOURS}`,
  file: 'software/matmul_quads',
  speed,
  orders: true,
  fours: true,
  constants: { LANES: 16, SIXTEENS, FOURS },
  rows: 16 * SIXTEENS,
  columns: 64 * FOURS,
});

const tile = (QUADS: number, speed: number): Way => ({
  name: `tiles of ${64 * QUADS}`,
  file: 'matmul_tile',
  speed,
  constants: { QUADS },
  rows: 64 * QUADS,
  columns: 64 * QUADS,
  orders: true,
});

/**
 * The ways that are worth trying on an adapter, the plain one first. It and some other serve all
 * operands.
 */
export function waysOf({ adapter: { software, subgroupSize } }: Gpu): [Way, ...Way[]] {
  if (!software) return [plain(64), tile(1, 3), tile(2, 5)];
  if (subgroupSize < 4) return [plain(16)];
  // In a larger subgroup a quad has a part of the lanes alone, and all of them share more loads.
  const byQuads = subgroupSize === 4 ? [quads(1, 1, 3), quads(1, 2, 4), quads(2, 2, 4.5)] : [];
  return [plain(16), subgroup(subgroupSize, 1, 2), subgroup(subgroupSize, 2, 2.3), ...byQuads];
}

/**
 * How an operand lies: its neighbours in memory along dimension `k` or across it, and all of it in
 * fours that can be loaded at once.
 */
export function lie({ shape, strides, offset }: Layout, k: 0 | 1) {
  const deep = strides[k] === 1;
  const along = deep ? k : 1 - k;
  return {
    deep,
    fours: strides[along] === 1 && [...shape, strides[1 - along], offset].every((n) => n % 4 === 0),
  };
}

/** The ways of this adapter, and those of a GPU: for checks. */
export const allWays = (gpu: Gpu): Way[] =>
  [gpu.adapter.software, false].flatMap((software) =>
    waysOf({ ...gpu, adapter: { ...gpu.adapter, software } } as Gpu),
  );

const measured = new WeakMap<Gpu, Map<string, number>>();

/**
 * What was measured, in place of the guess; 0 where a way is not to be used. All of an adapter's
 * ways, or none, for a storage type.
 */
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

/**
 * The way that takes least time for a (M, K) · b (K, N), counting what workgroups make beyond c's
 * edges. `dtype`: what b holds.
 */
export function bestWay(gpu: Gpu, a: Layout, b: Layout, dtype: Storage): Way {
  const [M, N] = [a.shape[0], b.shape[1]];
  const least = gpu.adapter.software ? 1 : SIDE_BY_SIDE;
  const time = ({ name, rows, columns, speed }: Way) => {
    const groups = Math.max(least, Math.ceil(M / rows) * Math.ceil(N / columns));
    return (groups * rows * columns) / (measured.get(gpu)?.get(`${dtype} ${name}`) ?? speed);
  };
  const inFours = lie(a, 1).fours && lie(b, 0).fours;
  return waysOf(gpu)
    .filter(({ fours }) => !fours || inFours)
    .reduce((best, way) => (time(way) < time(best) ? way : best));
}
