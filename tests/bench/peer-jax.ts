// jax-js on WebGPU, used as in its own examples: one jitted function for the step, and a wait for
// its results. Its npm package has no AdamW, so AdamW is written in its operations.

import {
  blockUntilReady,
  defaultDevice,
  init,
  type Array as JaxArray,
  jit,
  nn,
  numpy as np,
  valueAndGrad,
} from '@jax-js/jax';
import { devDependencies } from '../../package.json';
import type { LlamaConfig } from '../../src/model/llama/config';
import { rotaryFrequencies } from '../../src/model/llama/rotation';
import {
  ADAM,
  type LossRun,
  type LossTask,
  type Peer,
  type Product,
  type ProductTask,
  type Training,
  type TrainingTask,
} from './peer';

const VERSION = devDependencies['@jax-js/jax'];
const NAME = `jax-js ${VERSION}`;

export async function openJax(): Promise<Peer> {
  const devices = await init('webgpu');
  if (!devices.includes('webgpu'))
    throw new Error(`jax-js: it opened ${devices.join(', ') || 'no device'}, not webgpu.`);
  defaultDevice('webgpu');
  return {
    name: 'jax-js',
    version: VERSION,
    training: async (task) => train(task, forward),
    llama: async (task) => train(task, llamaForward),
    product: async (task) => multiply(task),
    loss: async (task) => differentiate(task),
  };
}

type Tree = Record<string, JaxArray>;
const mapTree = (tree: Tree, value: (array: JaxArray, name: string) => JaxArray): Tree =>
  Object.fromEntries(Object.entries(tree).map(([name, array]) => [name, value(array, name)]));

type Forward<Config> = (p: Tree, task: TrainingTask<Config>, tokens: JaxArray) => JaxArray;

function train<Config>(task: TrainingTask<Config>, forward: Forward<Config>): Training {
  const { model, weights, B, T, batch } = task;
  const shapes = new Map(model.parameters.map(({ name, shape }) => [name, [...shape]]));
  const tree = (value: (name: string, shape: number[]) => JaxArray): Tree =>
    Object.fromEntries([...shapes].map(([name, shape]) => [name, value(name, shape)]));
  let params = tree((name, shape) =>
    np.array(weights.get(name) as Float32Array<ArrayBuffer>, { shape }),
  );
  let mean = tree((_, shape) => np.zeros(shape));
  let square = tree((_, shape) => np.zeros(shape));
  const tokens = np.array(Int32Array.from(batch.inputs), { shape: [B * T], dtype: np.int32 });
  const targets = np.array(Int32Array.from(batch.targets), { shape: [B * T, 1], dtype: np.int32 });

  const { learningRate, beta1, beta2, epsilon, weightDecay } = ADAM;
  const step = jit(
    (
      params: Tree,
      mean: Tree,
      square: Tree,
      correction1: JaxArray,
      correction2: JaxArray,
      tokens: JaxArray,
      targets: JaxArray,
    ) => {
      const [loss, gradients] = valueAndGrad((p: Tree) =>
        crossEntropy(forward(p, task, tokens), targets),
      )(mapTree(params, (p) => p.ref));
      const nextMean = mapTree(mean, (m, name) =>
        m.mul(beta1).add(gradients[name].ref.mul(1 - beta1)),
      );
      const nextSquare = mapTree(square, (v, name) =>
        v.mul(beta2).add(np.square(gradients[name]).mul(1 - beta2)),
      );
      const next = mapTree(params, (p, name) => {
        const update = nextMean[name].ref
          .div(correction1.ref)
          .div(np.sqrt(nextSquare[name].ref.div(correction2.ref)).add(epsilon));
        const decay = shapes.get(name)?.length === 2 ? 1 - learningRate * weightDecay : 1;
        return p.mul(decay).sub(update.mul(learningRate));
      });
      correction1.dispose();
      correction2.dispose();
      return { loss, params: next, mean: nextMean, square: nextSquare };
    },
  );
  let last = Number.NaN;
  let steps = 0;
  return {
    name: NAME,
    kind: 'rival',
    async run() {
      steps++;
      const result = step(
        params,
        mean,
        square,
        np.array(1 - beta1 ** steps),
        np.array(1 - beta2 ** steps),
        tokens.ref,
        targets.ref,
      );
      ({ params, mean, square } = result);
      await blockUntilReady([result.loss, params, mean, square]);
      [last] = await result.loss.data();
    },
    loss: async () => last,
    async end() {
      for (const tree of [params, mean, square])
        for (const array of Object.values(tree)) array.dispose();
      tokens.dispose();
      targets.dispose();
      step.dispose();
    },
  };
}

