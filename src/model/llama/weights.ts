// The Llama family's tensors in safetensors, as transformers names them.

import type { TensorNames } from '../family';
import type { Dialect } from './dialects';

const HEAD = 'lm_head.weight';
/** A buffer of older files, which follows from the config. */
const FREQUENCIES = /\brotary_emb\.inv_freq$/;

/**
 * Tensors may be named with `model.` or without.
 * @param experts where a file's layers with experts have names of their own
 */
export const tensorNames = (
  tied: boolean,
  experts?: NonNullable<Dialect['experts']>['stored'],
): TensorNames => {
  const pairs: [parameter: string, stored: string][] = experts
    ? [
        ['.mlp.', `.${experts.module}.`],
        ...Object.entries(experts.matrices).map(([part, name]): [string, string] => [
          `.${part}_proj.weight`,
          `.${name}.weight`,
        ]),
      ]
    : [];
  return {
    // The head is beside the model, not in it.
    stored: (parameter) =>
      parameter === HEAD
        ? parameter
        : pairs.reduce((name, [own, stored]) => name.replace(own, stored), `model.${parameter}`),
    parameter(stored) {
      const name = stored.replace(/^model\./, '');
      if (FREQUENCIES.test(name)) return undefined;
      return pairs.reduce((other, [own, stored]) => other.replace(stored, own), name);
    },
    tied: tied ? { embedding: 'embed_tokens.weight', head: HEAD } : undefined,
  };
};
