// Drawing the next token on the GPU, so that a text grows word by word without one of them being
// read back.

import type { Recorder, Tensor } from '../gpu/program';
import { kernel } from './sources';
import { rowLanes } from './tensors';

/** How words are drawn: from the `k` likeliest, by exp(logit / temperature). */
export interface Drawing {
  k: number;
  temperature: number;
}

/**
 * tokens (rows) u32: one for each row of logits (rows, V) f32, contiguous, as rolls (rows) f32, 0
 * to 1, decide.
 */
export function draw(
  recorder: Recorder,
  { logits, rolls, tokens }: Record<'logits' | 'rolls' | 'tokens', Tensor>,
  { k, temperature }: Drawing,
): void {
  const [rows, V] = logits.layout.shape;
  const constants = { K: Math.min(k, V), LANES: rowLanes(recorder.gpu) };
  const program = kernel(recorder.gpu, 'sample', { constants });
  recorder.dispatch(program, { logits, rolls, tokens }, { V, temperature }, [rows]);
}
