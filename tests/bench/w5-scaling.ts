// W5: cost grows as it should. The step's time at 2, 4 and 8 layers and sequences is compared with
// a straight line, attention's at three lengths with the square. Stillhouse only, against itself.

import { upload } from '../../src/check/tensors';
import { bufferOf, Pool, Recorder } from '../../src/gpu/program';
import { attention, attentionBackward } from '../../src/kernels/attention';
import { numbers } from './formula';
import { type Contestant, interleaved, median, type Timing } from './interleave';
import { ourTraining } from './ours';
import type { Bench, Figure, Result, Table } from './result';
import { gpt2Shape, taskOf } from './w1-step';

const SIZES = [2, 4, 8] as const;
const LENGTHS = [64, 128, 256] as const;
const TURNS = 10;
/** W1's sizes. */
const [V, C, H, LAYERS, B, T] = [512, 128, 4, 2, 8, 64];
/** A straight line, within 15%. */
const LINEAR = { atLeast: 0.85, atMost: 1.15 };

export async function benchScaling(bench: Bench): Promise<Result> {
  const layers = await growth(bench, 'layers', SIZES, (n) => training(bench, `${n} layers`, n, B));
  const batch = await growth(bench, 'sequences', SIZES, (n) =>
    training(bench, `batch of ${n}`, LAYERS, n),
  );
  const lengths = await growth(bench, 'tokens', LENGTHS, (n) => attentionOf(bench, n));
  return {
    workload: 'W5',
    title:
      'cost grows as it should ' +
      `(V ${V}, C ${C}, ${H} heads, ${LAYERS} layers, B ${B}, T ${T}, f32)`,
    agreement: [],
    tables: [
      table('The step by layers', layers),
      table('The step by sequences in a batch', batch),
      table('Attention, forward and backward, by length', lengths),
    ],
    figures: [line('layers', layers), line('sequences', batch), ...squares(lengths)],
    notes: [],
  };
}

async function growth(
  bench: Bench,
  what: string,
  sizes: readonly number[],
  make: (size: number) => Promise<Contestant & { end(): Promise<void> }>,
): Promise<Timing[]> {
  bench.log(what);
  const contestants = [];
  for (const size of sizes) contestants.push(await make(size));
  const timings = await interleaved(contestants, bench.turns ?? TURNS);
  for (const contestant of contestants) await contestant.end();
  return timings;
}

async function training({ gpu }: Bench, name: string, layers: number, batch: number) {
  const task = await taskOf(gpt2Shape(V, C, H, layers, batch, T));
  return { ...(await ourTraining(gpu, 'f32', task)), name };
}

async function attentionOf(
  { gpu }: Bench,
  length: number,
): Promise<Contestant & { end(): Promise<void> }> {
  const rows = B * length;
  const tensor = (label: string, shape: number[]) =>
    upload(
      gpu,
      label,
      numbers(
        label,
        shape.reduce((a, b) => a * b),
      ),
      shape,
    );
  const [out, dout] = [tensor('out', [rows, C]), tensor('d out', [rows, C])];
  const [qkv, dqkv] = [tensor('qkv', [rows, 3 * C]), tensor('d qkv', [rows, 3 * C])];
  const [lse, delta] = [tensor('lse', [B, H, length]), tensor('delta', [B, H, length])];
  const pool = new Pool(gpu);
  const recorder = new Recorder(gpu, pool);
  attention(recorder, { qkv, out, lse });
  attentionBackward(recorder, { qkv, out, lse }, { dout, delta, dqkv });
  const program = await recorder.build('attention');
  return {
    name: `${length} tokens`,
    async run() {
      const encoder = gpu.device.createCommandEncoder();
      program.encode(encoder);
      gpu.device.queue.submit([encoder.finish()]);
      await gpu.idle();
    },
    async end() {
      program.destroy();
      pool.destroy();
      for (const tensor of [out, dout, qkv, dqkv, lse, delta]) gpu.memory.destroy(bufferOf(tensor));
    },
  };
}

const table = (title: string, rows: Timing[]): Table => ({ title, rows });

/** The median over turns of a figure per turn: a machine that slows down slows all contestants. */
const overTurns = (
  timings: readonly Timing[],
  figure: (milliseconds: number[]) => number,
): number =>
  median(
    timings[0].milliseconds.map((_, turn) =>
      figure(timings.map(({ milliseconds }) => milliseconds[turn])),
    ),
  );

/** The time at 8 compared with the line through those at 2 and 4: 8 is two such steps further. */
const line = (what: string, timings: readonly Timing[]): Figure => ({
  what: `time at 8 ${what} over the line through 2 and 4`,
  value: overTurns(timings, ([two, four, eight]) => eight / (four + 2 * (four - two))),
  ...LINEAR,
});

const squares = (timings: readonly Timing[]): Figure[] =>
  [1, 2].map((i) => ({
    what: `attention: ${timings[i].name} over ${timings[i - 1].name}, at most the square`,
    value: overTurns(timings, (milliseconds) => milliseconds[i] / milliseconds[i - 1]),
    // 2² within the same 15%.
    atMost: 4.6,
  }));
