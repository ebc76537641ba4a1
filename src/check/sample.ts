// The check of the kernel that samples the next token.

import { sampleTokens } from '../kernels/sample';
import * as reference from '../reference';
import { type Check, check, EXACT } from './check';
import { type Storage, stored } from './tensors';

const [ROWS, V, k] = [24, 131, 40];
const TEMPERATURE = 0.8;

/**
 * Rolls in the middle of a token's share, one token less likely for each row. Logits for sampling
 * are always f32.
 */
export function sampleChecks(dtype: Storage): Check[] {
  if (dtype === 'f16') return [];
  const logits = stored(reference.numbers(ROWS * V, 3, 4), 'f32');
  const rows = Array.from({ length: ROWS }, (_, row) => {
    const { tokens, ends } = reference.tokenShares(
      logits.subarray(row * V, (row + 1) * V),
      k,
      TEMPERATURE,
    );
    return { token: tokens[row], roll: ((ends[row - 1] ?? 0) + ends[row]) / 2 };
  });
  // Tokens are read back as the f32 with their bits.
  const expected = new Float32Array(Uint32Array.from(rows, ({ token }) => token).buffer);
  return [
    check({
      kernel: 'sample',
      sizes: `rows=${ROWS} V=${V} k=${k}`,
      layout: 'contiguous',
      dtype,
      inputs: {
        logits: { values: logits, layout: [ROWS, V] },
        rolls: { values: rows.map(({ roll }) => roll), layout: [ROWS] },
        tokens: { values: new Float64Array(ROWS).fill(V), layout: [ROWS], dtype: 'u32' },
      },
      record: (recorder, tensors) =>
        sampleTokens(recorder, tensors, { k, temperature: TEMPERATURE }),
      outputs: [{ tensor: 'tokens', expected, tolerance: EXACT }],
    }),
  ];
}
