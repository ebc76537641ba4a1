// Samples the next token on the GPU, so that a text grows token by token without reading one back.

import type { Recorder, Tensor } from '../gpu/program';
import { kernel } from './sources';
import { rowLanes } from './tensors';

/** Samples among the `k` most likely tokens, in proportion to exp(logit / temperature). */
export interface SamplingOptions {
  k: number;
  temperature: number;
}

/**
 * tokens (rows) u32: one sampled from each row of logits (rows, V) f32, contiguous. `rolls` (rows)
 * f32 are random numbers from 0 to 1.
 */
export function sampleTokens(
  recorder: Recorder,
  { logits, rolls, tokens }: Record<'logits' | 'rolls' | 'tokens', Tensor>,
  { k, temperature }: SamplingOptions,
): void {
  const [rows, V] = logits.layout.shape;
  const constants = { K: Math.min(k, V), LANES: rowLanes(recorder.gpu) };
  recorder.dispatch(
    kernel(recorder.gpu, 'sample', { constants }),
    { logits, rolls, tokens },
    { V, temperature },
    [rows],
  );
}
