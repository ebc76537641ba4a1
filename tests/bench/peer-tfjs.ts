// TensorFlow.js with its WebGPU backend, used as in its own examples: variables, tf.train.adam,
// read the loss.

import * as tf from '@tensorflow/tfjs';
import '@tensorflow/tfjs-backend-webgpu';
import { parametersOf } from '../../src/model/gpt2/config';
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

const NAME = `tfjs ${tf.version_core}`;

export async function openTfjs(): Promise<Peer> {
  await tf.setBackend('webgpu');
  await tf.ready();
  if (tf.getBackend() !== 'webgpu')
    throw new Error(`tfjs: its backend is ${tf.getBackend()}, not webgpu.`);
  return {
    name: 'tfjs',
    version: tf.version_core,
    training: async (task) => train(task),
    product: async (task) => multiply(task),
    loss: async (task) => differentiate(task),
  };
}

type Variables = Record<string, tf.Variable>;

function train({ config, weights, B, T, batch }: TrainingTask): Training {
  const variables: Variables = Object.fromEntries(
    parametersOf(config).map(({ name, shape }) => [
      name,
      tf.variable(tf.tensor(weights.get(name) as Float32Array, shape)),
    ]),
  );
  const matrices = Object.values(variables).filter(({ rank }) => rank === 2);
  const tokens = tf.tensor2d(Int32Array.from(batch.inputs), [B, T], 'int32');
  const targets = tf.tensor1d(batch.targets, 'int32');
  // The strict upper triangle stands for −∞.
  const mask = tf.tidy(() =>
    tf.sub(1, tf.linalg.bandPart(tf.ones([T, T]), -1, 0)).mul(-1e9),
  ) as tf.Tensor2D;
  const adam = tf.train.adam(ADAM.learningRate, ADAM.beta1, ADAM.beta2, ADAM.epsilon);
  const lossOf = () => {
    const logits = forward(variables, { config, B, T }, tokens, mask);
    return crossEntropy(logits, targets);
  };
  let last = Number.NaN;
  return {
    name: NAME,
    kind: 'rival',
    async run() {
      const loss = tf.tidy(() => {
        const { value, grads } = tf.variableGrads(lossOf);
        for (const matrix of matrices)
          matrix.assign(matrix.mul(1 - ADAM.learningRate * ADAM.weightDecay));
        adam.applyGradients(grads as Parameters<typeof adam.applyGradients>[0]);
        return value;
      });
      [last] = await loss.data();
      loss.dispose();
    },
    loss: async () => last,
    async end() {
      adam.dispose();
      tf.dispose([...Object.values(variables), tokens, targets, mask]);
    },
  };
}

/** (B, T) ids → (B·T, V) logits: pre-LayerNorm, learnt positions, tanh GELU, head tied to wte. */
function forward(
  p: Variables,
  {
    config: { n_embd: C, n_head: H, n_layer, layer_norm_epsilon },
    B,
    T,
  }: Pick<TrainingTask, 'config' | 'B' | 'T'>,
  tokens: tf.Tensor2D,
  mask: tf.Tensor2D,
): tf.Tensor2D {
  const D = C / H;
  const norm = (x: tf.Tensor, name: string) => {
    const { mean, variance } = tf.moments(x, -1, true);
    const normal = x.sub(mean).mul(variance.add(layer_norm_epsilon).rsqrt());
    return normal.mul(p[`${name}.weight`]).add(p[`${name}.bias`]);
  };
  const linear = (x: tf.Tensor, name: string) =>
    tf.fused.matMul({
      a: x as tf.Tensor2D,
      b: p[`${name}.weight`] as tf.Tensor,
      bias: p[`${name}.bias`],
    });
  const gelu = (x: tf.Tensor) =>
    x.mul(0.5).mul(
      x
        .add(x.square().mul(x).mul(0.044715))
        .mul(Math.sqrt(2 / Math.PI))
        .tanh()
        .add(1),
    );
  const heads = (x: tf.Tensor) => x.reshape([B, T, H, D]).transpose([0, 2, 1, 3]);
  let x: tf.Tensor = tf
    .gather(p['wte.weight'], tokens)
    .add(p['wpe.weight'].slice([0, 0], [T, C]))
    .reshape([B * T, C]);
  for (let layer = 0; layer < n_layer; layer++) {
    const h = `h.${layer}`;
    const [q, k, v] = tf.split(linear(norm(x, `${h}.ln_1`), `${h}.attn.c_attn`), 3, -1).map(heads);
    const scores = tf
      .matMul(q, k, false, true)
      .mul(1 / Math.sqrt(D))
      .add(mask);
    const attended = tf.matMul(tf.softmax(scores), v).transpose([0, 2, 1, 3]);
    x = x.add(linear(attended.reshape([B * T, C]), `${h}.attn.c_proj`));
    x = x.add(linear(gelu(linear(norm(x, `${h}.ln_2`), `${h}.mlp.c_fc`)), `${h}.mlp.c_proj`));
  }
  return tf.matMul(norm(x, 'ln_f') as tf.Tensor2D, p['wte.weight'] as tf.Tensor2D, false, true);
}

