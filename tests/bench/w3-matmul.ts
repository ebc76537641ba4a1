// W3: the matrix products of the steps of W1 and W2: forward, and both products of the backward
// pass, which read one operand transposed.

import { download, upload } from '../../src/check/tensors';
import { bufferOf, Pool, Recorder } from '../../src/gpu/program';
import { matmul } from '../../src/kernels/matmul';
import { transposed } from '../../src/kernels/tensors';
import { numbers } from './formula';
import { interleaved } from './interleave';
import type { Product, ProductTask } from './peer';
import {
  type Agreement,
  type Bench,
  distance,
  type Figure,
  type Result,
  requireAgreement,
  type Table,
} from './result';
import { STEPS } from './w1-step';

interface Shape {
  name: string;
  M: number;
  K: number;
  N: number;
  transposeA?: boolean;
  transposeB?: boolean;
  /** What Stillhouse stores: f32 sums (logits, weight gradients), or activations. */
  stores: 'sums' | 'activations';
}

/** y = x·w with w (K, N), and dx = dy·wᵀ, dw = xᵀ·dy. */
const linear = (name: string, M: number, K: number, N: number): Shape[] => [
  { name: `${name} y`, M, K, N, stores: 'activations' },
  { name: `${name} dx`, M, K: N, N: K, transposeB: true, stores: 'activations' },
  { name: `${name} dw`, M: K, K: M, N, transposeA: true, stores: 'sums' },
];

/** logits = h·wᵀ with w (V, C), and dh = dlogits·w, dw = dlogitsᵀ·h. */
const head = (M: number, C: number, V: number): Shape[] => [
  { name: 'head y', M, K: C, N: V, transposeB: true, stores: 'sums' },
  { name: 'head dx', M, K: V, N: C, stores: 'activations' },
  { name: 'head dw', M: V, K: M, N: C, transposeA: true, stores: 'sums' },
];

const productsOf = ({
  config: { n_embd: C, vocab_size: V },
  B,
  T,
}: (typeof STEPS)['W1']): Shape[] => [
  ...linear('C → 3C', B * T, C, 3 * C),
  ...linear('C → 4C', B * T, C, 4 * C),
  ...linear('4C → C', B * T, 4 * C, C),
  ...head(B * T, C, V),
];

/** Flops per turn, so that the cost of a submission is small beside it: on a CPU and on a GPU. */
const WORK = { software: 4e8, gpu: 2e11 };
const MOST_REPEATS = { software: 10, gpu: 200 };
const TURNS = 5;
/** f32 sums of up to 8,192 terms in another order; a product stored in f16 has 11 bits. */
const LIMITS = { f32: 1e-5, f16: 1e-3 };

export async function benchMatmul(bench: Bench): Promise<Result> {
  const agreement: Agreement[] = [];
  const tables: Table[] = [];
  const figures: Figure[] = [];
  for (const workload of ['W1', 'W2'] as const) {
    const ratios: number[] = [];
    for (const shape of productsOf(STEPS[workload])) {
      bench.log(`${workload} ${shape.name}`);
      const { agreement: product, table, ratio } = await benchProduct(bench, workload, shape);
      agreement.push(product);
      tables.push(table);
      if (ratio) ratios.push(ratio);
    }
    if (ratios.length > 0) {
      const mean = Math.exp(
        ratios.reduce((sum, ratio) => sum + Math.log(ratio), 0) / ratios.length,
      );
      figures.push({
        what:
          `${workload}: the fastest rival over stillhouse f32, ` +
          `geometric mean of ${ratios.length} products`,
        value: mean,
      });
    }
  }
  return {
    workload: 'W3',
    title: 'the matrix products of the steps of W1 and W2',
    agreement: [joined(agreement)],
    tables,
    figures,
    notes: [
      'y is forward; dx and dw are gradients, which read an operand transposed. ' +
        'In f16, activations are stored in f16, logits and weight gradients in f32.',
    ],
  };
}

