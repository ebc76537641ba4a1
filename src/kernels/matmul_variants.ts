// The variants of the matrix product, which all make the same bits, and the choice between them:
// what is fast on a software adapter is slow on a GPU, and the other way round.

import type { Gpu } from '../gpu/device';
import type { Storage } from '../gpu/kernel';
import type { Layout } from '../tensor/layout';

/** A kernel and its constants. A workgroup makes `rows` × `columns` elements of c. */
export interface MatmulVariant {
  name: string;
  /** In this folder, without its extension. */
  file: string;
  constants: Record<string, number>;
  rows: number;
  columns: number;
  /** The kernel needs the constants A_ALONG_K and B_ALONG_K: see `memoryOrder`. */
  readsMemoryOrder?: boolean;
  /** It loads vec4s, so it serves only operands whose layout allows that: see `memoryOrder`. */
  vec4Loads?: boolean;
  /**
   * Multiplications a second, counting all elements that workgroups make, relative to the plain
   * variant's. An estimate that `setSpeeds` replaces.
   */
  speed: number;
}

const plain = (LANES: number, ROWS = 8): MatmulVariant => ({
  name: `plain, ${LANES} lanes${ROWS === 1 ? ', one row' : ''}`,
  file: 'matmul',
  speed: 1,
  constants: { LANES, ROWS },
  rows: ROWS,
  columns: 4 * LANES,
});

const ONE_ROW = plain(16, 1);

const subgroup = (size: number, COLUMN_VEC4S: number, speed: number): MatmulVariant => {
  const SUBGROUP = 2 ** Math.floor(Math.log2(Math.min(16, size)));
  return {
    name: `subgroups, 16 × ${4 * COLUMN_VEC4S}`,
    file: 'software/matmul_subgroup',
    speed,
    constants: { LANES: 16, SUBGROUP, LOADS: 16 / SUBGROUP, COLUMN_VEC4S },
    rows: 16,
    columns: 64 * COLUMN_VEC4S,
  };
};

const quads = (ROW_BLOCKS: number, COLUMN_VEC4S: number, speed: number): MatmulVariant => ({
  name: `quads, ${16 * ROW_BLOCKS} × ${4 * COLUMN_VEC4S}`,
  file: 'software/matmul_quads',
  speed,
  readsMemoryOrder: true,
  vec4Loads: true,
  constants: { LANES: 16, ROW_BLOCKS, COLUMN_VEC4S },
  rows: 16 * ROW_BLOCKS,
  columns: 64 * COLUMN_VEC4S,
});

const tile = (BLOCKS: number, speed: number): MatmulVariant => ({
  name: `tiles of ${64 * BLOCKS}`,
  file: 'matmul_tile',
  speed,
  constants: { BLOCKS },
  rows: 64 * BLOCKS,
  columns: 64 * BLOCKS,
  readsMemoryOrder: true,
});

/**
 * The variants worth trying on an adapter, the plain one first. At least two of them serve operands
 * of every layout, unless there is only one variant.
 */
export function variantsFor({
  adapter: { software, subgroupSize },
}: Gpu): [MatmulVariant, ...MatmulVariant[]] {
  if (!software) return [plain(64), tile(1, 3), tile(2, 5)];
  if (subgroupSize < 4) return [plain(16)];
  // In a larger subgroup, quads share loads among four lanes only; the subgroup variant among all.
  const withQuads = subgroupSize === 4 ? [quads(1, 1, 3), quads(1, 2, 4), quads(2, 2, 4.5)] : [];
  return [plain(16), subgroup(subgroupSize, 1, 2), subgroup(subgroupSize, 2, 2.3), ...withQuads];
}

/**
 * How an operand lies in memory. `alongK`: its neighbours in memory lie along dimension `k`, not
 * across it. `vec4Loads`: all of it can be loaded in aligned vec4s of neighbours.
 */
export function memoryOrder({ shape, strides, offset }: Layout, k: 0 | 1) {
  const alongK = strides[k] === 1;
  const along = alongK ? k : 1 - k;
  return {
    alongK,
    vec4Loads:
      strides[along] === 1 && [...shape, strides[1 - along], offset].every((n) => n % 4 === 0),
  };
}

/** The variants of this adapter, then those of a GPU, and that of a single row: for tests. */
export const allVariants = (gpu: Gpu): MatmulVariant[] => [
  ...[gpu.adapter.software, false].flatMap((software) =>
    variantsFor({ ...gpu, adapter: { ...gpu.adapter, software } } as Gpu),
  ),
  ONE_ROW,
];

/** Measured speeds by storage type and name. */
const measured = new WeakMap<Gpu, Map<string, number>>();

/**
 * Replaces the estimated speeds for a storage type; 0 for a variant that must not be used. `speeds`
 * has all of the adapter's variants.
 */
export function setSpeeds(gpu: Gpu, dtype: Storage, speeds: ReadonlyMap<string, number>): void {
  const table = measured.get(gpu) ?? new Map<string, number>();
  measured.set(gpu, table);
  for (const [name, speed] of speeds) table.set(`${dtype} ${name}`, speed);
}

/** Workgroups that a GPU runs at a time, roughly: with fewer, some of it is idle. */
const CONCURRENT_GROUPS = 128;

/**
 * The fastest variant for a (M, K) · b (K, N), counting the elements that workgroups make beyond
 * c's edges. `dtype` is b's.
 * @param rowGroups how many workgroups M rows need, by the rows that one makes
 */
export function bestVariant(
  gpu: Gpu,
  a: Layout,
  b: Layout,
  dtype: Storage,
  rowGroups = (rows: number) => Math.ceil(a.shape[0] / rows),
): MatmulVariant {
  const [M, N] = [a.shape[0], b.shape[1]];
  // A software adapter computes the other rows of a workgroup, too, and stores none of them.
  if (M === 1 && gpu.adapter.software) return ONE_ROW;
  const fewest = gpu.adapter.software ? 1 : CONCURRENT_GROUPS;
  const time = ({ name, rows, columns, speed }: MatmulVariant) => {
    const groups = Math.max(fewest, rowGroups(rows) * Math.ceil(N / columns));
    return (groups * rows * columns) / (measured.get(gpu)?.get(`${dtype} ${name}`) ?? speed);
  };
  const allowsVec4Loads = memoryOrder(a, 1).vec4Loads && memoryOrder(b, 0).vec4Loads;
  return variantsFor(gpu)
    .filter(({ vec4Loads }) => !vec4Loads || allowsVec4Loads)
    .reduce((best, variant) => (time(variant) < time(best) ? variant : best));
}
