// The family of GPT-2: the folder's interface to the rest of the engine.

import { ModelFileError } from '../../files/download';
import type { Architecture, Family } from '../family';
import type { LowRank } from '../low-rank';
import type { ParameterTensors } from '../parameters';
import type { AttentionHeads } from './attention';
import {
  configOf,
  formatFields,
  type Gpt2Config,
  isTied,
  parametersOf,
  parseFields,
  sizesOf,
} from './config';
import { Gpt2Model } from './forward';
import { onnxPieces } from './onnx';
import { tensorNames } from './weights';

export const GPT2: Family = {
  modelType: 'gpt2',
  title: 'GPT-2',
  parseConfig: (fields, file) => gpt2(parseFields(fields, file)),
  create: (sizes) => gpt2(configOf(sizes)),
};

export interface Gpt2 extends Architecture {
  readonly config: Gpt2Config;
  withWeights(weights: ParameterTensors, adapters?: LowRank): Gpt2Model;
}

/**
 * @param heads how rows become heads; the Bug Lab passes a wrong way.
 * @param vocabularySize tokens that have logits; all by default
 */
export function gpt2(
  config: Gpt2Config,
  heads?: AttentionHeads,
  vocabularySize = config.vocab_size,
): Gpt2 {
  const architecture: Gpt2 = {
    ...sizesOf(config),
    vocabularySize,
    family: GPT2,
    config,
    parameters: parametersOf(config),
    fanInFirst: true,
    tensorNames: tensorNames(isTied(config)),
    keyValueWidth: 2 * config.n_embd,
    withLayers: (layers) => gpt2({ ...config, n_layer: layers.length }, heads, vocabularySize),
    withVocabulary: (tokens) => gpt2(config, heads, tokens),
    withExperts() {
      throw new ModelFileError(
        'model',
        'A GPT-2 cannot become a student with experts: Hugging Face has no such architecture, so ' +
          'nothing could load what is exported. Leave student_model empty for a new student with ' +
          'experts, or use student_experts=0.',
      );
    },
    formatConfig: (dtype, endOfText) => formatFields(config, dtype, endOfText),
    onnxPieces: (dtype, cached) => onnxPieces(config, dtype, cached),
    withWeights: (weights, adapters) =>
      new Gpt2Model(architecture, config, weights, { heads, adapters }),
  };
  return architecture;
}