async function benchProduct(bench: Bench, workload: string, shape: Shape) {
  const { name, M, K, N, transposeA = false, transposeB = false } = shape;
  const { software } = bench.gpu.adapter;
  const flop = 2 * M * N * K;
  const { work, most } = software
    ? { work: WORK.software, most: MOST_REPEATS.software }
    : { work: WORK.gpu, most: MOST_REPEATS.gpu };
  const repeats = Math.min(most, Math.max(1, Math.round(work / flop)));
  const task = {
    M,
    K,
    N,
    transposeA,
    transposeB,
    repeats,
    a: numbers('a', M * K),
    b: numbers('b', K * N),
  };
  const contestants = [await ourProduct(bench, 'f32', task, shape.stores)];
  if (bench.gpu.adapter.f16) contestants.push(await ourProduct(bench, 'f16', task, shape.stores));
  const ours = contestants.length;
  for (const peer of bench.peers) if (peer.product) contestants.push(await peer.product(task));
  for (const contestant of contestants) await contestant.run();
  const [first, ...others] = await Promise.all(
    contestants.map((contestant) => contestant.result()),
  );
  const agreement = requireAgreement({
    what: `${workload} ${name}`,
    reason: 'f32 sums in another order; a product stored in f16 is rounded to 11 bits',
    rows: others.map((result, i) => {
      const { name } = contestants[i + 1];
      return {
        name,
        difference: distance(result, first),
        limit: /f16/.test(name) ? LIMITS.f16 : LIMITS.f32,
      };
    }),
  });
  const timings = await interleaved(contestants, bench.turns ?? TURNS, 1);
  for (const contestant of contestants) await contestant.end();
  const rows = timings.map(({ name, milliseconds, median, min }) => ({
    name,
    milliseconds: milliseconds.map((ms) => ms / repeats),
    median: median / repeats,
    min: min / repeats,
    figures: { 'GFLOP/s': (flop * repeats) / median / 1e6 },
  }));
  const fastest = Math.min(...rows.slice(ours).map(({ median }) => median));
  const ratio = rows.length > ours ? fastest / rows[0].median : undefined;
  const grid = {
    title: `${workload}: GFLOP/s`,
    row: `${name}: (${M}, ${K}) · (${K}, ${N})`,
    figure: 'GFLOP/s',
  };
  return {
    agreement,
    ratio,
    table: { title: `${workload} ${name}, ${repeats} at a time`, grid, rows },
  };
}

async function ourProduct(
  { gpu }: Bench,
  dtype: 'f16' | 'f32',
  task: ProductTask,
  stores: Shape['stores'],
): Promise<Product> {
  const { M, K, N, transposeA, transposeB, repeats } = task;
  const pool = new Pool(gpu);
  const recorder = new Recorder(gpu, pool);
  const a = upload(gpu, 'a', task.a, transposeA ? [K, M] : [M, K], dtype);
  const b = upload(gpu, 'b', task.b, transposeB ? [N, K] : [K, N], dtype);
  const c = upload(gpu, 'c', new Float32Array(M * N), [M, N], stores === 'sums' ? 'f32' : dtype);
  for (let i = 0; i < repeats; i++) {
    matmul(recorder, transposeA ? transposed(a) : a, transposeB ? transposed(b) : b, c);
  }
  const program = await recorder.build('products');
  return {
    name: `stillhouse ${dtype}`,
    async run() {
      const encoder = gpu.device.createCommandEncoder();
      program.encode(encoder);
      gpu.device.queue.submit([encoder.finish()]);
      await gpu.idle();
    },
    result: () => download(gpu, c),
    async end() {
      program.destroy();
      pool.destroy();
      for (const tensor of [a, b, c]) gpu.memory.destroy(bufferOf(tensor));
    },
  };
}

/** The largest difference of each contestant over all products. */
function joined(all: readonly Agreement[]): Agreement {
  const names = [...new Set(all.flatMap(({ rows }) => rows.map(({ name }) => name)))];
  const rows = names.map((name) => {
    const ofName = all.flatMap(({ rows }) => rows.filter((row) => row.name === name));
    return ofName.reduce((worst, row) => (row.difference > worst.difference ? row : worst));
  });
  return {
    what: `‖difference‖ / ‖product‖, the largest of ${all.length} products`,
    reason: all[0].reason,
    rows,
  };
}
