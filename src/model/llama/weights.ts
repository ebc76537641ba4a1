// The Llama family's tensors in safetensors, as transformers names them.

import type { TensorNames } from '../family';

const HEAD = 'lm_head.weight';
/** A buffer of older files, which follows from the config. */
const FREQUENCIES = /\brotary_emb\.inv_freq$/;

/** Tensors may be named with `model.` or without. */
export const tensorNames = (tied: boolean): TensorNames => ({
  // The head is beside the model, not in it.
  stored: (parameter) => (parameter === HEAD ? parameter : `model.${parameter}`),
  parameter(stored) {
    const name = stored.replace(/^model\./, '');
    return FREQUENCIES.test(name) ? undefined : name;
  },
  tied: tied ? { embedding: 'embed_tokens.weight', head: HEAD } : undefined,
});
