// What a run's settings mean on this adapter and with these models.

import { type Config, twinConfig } from '../config';
import { type Gpu, GpuError } from '../gpu/device';
import { familyWithExperts, NEW_STUDENT_FAMILY } from '../model/families';
import type { Architecture } from '../model/family';
import { initialWeights, type Weights, withNewWeights } from '../model/parameters';
import { Random } from '../tensor/random';
import { withTrainedRouters } from './router-training';
import { expertSizes, type StudentStart } from './student-start';
import type { TeacherSizes } from './teacher/teacher';

/**
 * The storage type that `model_dtype` means on this adapter.
 * @throws GpuError for float16 on an adapter without it
 */
export function dtypeOf({ model_dtype }: Config, { adapter }: Gpu): 'f16' | 'f32' {
  if (model_dtype === 'float16' && !adapter.f16) {
    throw new GpuError(
      'limits',
      `model_dtype=float16 needs the shader-f16 feature, which ${adapter.name} lacks.`,
      'Use model_dtype=auto or float32.',
    );
  }
  return model_dtype === 'float32' || !adapter.f16 ? 'f32' : 'f16';
}

/** The student that the settings describe, for a start from random weights. */
export function newStudent(
  config: Config,
  { vocabularySize, family = NEW_STUDENT_FAMILY }: Omit<TeacherSizes, 'contextWindow'>,
): Architecture {
  const experts = expertSizes(config);
  const asked = [config, twinConfig(config)].some((one) => one && one.router_bias_rate > 0);
  // One expert is no choice.
  const biased = asked && (experts?.count ?? 0) > 1;
  const made = (experts ? familyWithExperts(family, { ...experts, biased }) : family).create({
    vocabularySize,
    contextWindow: config.max_length,
    width: config.student_width,
    layers: config.student_layers,
    heads: config.student_heads,
    experts,
  });
  return withTrainedRouters(made, config);
}

/** The weights that the student starts from, a model's or random ones, and its adapters'. */
export function startingWeights(
  { seed }: Pick<Config, 'seed'>,
  student: Architecture,
  start?: StudentStart,
): Weights {
  const random = new Random(seed);
  const weights = start
    ? withNewWeights(start.weights, start.routers ?? [], random.fork('routers'))
    : initialWeights(student.parameters, random.fork('weights'));
  return withNewWeights(weights, student.adapters?.parameters ?? [], random.fork('adapters'));
}

/** @throws GpuError for a context that is longer than one of the models takes */
export function requireContext(
  { max_length: T }: Config,
  teacher: TeacherSizes,
  student?: Architecture,
): void {
  for (const [model, positions] of [
    ['teacher', teacher.contextWindow],
    ['student', student?.contextWindow ?? T],
  ] as const) {
    if (T <= positions) continue;
    throw new GpuError(
      'limits',
      `max_length=${T} is longer than the ${model}'s ${positions} positions.`,
      `Use a max_length of at most ${positions}.`,
    );
  }
}
