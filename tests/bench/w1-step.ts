// W1 and W2: one training step of a small GPT-2, AdamW, cross-entropy. All contestants start with
// the same weights and batch, and must reach the same losses before anything is timed.

import { profileText } from '../../src/distill/profile/profile-text';
import type { Gpt2Config } from '../../src/model/gpt2/config';
import { gpt2 } from '../../src/model/gpt2/gpt2';
import { allWeights, batchOf } from './formula';
import { interleaved, type Timing } from './interleave';
import { ourTraining } from './ours';
import type { Training, TrainingTask } from './peer';
import {
  type Agreement,
  type Bench,
  type Figure,
  furthest,
  type Result,
  requireAgreement,
} from './result';

interface Shape {
  config: Gpt2Config;
  B: number;
  T: number;
}

export function gpt2Shape(
  V: number,
  C: number,
  H: number,
  layers: number,
  B: number,
  T: number,
): Shape {
  const sizes = { vocab_size: V, n_positions: T, n_embd: C, n_layer: layers, n_head: H };
  return { config: { ...sizes, layer_norm_epsilon: 1e-5, activation_function: 'gelu_new' }, B, T };
}

export const STEPS = {
  W1: gpt2Shape(512, 128, 4, 2, 8, 64),
  W2: gpt2Shape(8192, 768, 12, 1, 2, 64),
};

const STEPS_COMPARED = 3;
/**
 * For the loss of the initial weights, and for the losses after each AdamW step. Five times the
 * differences measured in f32; a step without weight decay differs by 3e-4.
 */
const LIMITS = { f32: [1e-5, 5e-5], f16: [1e-3, 5e-3] } as const;
const TURNS = 10;

export async function taskOf({ config, B, T }: Shape): Promise<TrainingTask> {
  const model = gpt2(config);
  return {
    model,
    config,
    B,
    T,
    weights: await allWeights('bench', model),
    batch: batchOf(B, T, config.vocab_size),
  };
}

export async function benchStep(bench: Bench, workload: keyof typeof STEPS): Promise<Result> {
  const shape = STEPS[workload];
  const { vocab_size: V, n_embd: C, n_head: H, n_layer } = shape.config;
  const task = await taskOf(shape);
  const ours = await ourTraining(bench.gpu, 'f32', task);
  const contestants: Training[] = [ours];
  if (bench.gpu.adapter.f16) contestants.push(await ourTraining(bench.gpu, 'f16', task));
  for (const peer of bench.peers) contestants.push(await peer.training(task));
  const agreement = await agreeOnLosses(bench, contestants);
  bench.log('timing');
  const timings = await interleaved(contestants, bench.turns ?? TURNS);
  const profile = bench.gpu.adapter.timestamps ? await ours.profile() : undefined;
  for (const contestant of contestants) await contestant.end();
  const tokens = shape.B * shape.T;
  const rows = timings.map((timing) => ({
    ...timing,
    figures: { 'tokens/s': (1000 * tokens) / timing.median },
  }));
  return {
    workload,
    title:
      `a training step of GPT-2 with V ${V}, T ${shape.T}, B ${shape.B}, C ${C}, ${H} heads, ` +
      `${n_layer} layer${n_layer > 1 ? 's' : ''}; AdamW, cross-entropy`,
    agreement,
    tables: [{ title: '', rows }],
    figures: figuresOf(timings, contestants),
    profile,
    notes: [
      ...(bench.gpu.adapter.f16 ? [] : ['The adapter has no f16, so that row is missing.']),
      profile
        ? `Profile of ${ours.name}:\n\n\`\`\`\n` +
          `${profileText(profile, bench.gpu.adapter.name).trim()}\n\`\`\``
        : 'The adapter has no timestamp-query, so there is no profile of the step.',
    ],
  };
}

/** @throws Disagreement unless all reach the same losses as the first */
export async function agreeOnLosses(
  bench: Bench,
  contestants: readonly Training[],
): Promise<Agreement[]> {
  const losses: number[][] = [];
  for (const contestant of contestants) {
    bench.log(`the first ${STEPS_COMPARED + 1} steps: ${contestant.name}`);
    const series: number[] = [];
    for (let step = 0; step <= STEPS_COMPARED; step++) {
      await contestant.run();
      series.push(await contestant.loss());
    }
    losses.push(series);
  }
  const compare = (what: string, reason: string, from: number, to: number) =>
    requireAgreement({
      what: `${what} (${losses[0]
        .slice(from, to)
        .map((loss) => loss.toFixed(4))
        .join(', ')})`,
      reason: `${reason}; f16 rounds activations to 11 bits`,
      rows: contestants.slice(1).map(({ name }, i) => {
        const difference = furthest(losses[i + 1].slice(from, to), losses[0].slice(from, to));
        return { name, difference, limit: LIMITS[/f16/.test(name) ? 'f16' : 'f32'][from] };
      }),
    });
  return [
    compare('the first loss', 'f32 sums in another order', 0, 1),
    compare(
      `the losses after 1 to ${STEPS_COMPARED} steps`,
      'AdamW turns even a nearly zero gradient, and so its rounding, into a step of full size',
      1,
      STEPS_COMPARED + 1,
    ),
  ];
}

/** How many times the first contestant's time each rival takes. */
export function figuresOf(timings: readonly Timing[], contestants: readonly Training[]): Figure[] {
  const [ours] = timings;
  const rivals = timings.filter((_, i) => contestants[i].kind === 'rival');
  const limits = timings.filter((_, i) => contestants[i].kind === 'limit');
  const fastest = Math.min(...rivals.map(({ median }) => median));
  return [
    ...(rivals.length > 0
      ? [
          {
            what:
              `the fastest of ${rivals.map(({ name }) => name).join(' and ')} ` +
              `over ${ours.name}`,
            value: fastest / ours.median,
            atLeast: 3,
          },
        ]
      : []),
    ...limits.map(({ name, median }) => ({
      what: `${ours.name} over ${name}`,
      value: ours.median / median,
    })),
  ];
}
