// A second family of models, for tests: a decoder without positions or biases, RMSNorm before each
// half of a block, and a head with its own matrix. It shows what a family has to provide.

import type { Architecture, Family } from '../../src/model/family';
import { parametersOf, type TinyConfig } from './config';
import { TinyModel } from './model';
import { onnxPieces } from './onnx';

export const TINY_FAMILY: Family = {
  modelType: 'tiny',
  title: 'Tiny',
  parseConfig(fields, file) {
    const { hidden_size, num_attention_heads } = fields as unknown as TinyConfig;
    if (!(hidden_size % (4 * num_attention_heads) === 0))
      throw new Error(`${file}: hidden_size ${hidden_size} over ${num_attention_heads} heads.`);
    return tiny(fields as unknown as TinyConfig);
  },
  create: ({ vocabularySize, contextWindow, width, layers, heads }) =>
    tiny({
      model_type: 'tiny',
      vocab_size: vocabularySize,
      max_position_embeddings: contextWindow,
      hidden_size: width,
      num_hidden_layers: layers,
      num_attention_heads: heads,
      rms_norm_eps: 1e-6,
    }),
};

export function tiny({
  vocab_size,
  max_position_embeddings,
  hidden_size,
  num_hidden_layers,
  num_attention_heads,
  rms_norm_eps,
}: TinyConfig): Architecture & { readonly config: TinyConfig } {
  const config: TinyConfig = {
    model_type: 'tiny',
    vocab_size,
    max_position_embeddings,
    hidden_size,
    num_hidden_layers,
    num_attention_heads,
    rms_norm_eps,
  };
  const architecture: ReturnType<typeof tiny> = {
    family: TINY_FAMILY,
    vocabularySize: vocab_size,
    contextWindow: max_position_embeddings,
    width: hidden_size,
    layers: num_hidden_layers,
    heads: num_attention_heads,
    config,
    parameters: parametersOf(config),
    tensorNames: {
      stored: (parameter) => (parameter === 'lm_head.weight' ? parameter : `model.${parameter}`),
      parameter: (stored) => stored.replace(/^model\./, ''),
    },
    withLayers: (layers) => tiny({ ...config, num_hidden_layers: layers.length }),
    formatConfig: (dtype) => ({ ...config, architectures: ['TinyForCausalLM'], dtype }),
    onnxPieces: (dtype, cached) => onnxPieces(config, architecture.parameters, dtype, cached),
    withWeights: (weights) => new TinyModel(architecture, config, weights),
  };
  return architecture;
}
