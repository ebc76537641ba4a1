// The JavaScript time of a step: the default preset on a GPU that accepts everything and does
// nothing.

import { expect, test } from 'vitest';
import { DEFAULTS } from '../../src/config';
import { Batches } from '../../src/data/batches';
import type { StepRecord } from '../../src/distill/records';
import { newStudent } from '../../src/distill/run-setup';
import { teacherFromWeights } from '../../src/distill/teacher/engine';
import { Trainer } from '../../src/distill/trainer';
import { countingGpu } from '../../src/gpu/counting';
import { Pool } from '../../src/gpu/program';
import { planningGpu, withGpuConstants } from './planning-gpu';

const { batch_size: B, max_length: T } = DEFAULTS;
const V = 1024;

withGpuConstants();

/** The planner's device, plus the calls that a step makes. */
function idleGpu() {
  const gpu = countingGpu(planningGpu);
  const calls = { dispatches: 0, submissions: 0 };
  const pass = {
    setPipeline() {},
    setBindGroup() {},
    dispatchWorkgroups: () => calls.dispatches++,
    end() {},
  };
  const encoder = {
    beginComputePass: () => pass,
    clearBuffer() {},
    copyBufferToBuffer() {},
    finish: () => undefined,
  };
  const create = gpu.device.createBuffer.bind(gpu.device);
  const result = {
    mapAsync: async () => undefined,
    getMappedRange: () => new ArrayBuffer(64),
    unmap() {},
  };
  Object.assign(gpu.device, {
    createCommandEncoder: () => encoder,
    createBuffer: (descriptor: GPUBufferDescriptor) => Object.assign(create(descriptor), result),
  });
  Object.assign(gpu.device.queue, { submit: () => calls.submissions++ });
  return { gpu, calls };
}

test('a default step takes less than 1 ms of JavaScript, batch and record included', async () => {
  const { gpu, calls } = idleGpu();
  const student = newStudent(DEFAULTS, { vocabularySize: V });
  const builtIn = { ...student, n_positions: 128, n_embd: 128, n_layer: 4, n_head: 4 };
  const teacher = await teacherFromWeights(gpu, undefined, builtIn, { B, T, dtype: 'f16' });
  const settings = {
    student,
    dtype: 'f16' as const,
    batchSize: B,
    contextLength: T,
    loss: DEFAULTS,
    initialLossScale: 65536,
    adam: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, maxGradNorm: 1 },
  } as const;
  const records: StepRecord[] = [];
  const onRecord = (record: StepRecord) => records.push(record);
  const trainer = await Trainer.create(gpu, new Pool(gpu), settings, undefined, teacher, onRecord);
  const tokens = Uint32Array.from({ length: 100_000 }, (_, i) => (i * i * 7 + i) % V);
  const batches = new Batches({
    tokens,
    batchSize: B,
    contextLength: T,
    randomOf: () => () => 0.5,
  });
  const [WARM_UP, STEPS] = [50, 200];
  const times: number[] = [];
  for (let step = 1; step <= WARM_UP + STEPS; step++) {
    if (step === WARM_UP + 1) Object.assign(calls, { dispatches: 0, submissions: 0 });
    const start = performance.now();
    await trainer.step([batches.at(step)], {
      step,
      learningRate: 1e-3,
      temperature: 2,
      alpha: 0.7,
    });
    await trainer.drain();
    if (step > WARM_UP) times.push(performance.now() - start);
  }
  // The slower steps also show what else the machine does.
  const [least] = times.sort((a, b) => a - b).slice(STEPS / 10);
  expect(records).toHaveLength(WARM_UP + STEPS);
  // This is a real step: student and teacher in one submission.
  expect(calls.submissions).toBe(STEPS);
  expect(calls.dispatches / STEPS).toBeGreaterThan(trainer.dispatches(1));
  expect(least).toBeLessThan(1);
  console.log(
    `JavaScript of a step: ${least.toFixed(3)} ms, ${calls.dispatches / STEPS} dispatches.`,
  );
});
