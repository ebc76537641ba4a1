// Head and loss over a real vocabulary: all logits at once, against chunks of rows whose logits
// share memory.

import { download, upload } from '../../src/check/tensors';
import { DEFAULTS } from '../../src/config';
import { recordChunks } from '../../src/distill/step';
import type { Gpu } from '../../src/gpu/device';
import { bufferOf, Pool, Recorder } from '../../src/gpu/program';
import { gpt2 } from '../../src/model/gpt2/gpt2';
import { Arena, fill, planArena } from '../../src/model/parameters';
import { batchOf, numbers, weightsOf } from './formula';
import { interleaved } from './interleave';
import { unscaled } from './ours-loss';
import { ADAM } from './peer';
import { type Bench, distance, furthest, type Result, requireAgreement } from './result';
import { gpt2Shape } from './w1-step';

const V = 50257;
/** 512 rows: their logits, 103 MB, fit into lavapipe's largest binding, 128 MiB. */
const [B, T] = [4, 128];
/** The width: GPT-2's on a GPU; a sixth of it on a CPU, where products would take minutes. */
const WIDTH = { software: 128, gpu: 768 };
/** Elements per chunk: all of them, or the trainer's default. */
const CHUNKS: Record<string, number | undefined> = {
  'all at once': B * T * V,
  'in chunks, as trained': undefined,
};
const TURNS = 3;
/** The same products and losses per row; only the head's gradient is summed in another order. */
const LIMIT = 1e-5;

export async function benchChunks(bench: Bench): Promise<Omit<Result, 'workload' | 'title'>> {
  const { gpu } = bench;
  const C = gpu.adapter.software ? WIDTH.software : WIDTH.gpu;
  const runs: Awaited<ReturnType<typeof headAndLoss>>[] = [];
  for (const [name, elements] of Object.entries(CHUNKS)) {
    bench.log(`head and loss, ${name}`);
    runs.push(await headAndLoss(gpu, name, C, elements));
  }
  for (const run of runs) {
    await run.prepare();
    await run.run();
  }
  const results = await Promise.all(runs.map((run) => run.result()));
  const agreement = requireAgreement({
    what: 'head and loss: loss, d hidden and the gradient of the head',
    reason: 'the gradient of the head is summed chunk by chunk',
    rows: runs.slice(1).map(({ name }, i) => {
      const [chunks, all] = [results[i + 1], results[0]];
      const difference = Math.max(
        furthest([chunks.loss], [all.loss]),
        distance(chunks.dhidden, all.dhidden),
        distance(chunks.gradient, all.gradient),
      );
      return { name, difference, limit: LIMIT };
    }),
  });
  bench.log('timing');
  const timings = await interleaved(runs, bench.turns ?? TURNS, 1);
  for (const run of runs) run.end();
  const rows = timings.map((timing, i) => ({
    ...timing,
    figures: { 'MB of logits': runs[i].logitBytes / 1e6 },
  }));
  return {
    agreement: [agreement],
    tables: [
      {
        title: `Head and cross-entropy with their gradients: ${B * T} rows, C ${C}, V ${V}, f32`,
        rows,
      },
    ],
    figures: rows.slice(1).flatMap(({ name, median }, i) => [
      { what: `${name}: time over all at once`, value: median / rows[0].median, atMost: 1.15 },
      {
        what: `${name}: memory of logits over all at once`,
        value: runs[i + 1].logitBytes / runs[0].logitBytes,
        atMost: 0.1,
      },
    ]),
    notes: [],
  };
}

async function headAndLoss(gpu: Gpu, name: string, C: number, chunkElements?: number) {
  // A model without blocks: the hidden states are inputs.
  const student = gpt2(gpt2Shape(V, C, C / 32, 0, B, T).config);
  const plan = planArena(student.parameters, gpu.limits.buffer);
  const weights = new Arena(gpu, plan, 'f32', 'weights', `weights, ${name}`);
  const gradients = new Arena(gpu, plan, 'f32', 'gradients', `gradients, ${name}`);
  await fill(gpu, [weights], weightsOf('head', student));
  const model = student.withWeights(weights);
  const hidden = upload(gpu, 'hidden', numbers('hidden', B * T * C), [B * T, C]);
  const dhidden = upload(gpu, 'd hidden', new Float32Array(B * T * C), [B * T, C]);
  const targets = upload(gpu, 'targets', batchOf(B, T, V).targets, [B, T], 'i32');
  const step = upload(gpu, 'step', [0, 1, 0, 1 / (B * T)], [4]);
  const scaler = unscaled(gpu);
  const sums = upload(gpu, 'sums', [0, 0], [2]);
  const zero = upload(gpu, 'zero', [0], [1]);
  const tensors = { hidden, dhidden, targets, step, scaler, sums, zero };
  const before = gpu.memory.totals().logits ?? 0;
  const pool = new Pool(gpu);
  const recorder = new Recorder(gpu, pool);
  const { learningRate: _, ...adam } = ADAM;
  const settings = {
    student,
    dtype: 'f32' as const,
    batchSize: B,
    contextLength: T,
    initialLossScale: 1,
    chunkElements,
    loss: { ...DEFAULTS, loss: 'ce' as const },
    adam: { ...adam, maxGradNorm: 0 },
  };
  const state = {
    settings,
    model,
    gradients,
    batch: { targets },
    step: bufferOf(step),
    scaler: bufferOf(scaler),
    sums,
    zero,
  };
  recordChunks(recorder, state, undefined, hidden, dhidden);
  const program = await recorder.build(name);
  return {
    name,
    logitBytes: (gpu.memory.totals().logits ?? 0) - before,
    async prepare() {
      const encoder = gpu.device.createCommandEncoder();
      gradients.clear(encoder);
      encoder.clearBuffer(bufferOf(sums));
      gpu.device.queue.submit([encoder.finish()]);
      await gpu.idle();
    },
    async run() {
      const encoder = gpu.device.createCommandEncoder();
      program.encode(encoder);
      gpu.device.queue.submit([encoder.finish()]);
      await gpu.idle();
    },
    async result() {
      const [loss] = await download(gpu, sums);
      return {
        loss,
        dhidden: await download(gpu, dhidden),
        gradient: await gradients.readParameter('wte.weight'),
      };
    },
    end() {
      program.destroy();
      pool.destroy();
      weights.destroy();
      gradients.destroy();
      for (const tensor of Object.values(tensors)) gpu.memory.destroy(bufferOf(tensor));
    },
  };
}
