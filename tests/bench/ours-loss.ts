// Stillhouse's losses as contestants: on a slice in place, or on a copy of it.

import { download, structValues, upload } from '../../src/check/tensors';
import { DEFAULTS } from '../../src/config';
import { sliceLogits, sliceLogitsBackward } from '../../src/distill/loss-paths';
import { recordLoss } from '../../src/distill/losses';
import type { Gpu } from '../../src/gpu/device';
import { bufferOf, Pool, Recorder, type Tensor } from '../../src/gpu/program';
import { SCALER, STEP } from '../../src/kernels/sources';
import type { Contestant } from './interleave';
import type { LossRun, LossTask } from './peer';

interface Inputs {
  /** (B, T, V): the loss overwrites it with the gradient, so each run first copies `original`. */
  student: Tensor;
  original: Tensor;
  teacher?: Tensor;
  targets: Tensor;
  end(): void;
}

export function ourInputs(
  gpu: Gpu,
  { shape, sliced, student, teacher, targets }: LossTask,
): Inputs {
  const [B, T] = shape;
  const tensor = (label: string, values: Float32Array) => upload(gpu, label, values, [...shape]);
  const inputs = {
    student: tensor('student', student),
    original: tensor('original', student),
    ...(teacher.length > 0 && { teacher: tensor('teacher', teacher) }),
    targets: upload(gpu, 'targets', targets, [B, sliced ? T - 1 : T], 'i32'),
  };
  return {
    ...inputs,
    end() {
      for (const input of Object.values(inputs)) gpu.memory.destroy(bufferOf(input));
    },
  };
}

/** Copies the student's logits once with WebGPU: what moving these bytes costs on this adapter. */
export function ourCopy(gpu: Gpu, { student, original }: Inputs): Contestant {
  return {
    name: 'copyBufferToBuffer of the logits',
    async run() {
      const encoder = gpu.device.createCommandEncoder();
      encoder.copyBufferToBuffer(bufferOf(original), 0, bufferOf(student), 0, student.place.bytes);
      gpu.device.queue.submit([encoder.finish()]);
      await gpu.idle();
    },
  };
}

/**
 * `strided` reads and writes in place; `copy` copies the slices first; `copy and back` also copies
 * the gradient back into the logits.
 */
export async function ourLoss(
  gpu: Gpu,
  inputs: Inputs,
  { loss, sliced, temperature }: LossTask,
  path: 'strided' | 'copy' | 'copy and back',
): Promise<{ run: LossRun; extraBytes: number }> {
  const before = totalBytes(gpu);
  const { student, teacher, targets } = inputs;
  const [B, T] = targets.layout.shape;
  const rows = B * T;
  const perToken = upload(gpu, 'per token', new Float32Array(2 * rows), [rows, 2]);
  const alpha = loss === 'kd' ? 1 : 0;
  const settings = structValues(STEP, { temperature, alpha, inverse_tokens: 1 / rows });
  const step = upload(gpu, 'step', settings, [STEP.bytes / 4]);
  const scaler = unscaled(gpu);
  const zero = upload(gpu, 'zero', [0], [1]);
  const pool = new Pool(gpu);
  const recorder = new Recorder(gpu, pool);
  const slice = sliced
    ? sliceLogits(recorder, student, path === 'strided' ? 'strided' : 'reshape')
    : undefined;
  const teacherLogits =
    teacher && sliced
      ? sliceLogits(recorder, teacher, path === 'strided' ? 'strided' : 'reshape').tensor
      : teacher;
  recordLoss(
    recorder,
    { ...DEFAULTS, loss: loss === 'kd' ? 'fkl' : 'ce' },
    {
      student: slice?.tensor ?? student,
      targets,
      perToken,
      ignoreIndex: -100,
      gradient: true,
      step: step.place,
      scaler: scaler.place,
    },
    teacherLogits,
  );
  if (slice && path !== 'copy') sliceLogitsBackward(recorder, slice, student, zero);
  const program = await recorder.build('loss');
  const extraBytes = totalBytes(gpu) - before;
  const restore = ourCopy(gpu, inputs);
  const names = {
    strided: 'sliced',
    copy: 'copied first',
    'copy and back': 'copied first and back',
  };
  const run: LossRun = {
    name: `stillhouse, ${sliced ? names[path] : 'contiguous'}`,
    prepare: () => restore.run(),
    async run() {
      const encoder = gpu.device.createCommandEncoder();
      program.encode(encoder);
      gpu.device.queue.submit([encoder.finish()]);
      await gpu.idle();
    },
    async loss() {
      const values = await download(gpu, perToken);
      // CE and KL of each token, the KL without T².
      const perRow = values.filter((_, i) => i % 2 === (loss === 'kd' ? 1 : 0));
      return (
        (perRow.reduce((sum, value) => sum + value, 0) / rows) *
        (loss === 'kd' ? temperature ** 2 : 1)
      );
    },
    gradient: () => download(gpu, student),
    async end() {
      program.destroy();
      pool.destroy();
      for (const tensor of [perToken, step, scaler, zero]) gpu.memory.destroy(bufferOf(tensor));
    },
  };
  return { run, extraBytes };
}

/** A loss scaler of scale 1; the losses read nothing else of it. */
export function unscaled(gpu: Gpu): Tensor {
  const fields = new Float32Array(SCALER.bytes / 4);
  fields[SCALER.fields.findIndex(({ name }) => name === 'scale')] = 1;
  return upload(gpu, 'scaler', fields, [fields.length]);
}

const totalBytes = (gpu: Gpu): number =>
  Object.values(gpu.memory.totals()).reduce((sum, bytes) => sum + bytes, 0);
