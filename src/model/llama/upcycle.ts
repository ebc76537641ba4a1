// A dense model of the Llama family as one with experts: "upcycling". Each expert is a copy of the
// layer's perceptron, and the weights of those that a token chooses add up to 1, so that the model
// computes what the dense one does until they part.

import { ModelFileError } from '../../files/download';
import type { ExpertSizes } from '../family';
import type { LlamaConfig } from './config';
import { DIALECTS, type Dialect } from './dialects';

/**
 * The dialect that can say it.
 * @throws ModelFileError with the reason if none can
 */
export function dialectWithExperts(
  config: LlamaConfig,
  { title, experts, withExperts }: Dialect,
  { perToken }: ExpertSizes,
): Dialect {
  const refuse = (why: string, next = 'Use student_experts=0'): never => {
    const message = `A ${title} cannot become a student with experts: ${why}. ${next}.`;
    throw new ModelFileError('model', message);
  };
  if (experts) refuse('it has experts already', 'Use student_experts=0, which keeps them');
  const target = DIALECTS.find(({ modelType }) => modelType === withExperts);
  if (!target)
    return refuse(
      'Hugging Face has no such architecture',
      'Leave student_model empty for a new student, or use student_experts=0',
    );
  if (perToken === 1)
    refuse(
      'an expert chosen alone would always have the weight 1, and its router would not learn',
      'Use experts_per_token=2',
    );
  if (config.attention_bias && !target.configFields.includes('attention_bias'))
    refuse(`its attention has biases, and ${target.title}’s has none`);
  if (new Set(config.layer_types).size > 1)
    refuse(`some of its layers have a window, and in ${target.title} all do or none does`);
  return target;
}

export const withExperts = (
  config: LlamaConfig,
  { modelType }: Dialect,
  { count, perToken }: ExpertSizes,
): LlamaConfig => ({
  ...config,
  model_type: modelType,
  num_experts: count,
  num_experts_per_tok: perToken,
  moe_intermediate_size: config.intermediate_size,
  norm_topk_prob: true,
  mlp_only_layers: [],
});
