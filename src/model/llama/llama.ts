// The Llama family: the folder's interface to the rest of the engine, a `Family` for each dialect.

import { ModelFileError } from '../../files/download';
import type { Architecture, Family } from '../family';
import {
  configOf,
  formatFields,
  type LlamaConfig,
  parametersOf,
  sizesOf,
  withLayers,
} from './config';
import { DIALECTS, type Dialect } from './dialects';
import { LlamaModel } from './forward';
import { onnxPieces } from './onnx';
import { parseFields } from './parse';
import { dialectWithExperts, withExperts } from './upcycle';
import { tensorNames } from './weights';

export const LLAMA_FAMILIES: readonly Family[] = DIALECTS.map((dialect) => {
  const family: Family = {
    modelType: dialect.modelType,
    title: dialect.title,
    experts: dialect.experts,
    withExperts: dialect.withExperts,
    parseConfig: (fields, file) => llama(parseFields(fields, dialect, file), dialect, family),
    create: (sizes) => llama(configOf(dialect, sizes), dialect, family),
  };
  return family;
});

/** @param vocabularySize tokens that have logits; all by default */
function llama(
  config: LlamaConfig,
  dialect: Dialect,
  family: Family,
  vocabularySize = config.vocab_size,
): Architecture {
  const parameters = parametersOf(config, dialect);
  const architecture: Architecture = {
    ...sizesOf(config),
    vocabularySize,
    family,
    config,
    parameters,
    fanInFirst: false,
    tensorNames: tensorNames(config.tie_word_embeddings, dialect.experts?.stored),
    keyValueWidth: 2 * config.num_key_value_heads * config.head_dim,
    withLayers(layers) {
      const fewer = withLayers(config, layers);
      requireLayers(fewer, dialect, layers);
      return llama(fewer, dialect, family, vocabularySize);
    },
    withVocabulary: (tokens) => llama(config, dialect, family, tokens),
    withExperts(experts) {
      const target = dialectWithExperts(config, dialect, experts);
      const { modelType } = target;
      const to = LLAMA_FAMILIES.find((one) => one.modelType === modelType) as Family;
      return llama(withExperts(config, target, experts), target, to, vocabularySize);
    },
    formatConfig: (dtype, endOfText) => formatFields(config, dialect, dtype, endOfText),
    onnxPieces: (dtype, cached) => onnxPieces(config, parameters, { dtype, cached }),
    withWeights: (weights, adapters) => new LlamaModel(architecture, config, weights, adapters),
  };
  return architecture;
}

/** @throws ModelFileError if the dialect’s config.json cannot say which layers have experts */
function requireLayers(
  { mlp_only_layers = [] }: LlamaConfig,
  { configFields, title }: Dialect,
  layers: readonly number[],
): void {
  if (!configFields.includes('first_k_dense_replace')) return;
  if (mlp_only_layers.every((layer, place) => layer === place)) return;
  throw new ModelFileError(
    'model',
    `student_from_layers is ${layers}, and in a ${title} the layers without experts come first. ` +
      'List those before the others.',
  );
}