/** logits (rows, V), targets (rows, 1) → the mean over rows. */
function crossEntropy(logits: JaxArray, targets: JaxArray): JaxArray {
  const V = logits.shape[1];
  // nn.oneHot would build the V × V identity.
  const chosen = np.equal(np.arange(V).astype(np.int32), targets);
  return np.where(chosen, nn.logSoftmax(logits), 0).sum(-1).mean().mul(-1);
}

/** (B·T) ids → (B·T, V) logits: pre-LayerNorm, learnt positions, tanh GELU, head tied to wte. */
function forward(p: Tree, { config, B, T }: TrainingTask, tokens: JaxArray): JaxArray {
  const { n_embd: C, n_head: H, n_layer } = config;
  const norm = (x: JaxArray, name: string) =>
    nn
      .standardize(x, -1, { epsilon: config.layer_norm_epsilon })
      .mul(p[`${name}.weight`].ref)
      .add(p[`${name}.bias`].ref);
  const linear = (x: JaxArray, name: string) =>
    np.matmul(x, p[`${name}.weight`].ref).add(p[`${name}.bias`].ref);
  const embedded = np.take(p['wte.weight'].ref, tokens, 0);
  let x = embedded.add(np.tile(p['wpe.weight'].ref, [B, 1]));
  for (let layer = 0; layer < n_layer; layer++) {
    const h = `h.${layer}`;
    const qkv = linear(norm(x.ref, `${h}.ln_1`), `${h}.attn.c_attn`);
    const [q, k, v] = np.split(qkv, 3, -1).map((part) => part.reshape([B, T, H, C / H]));
    const attended = nn.dotProductAttention(q, k, v, { isCausal: true }).reshape([B * T, C]);
    x = x.add(linear(attended, `${h}.attn.c_proj`));
    const wide = linear(norm(x.ref, `${h}.ln_2`), `${h}.mlp.c_fc`);
    x = x.add(linear(nn.gelu(wide), `${h}.mlp.c_proj`));
  }
  return np.matmul(norm(x, 'ln_f'), p['wte.weight'].ref.transpose());
}

/**
 * The same for Llama: RMSNorm, rotary positions, query heads that share keys and values, SwiGLU;
 * weights (out, in), head tied to the embedding.
 */
function llamaForward(p: Tree, task: TrainingTask<LlamaConfig>, tokens: JaxArray): JaxArray {
  const { config, B, T } = task;
  const { num_attention_heads: H, num_key_value_heads: KV, head_dim: D } = config;
  const norm = (x: JaxArray, name: string) => {
    const size = np.sqrt(np.square(x.ref).mean(-1, { keepdims: true }).add(config.rms_norm_eps));
    return x.div(size).mul(p[`${name}.weight`].ref);
  };
  const linear = (x: JaxArray, name: string) => np.matmul(x, p[`${name}.weight`].ref.transpose());
  const frequencies = rotaryFrequencies(D, config.rope_theta, config.rope_scaling);
  // (T, 1, D): each frequency turns a number and the one half a head further.
  const table = (of: (angle: number) => number) =>
    np.array(
      Float32Array.from({ length: T * D }, (_, i) =>
        of(Math.floor(i / D) * frequencies[i % (D / 2)]),
      ),
      { shape: [T, 1, D] },
    );
  const [cosines, sines] = [table(Math.cos), table(Math.sin)];
  const turned = (x: JaxArray) => {
    const [low, high] = np.split(x.ref, 2, -1);
    return x.mul(cosines.ref).add(np.concatenate([high.mul(-1), low], -1).mul(sines.ref));
  };
  let x = np.take(p['embed_tokens.weight'].ref, tokens, 0);
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const at = `layers.${layer}`;
    const input = norm(x.ref, `${at}.input_layernorm`);
    const heads = (part: string, count: number) =>
      linear(input.ref, `${at}.self_attn.${part}_proj`).reshape([B, T, count, D]);
    const [q, k, v] = [turned(heads('q', H)), turned(heads('k', KV)), heads('v', KV)];
    input.dispose();
    const attended = nn.dotProductAttention(q, k, v, { isCausal: true });
    x = x.add(linear(attended.reshape([B * T, H * D]), `${at}.self_attn.o_proj`));
    const middle = norm(x.ref, `${at}.post_attention_layernorm`);
    const gate = nn.silu(linear(middle.ref, `${at}.mlp.gate_proj`));
    x = x.add(linear(gate.mul(linear(middle, `${at}.mlp.up_proj`)), `${at}.mlp.down_proj`));
  }
  cosines.dispose();
  sines.dispose();
  return np.matmul(norm(x, 'norm'), p['embed_tokens.weight'].ref.transpose());
}

