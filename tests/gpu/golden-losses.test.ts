// Every loss and its gradient against PyTorch in float64, through every layout of the goldens.
//
// Tolerances in f32: per-token losses 2e-5 relative plus 2e-6, gradients 1e-4 (relative norm), or
// four times the error of PyTorch's float32 (`float32_error`) if that is more, since some losses
// cancel. With teacher logits in f16, the expected values come from the reference for the rounded
// logits.

import { expect, it } from 'vitest';
import { DEFAULTS } from '../../src/config';
import { recordLoss, teacherWeight } from '../../src/distill/losses';
import type { Divergence } from '../../src/divergences';
import * as reference from '../../src/reference';
import { Layout } from '../../src/tensor/layout';
import { type GoldenTensor, readGoldenJson, readGoldenTensors } from '../safetensors-fixture';
import { LOSS_NAMES } from './loss-runs';
import {
  download,
  execute,
  type Storage,
  stored,
  testVariants,
  upload,
  uploadLossState,
  zeros,
} from './variants';

interface LossCase {
  name: string;
  kind: Divergence | 'ce' | 'mixed';
  B: number;
  T: number;
  V: number;
  temperature: number;
  beta: number;
  alpha: number;
  label_smoothing: number;
  z_loss: number;
  ignore_index: number;
  stored: number[];
  view: [string, ...(number | number[] | null)[]][];
  valid: number;
  float32_error: { per_token: number; grad: number };
}

const cases = readGoldenJson<LossCase[]>('losses.json');
const tensors = readGoldenTensors('losses.safetensors');

function viewOf({ stored: shape, view }: LossCase): Layout {
  return view.reduce<Layout>((layout, [name, ...a]) => {
    if (name === 'slice')
      return layout.slice(
        a[0] as number,
        a[1] as number | null,
        a[2] as number | null,
        a[3] as number,
      );
    if (name === 'transpose') return layout.transpose(a[0] as number, a[1] as number);
    if (name === 'permute') return layout.permute(a[0] as number[]);
    throw new Error(`losses.json: a view uses ${name}. Teach viewOf what it means.`);
  }, Layout.contiguous(shape));
}

it('the goldens have a case for every loss in each of 7 layouts', () => {
  expect(cases.length).toBe(7 * LOSS_NAMES.length);
  expect(new Set(cases.map(({ kind }) => kind))).toEqual(new Set(LOSS_NAMES));
});

testVariants('every golden: per-token losses and gradients', async (gpu, teacherType: Storage) => {
  for (const c of cases) {
    const tensor = (name: string) => tensors[`${c.name}.${name}`] as GoldenTensor;
    const layout = viewOf(c);
    const z = tensor('student').data;
    const y = stored(tensor('teacher').data, teacherType);
    const weight = teacherWeight(c.kind, c.alpha);
    const student = upload(gpu, 'student', z, layout);
    const perToken = zeros(gpu, 'per token', [c.B * c.T, 2]);
    const inputs = {
      student,
      perToken,
      ...uploadLossState(gpu, {
        temperature: c.temperature,
        alpha: weight,
        tokens: c.valid,
      }),
      targets: upload(gpu, 'targets', tensor('target').data, [c.B, c.T], 'i32'),
      ignoreIndex: c.ignore_index,
      gradient: true,
    };
    const settings = {
      ...DEFAULTS,
      loss: c.kind,
      kd_beta: c.beta,
      label_smoothing: c.label_smoothing,
      z_loss: c.z_loss,
    };
    const teacher = upload(gpu, 'teacher', y, layout, teacherType);
    await execute(gpu, (recorder) => recordLoss(recorder, settings, inputs, teacher));

    const pairs = await download(gpu, perToken);
    const got = Array.from({ length: c.B * c.T }, (_, i) => {
      const [ce, kd] = [pairs[2 * i], pairs[2 * i + 1] * c.temperature ** 2];
      return (weight > 0 ? weight * kd : 0) + (weight < 1 ? (1 - weight) * ce : 0);
    });
    const expected =
      teacherType === 'f32'
        ? { perToken: tensor('per_token').data, gradient: tensor('grad').data }
        : reference.distillationLoss(
            {
              kind: c.kind,
              temperature: c.temperature,
              alpha: c.alpha,
              beta: c.beta,
              labelSmoothing: c.label_smoothing,
              zLoss: c.z_loss,
              ignoreIndex: c.ignore_index,
            },
            { data: z, layout },
            { data: y, layout },
            reference.contiguous(tensor('target').data, [c.B, c.T]),
          );
    for (const [i, want] of Array.from(expected.perToken).entries()) {
      const tolerance = Math.max(2e-5 * Math.abs(want) + 2e-6, 4 * c.float32_error.per_token);
      expect(
        Math.abs(got[i] - want),
        `${c.name}, token ${i}: ${got[i]}, want ${want}`,
      ).toBeLessThanOrEqual(tolerance);
    }
    // The gradient takes the place of the logits; elements outside the view keep theirs.
    const after = await download(gpu, student);
    const covered = new Set(layout.addresses());
    const [gradient, wanted, outside, untouched]: number[][] = [[], [], [], []];
    for (const at of after.keys()) {
      (covered.has(at) ? gradient : outside).push(after[at]);
      (covered.has(at) ? wanted : untouched).push(covered.has(at) ? expected.gradient[at] : z[at]);
    }
    expect(outside, c.name).toEqual(untouched);
    if (c.valid === 0) expect(new Set(gradient.map(Math.abs)), c.name).toEqual(new Set([0]));
    else {
      const tolerance = Math.max(1e-4, 4 * c.float32_error.grad);
      expect(reference.relativeError(gradient, wanted), `${c.name}, gradient`).toBeLessThanOrEqual(
        tolerance,
      );
    }
  }
});
