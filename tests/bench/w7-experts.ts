// W7: one training step of a small model with four experts of which a token chooses one, beside the
// step of the dense model with the same active work. Experts begin as copies, so that the first
// losses must agree.

import { profileText } from '../../src/distill/profile/profile-text';
import { parseConfig } from '../../src/model/families';
import { allWeights, batchOf } from './formula';
import { interleaved } from './interleave';
import { ourTraining } from './ours';
import { type Bench, furthest, type Result, requireAgreement } from './result';
import { STEPS } from './w1-step';

const { config: GPT2, B, T } = STEPS.W1;
const [V, C, H] = [GPT2.vocab_size, GPT2.n_embd, GPT2.n_head];
/** As in W6. */
const F = 3 * C;
const E = 4;
const TURNS = 20;

export async function benchExperts(bench: Bench): Promise<Result> {
  const dtype = bench.gpu.adapter.f16 ? 'f16' : 'f32';
  const sizes = {
    vocab_size: V,
    hidden_size: C,
    num_hidden_layers: GPT2.n_layer,
    num_attention_heads: H,
    num_key_value_heads: H / 2,
    head_dim: C / H,
    max_position_embeddings: T,
    rope_theta: 10_000,
    tie_word_embeddings: true,
  };
  const dense = parseConfig({ model_type: 'qwen3', ...sizes, intermediate_size: F });
  const sparse = parseConfig({
    model_type: 'qwen3_moe',
    ...sizes,
    intermediate_size: F,
    moe_intermediate_size: F,
    num_experts: E,
    num_experts_per_tok: 1,
    // One expert's weight is then 1.
    norm_topk_prob: true,
  });
  const weights = await allWeights('bench', dense);
  const others = await allWeights('bench', sparse);
  const copies = new Map(
    sparse.parameters.map(({ name, copyOf }) => {
      const values = weights.get(copyOf ?? name) ?? others.get(name);
      return [name, values as Float32Array] as const;
    }),
  );
  const shared = { config: undefined, B, T, batch: batchOf(B, T, V) };
  const contestants = [
    { name: `${E} experts, top-1`, model: sparse, weights: copies },
    { name: 'dense', model: dense, weights },
  ];
  const trainings = await Promise.all(
    contestants.map(async ({ name, model, weights }) => ({
      ...(await ourTraining(bench.gpu, dtype, { ...shared, model, weights })),
      name: `${name}, ${dtype}`,
    })),
  );
  const losses: number[] = [];
  for (const training of trainings) {
    await training.run();
    losses.push(await training.loss());
  }
  const agreement = requireAgreement({
    what: `the first loss (${losses[1].toFixed(4)})`,
    reason: 'the weights of experts are rounded; f16 rounds activations to 11 bits',
    rows: [
      { name: trainings[0].name, difference: furthest([losses[0]], [losses[1]]), limit: 1e-3 },
    ],
  });
  bench.log('timing');
  const timings = await interleaved(trainings, bench.turns ?? TURNS);
  const profiles: string[] = [];
  if (bench.gpu.adapter.timestamps)
    for (const { name, profile } of trainings) {
      const text = profileText(await profile(), bench.gpu.adapter.name).trim();
      profiles.push(`Profile of ${name}:\n\n\`\`\`\n${text}\n\`\`\``);
    }
  for (const training of trainings) await training.end();
  const [experts, one] = timings;
  return {
    workload: 'W7',
    title:
      `a training step with ${E} experts, top-1, beside the dense one of equal active work: ` +
      `V ${V}, T ${T}, B ${B}, C ${C}, F ${F}, ${GPT2.n_layer} layers; AdamW, cross-entropy`,
    agreement: [agreement],
    tables: [
      {
        title: '',
        rows: timings.map((timing) => ({
          ...timing,
          figures: { 'tokens/s': (1000 * B * T) / timing.median },
        })),
      },
    ],
    figures: [
      {
        what: 'the step with experts over the dense step',
        value: experts.median / one.median,
        atMost: 1.3,
      },
      { what: 'the same, of the fastest turns', value: experts.min / one.min },
    ],
    notes: profiles,
  };
}