function multiply({ M, K, N, a, transposeA, b, transposeB, repeats }: ProductTask): Product {
  const left = np.array(a, { shape: transposeA ? [K, M] : [M, K] });
  const right = np.array(b, { shape: transposeB ? [N, K] : [K, N] });
  const product = jit((a: JaxArray, b: JaxArray) =>
    np.matmul(transposeA ? a.transpose() : a, transposeB ? b.transpose() : b),
  );
  let last: JaxArray | undefined;
  return {
    name: NAME,
    async run() {
      last?.dispose();
      // All are held until they are done: a result that is disposed earlier is never computed.
      const results = Array.from({ length: repeats }, () => product(left.ref, right.ref));
      await blockUntilReady(results);
      last = results.pop();
      for (const result of results) result.dispose();
    },
    result: async () => (await last?.ref.data()) as Float32Array,
    async end() {
      for (const array of [left, right, last]) array?.dispose();
      product.dispose();
    },
  };
}

function differentiate({
  loss,
  shape,
  sliced,
  student,
  teacher,
  targets,
  temperature,
}: LossTask): LossRun {
  const [B, T, V] = shape;
  const studentLogits = np.array(student, { shape: [B, T, V] });
  const teacherLogits = loss === 'kd' ? np.array(teacher, { shape: [B, T, V] }) : np.array(0);
  const labels = np.array(targets, { shape: [targets.length, 1], dtype: np.int32 });
  const rows = (x: JaxArray) => (sliced ? x.slice([], [0, -1], []) : x).reshape([-1, V]);
  const logs = (x: JaxArray) => nn.logSoftmax(rows(x).div(temperature));
  const lossOf = (z: JaxArray, y: JaxArray, labels: JaxArray) => {
    if (loss === 'ce') {
      y.dispose();
      return crossEntropy(rows(z), labels);
    }
    labels.dispose();
    const [logQ, logP] = [logs(z), logs(y)];
    const perRow = np.exp(logP.ref).mul(logP.sub(logQ)).sum(-1);
    return perRow.mean().mul(temperature ** 2);
  };
  const lossAndGradient = jit((z: JaxArray, y: JaxArray, labels: JaxArray) =>
    valueAndGrad(lossOf)(z, y, labels),
  );
  let gradient: JaxArray | undefined;
  let last = Number.NaN;
  return {
    name: NAME,
    async run() {
      gradient?.dispose();
      const [value, next] = lossAndGradient(studentLogits.ref, teacherLogits.ref, labels.ref);
      gradient = next;
      await blockUntilReady([value, next]);
      [last] = await value.data();
    },
    loss: async () => last,
    gradient: async () => (await gradient?.ref.data()) as Float32Array,
    async end() {
      for (const array of [studentLogits, teacherLogits, labels, gradient]) array?.dispose();
      lossAndGradient.dispose();
    },
  };
}
