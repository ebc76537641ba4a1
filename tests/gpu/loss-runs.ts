// Shared by the layout matrix and the traps: a loss on the GPU, recorded as a run records it, and
// the same loss from the reference.

import { DEFAULTS } from '../../src/config';
import { recordLoss, teacherWeight } from '../../src/distill/losses';
import { DIVERGENCE_NAMES, type Divergence } from '../../src/divergences';
import type { Gpu } from '../../src/gpu/device';
import type { Recorder } from '../../src/gpu/program';
import * as reference from '../../src/reference';
import type { Layout } from '../../src/tensor/layout';
import { download, type Storage, upload, uploadLossState, zeros } from './variants';

export const IGNORED = -100;
/** Those whose models have one vocabulary. */
export const LOSS_NAMES = ['mixed', 'ce', ...DIVERGENCE_NAMES] as const;

export interface View {
  data: Float64Array;
  layout: Layout;
}

export interface LossRun {
  loss: Divergence | 'ce' | 'mixed';
  /** (B, T, V) */
  student: View;
  /** (B, T, V), already rounded to `teacherType`. */
  teacher: View;
  teacherType?: Storage;
  /** (B, T) */
  targets: View;
  temperature?: number;
  alpha?: number;
  beta?: number;
  scale?: number;
  /** Divides the sum; the number of valid targets by default. */
  tokens?: number;
  gradient?: boolean;
}

const validOf = ({ data, layout }: View) =>
  [...layout.addresses()].filter((at) => data[at] !== IGNORED).length;

/** Uploads a run's tensors. `record` adds its dispatch; `read` downloads the results. */
export function prepareLoss(gpu: Gpu, run: LossRun) {
  const { loss, temperature = 1, alpha = 1, beta = 0.5, scale = 1, gradient = true } = run;
  const tokens = run.tokens ?? validOf(run.targets);
  const [B, T] = run.targets.layout.shape;
  const state = uploadLossState(gpu, {
    temperature,
    alpha: teacherWeight(loss, alpha),
    tokens,
    scale,
  });
  const student = upload(gpu, 'student', run.student.data, run.student.layout);
  const teacher = upload(gpu, 'teacher', run.teacher.data, run.teacher.layout, run.teacherType);
  const targets = upload(gpu, 'targets', run.targets.data, run.targets.layout, 'i32');
  const perToken = zeros(gpu, 'per token', [B * T, 2]);
  const settings = {
    ...DEFAULTS,
    loss,
    kd_loss: 'fkl' as const,
    kd_beta: beta,
    label_smoothing: 0,
    z_loss: 0,
  };
  const inputs = { student, targets, perToken, ...state, ignoreIndex: IGNORED, gradient };
  return {
    record: (recorder: Recorder) => recordLoss(recorder, settings, inputs, teacher),
    async read() {
      const [pairs, storage] = [await download(gpu, perToken), await download(gpu, student)];
      const addresses = [...run.student.layout.addresses()];
      const column = (c: number) => pairs.filter((_, i) => i % 2 === c);
      const covered = new Set(addresses);
      return {
        ce: column(0),
        /** Without T²; 0 for the loss `ce`. */
        kd: column(1),
        /** In row-major order of the view. */
        gradient: Float64Array.from(addresses, (at) => storage[at]),
        /** Elements of the storage outside the view that have changed. */
        disturbed: [...storage.keys()].filter(
          (at) => !covered.has(at) && storage[at] !== run.student.data[at],
        ),
        unchanged: storage.every((value, at) => value === run.student.data[at]),
      };
    },
  };
}

/** The same from the reference, in float64. */
export function lossReference(run: LossRun) {
  const { loss, temperature = 1, alpha = 1, beta, scale = 1, student, teacher, targets } = run;
  const options = {
    temperature,
    beta,
    ignoreIndex: IGNORED,
    denominator: run.tokens ?? validOf(targets),
  };
  const total = reference.distillationLoss(
    { ...options, kind: loss, alpha },
    student,
    teacher,
    targets,
  );
  const ce = reference.distillationLoss(
    { ...options, kind: 'ce' },
    student,
    undefined,
    targets,
  ).perToken;
  const kd =
    loss === 'mixed'
      ? reference.distillationLoss({ ...options, kind: 'fkl' }, student, teacher, targets)
      : total;
  return {
    ce,
    kd: kd.perToken.map((value) => (loss === 'ce' ? 0 : value / temperature ** 2)),
    gradient: Float64Array.from(student.layout.addresses(), (at) => scale * total.gradient[at]),
  };
}
