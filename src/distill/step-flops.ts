// The floating-point operations of an optimiser step, counted by parameters as is usual. Pure.

import { type Config, tokensPerStep } from '../config';
import { activeParameters } from '../model/experts';
import type { Architecture } from '../model/family';
import { trainedParameters } from '../model/lora';
import { needsTeacher } from './losses';

/**
 * Operations for a token and a parameter: forward, and backward to the inputs and to the weights
 * that train.
 */
const FLOPS = { forward: 2, inputs: 2, weights: 2 };

/**
 * Operations of a step: products of tokens and parameters. Attention scores, a twin and evaluations
 * are left out. `teacherParameters`: 0 where they are unknown.
 */
export function stepFlops(
  config: Config,
  student: Architecture,
  teacherParameters: number,
): number {
  const active = activeParameters(student);
  const learned = Math.min(trainedParameters(student), active);
  // Checkpointing computes each layer's forward pass twice.
  const forwards = config.gradient_checkpointing === 'on' ? 2 : 1;
  const pass = (forwards * FLOPS.forward + FLOPS.inputs) * active + FLOPS.weights * learned;
  const teacher = needsTeacher(config.loss) ? FLOPS.forward * teacherParameters : 0;
  return tokensPerStep(config) * (teacher + pass);
}