/** logits (rows, V), targets (rows) → the mean over rows. */
const crossEntropy = (logits: tf.Tensor, targets: tf.Tensor1D): tf.Scalar =>
  tf.losses.softmaxCrossEntropy(tf.oneHot(targets, logits.shape[1] as number), logits).asScalar();

function multiply({ M, K, N, a, transposeA, b, transposeB, repeats }: ProductTask): Product {
  const left = tf.tensor2d(a, transposeA ? [K, M] : [M, K]);
  const right = tf.tensor2d(b, transposeB ? [N, K] : [K, N]);
  let last: tf.Tensor | undefined;
  return {
    name: NAME,
    async run() {
      for (let i = 0; i < repeats; i++) {
        last?.dispose();
        last = tf.matMul(left, right, transposeA, transposeB);
      }
      // Its way of waiting is to read: one element, for the sake of the other contestants.
      const one = tf.tidy(() => last?.slice([0, 0], [1, 1]));
      await one?.data();
      one?.dispose();
    },
    result: async () => (await last?.data()) as Float32Array,
    end: async () => tf.dispose([left, right, ...(last ? [last] : [])]),
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
  const studentLogits = tf.tensor3d(student, [B, T, V]);
  const teacherLogits = loss === 'kd' ? tf.tensor3d(teacher, [B, T, V]) : undefined;
  const labels = tf.tensor1d(targets, 'int32');
  const rows = (x: tf.Tensor3D) =>
    (sliced ? x.slice([0, 0, 0], [B, T - 1, V]) : x).reshape([-1, V]);
  const divergence = (z: tf.Tensor, y: tf.Tensor) => {
    const [logQ, logP] = [z, y].map((x) => tf.logSoftmax(x.div(temperature)));
    const perRow = logP.exp().mul(logP.sub(logQ)).sum(-1);
    return perRow
      .mean()
      .mul(temperature ** 2)
      .asScalar();
  };
  const lossAndGradient = tf.valueAndGrad((z) => {
    const ours = rows(z as tf.Tensor3D);
    return teacherLogits ? divergence(ours, rows(teacherLogits)) : crossEntropy(ours, labels);
  });
  let gradient: tf.Tensor | undefined;
  let last = Number.NaN;
  return {
    name: NAME,
    async run() {
      gradient?.dispose();
      const { value, grad } = tf.tidy(() => lossAndGradient(studentLogits));
      gradient = grad;
      [last] = await value.data();
      value.dispose();
    },
    loss: async () => last,
    gradient: async () => (await gradient?.data()) as Float32Array,
    end: async () =>
      tf.dispose([
        studentLogits,
        labels,
        ...(teacherLogits ? [teacherLogits] : []),
        ...(gradient ? [gradient] : []),
      ]),
  };
}
