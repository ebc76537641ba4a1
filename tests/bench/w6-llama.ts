// W6: one training step of a small Llama, AdamW, cross-entropy, beside jax-js's and beside a step
// of GPT-2 with the same matrix work. Losses must agree before anything is timed.

import { parseConfig } from '../../src/model/families';
import type { LlamaConfig } from '../../src/model/llama/config';
import { allWeights, batchOf } from './formula';
import { interleaved } from './interleave';
import { ourTraining } from './ours';
import type { Training, TrainingTask } from './peer';
import type { Bench, Result } from './result';
import { agreeOnLosses, figuresOf, STEPS, taskOf } from './w1-step';

const { config: GPT2, B, T } = STEPS.W1;
const [V, C, H] = [GPT2.vocab_size, GPT2.n_embd, GPT2.n_head];
const KV = H / 2;
/**
 * Attention's matrices are C·C twice and C·C / 2 twice, the perceptron's three of C·F: with F = 3·C
 * a layer has 12·C·C weights, as many as GPT-2's.
 */
const F = 3 * C;
const TURNS = 10;

export async function benchLlama(bench: Bench): Promise<Result> {
  const model = parseConfig({
    model_type: 'llama',
    vocab_size: V,
    hidden_size: C,
    intermediate_size: F,
    num_hidden_layers: GPT2.n_layer,
    num_attention_heads: H,
    num_key_value_heads: KV,
    max_position_embeddings: T,
    rms_norm_eps: 1e-5,
    rope_theta: 10_000,
    tie_word_embeddings: true,
  });
  const task: TrainingTask<LlamaConfig> = {
    model,
    config: model.config as LlamaConfig,
    weights: await allWeights('bench', model),
    B,
    T,
    batch: batchOf(B, T, V),
  };
  const contestants: Training[] = [await ourTraining(bench.gpu, 'f32', task)];
  if (bench.gpu.adapter.f16) contestants.push(await ourTraining(bench.gpu, 'f16', task));
  for (const peer of bench.peers) if (peer.llama) contestants.push(await peer.llama(task));
  const agreement = await agreeOnLosses(bench, contestants);
  bench.log('timing');
  const gpt2 = await ourTraining(bench.gpu, 'f32', await taskOf(STEPS.W1));
  const all = [...contestants, { ...gpt2, name: `${gpt2.name}, GPT-2` }];
  const timings = await interleaved(all, bench.turns ?? TURNS);
  for (const contestant of all) await contestant.end();
  const competing = timings.slice(0, -1);
  const [ours, other] = [timings[0], timings.at(-1) ?? timings[0]];
  return {
    workload: 'W6',
    title:
      `a training step of Llama with V ${V}, T ${T}, B ${B}, C ${C}, ${H} heads, ${KV} of keys, ` +
      `F ${F}, ${GPT2.n_layer} layers; AdamW, cross-entropy`,
    agreement,
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
      ...figuresOf(competing, contestants),
      {
        what: `${ours.name} over GPT-2’s step of equal matrix work, W1`,
        value: ours.median / other.median,
        atMost: 1.15,
      },
    ],
    notes: [],
  };
}
