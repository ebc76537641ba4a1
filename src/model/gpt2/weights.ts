// GPT-2's tensors in safetensors, as transformers names them.

import type { TensorNames } from '../family';

const HEAD = 'lm_head.weight';
/** Buffers of older files: the causal mask, which our kernels do not read. */
const MASK = /^h\.\d+\.attn\.(masked_)?bias$/;

/** Tensors may be named with `transformer.` or without. */
export const tensorNames = (tied: boolean): TensorNames => ({
  // The head is beside the transformer, not in it.
  stored: (parameter) => (parameter === HEAD ? parameter : `transformer.${parameter}`),
  parameter(stored) {
    const name = stored.replace(/^transformer\./, '');
    return MASK.test(name) ? undefined : name;
  },
  tied: tied ? { embedding: 'wte.weight', head: HEAD } : undefined,
});
