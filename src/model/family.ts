// The seam between the engine and the models it trains. Trainer, evaluator, sampler, teacher,
// planner, checkpoint and export know a model by these interfaces alone.
//
// To add a family, write a folder beside this file that implements `Family`, and add a row to
// families.ts. gpt2/ and llama/ are examples; nothing outside the folder and the row names a
// family.

import type { Piece } from '../files/pieces';
import type { Recorder, Tensor } from '../gpu/program';
import type { Adapters, LowRank } from './low-rank';
import type { Arena, Parameter, ParameterTensors, Role } from './parameters';

/** The sizes that every decoder has, whatever its config.json calls them. */
export interface ModelSizes {
  /** V */
  vocabularySize: number;
  /** P: the longest context, in tokens. */
  contextWindow: number;
  /** C: the length of a hidden state. */
  width: number;
  layers: number;
  /** H */
  heads: number;
  /** Present where layers have experts. */
  experts?: ExpertSizes;
}

/** The experts of a layer, of which a router chooses some for each token. */
export interface ExpertSizes {
  /** E */
  count: number;
  /** k */
  perToken: number;
}

/** A row of the table in families.ts. */
export interface Family {
  /** As config.json has it in `model_type`. */
  readonly modelType: string;
  /** The family's name in a sentence, e.g. GPT-2. */
  readonly title: string;
  /**
   * Present where layers have experts. `normalised`: a token's weights always add up to 1, so that
   * a router that chooses one expert has no gradient. `sigmoid`: a bias takes part in the
   * choice, and can balance it.
   */
  readonly experts?: { readonly normalised: boolean; readonly sigmoid?: boolean };
  /** The model_type of these models with experts, if there is one. */
  readonly withExperts?: string;
  /**
   * Reads the fields of a config.json.
   * @param file the name that errors carry
   * @throws ModelFileError that names the field, its value and what is supported
   */
  parseConfig(fields: Readonly<Record<string, unknown>>, file: string): Architecture;
  /** A new model's architecture. Without `experts` it has those that are usual in the family. */
  create(sizes: ModelSizes): Architecture;
}

/** A model without weights: its sizes, its parameters, its files, and how it is computed. */
export interface Architecture extends ModelSizes {
  readonly family: Family;
  /** The family's own fields, as plain data that a checkpoint stores. */
  readonly config: object;
  /** In arena order: those that weight decay applies to, then the rest. */
  readonly parameters: readonly Parameter[];
  /** Present where they train, and all `parameters` are frozen. */
  readonly adapters?: Adapters;
  /** Present where some of `parameters` are frozen: those of such a role train. */
  readonly trains?: (role: Role) => boolean;
  /** Whether a linear layer's weight is (in, out); else it is (out, in). */
  readonly fanInFirst: boolean;
  readonly tensorNames: TensorNames;
  /** Numbers that a layer keeps of a token: its keys and values, 2·NKV·D. */
  readonly keyValueWidth: number;

  /** The same with these of its layers, in this order. */
  withLayers(layers: readonly number[]): Architecture;
  /**
   * The same, with logits of the first `tokens` tokens alone: the rows of the embedding and the
   * head beyond them are padding, which takes no part in a loss.
   */
  withVocabulary(tokens: number): Architecture;
  /**
   * The model in which each layer's perceptron becomes experts. Those begin as its copies: see
   * `Parameter.copyOf`.
   * @throws ModelFileError if no architecture has such experts
   */
  withExperts(experts: ExpertSizes): Architecture;
  /** config.json as transformers writes it. `endOfText`: the token that ends a text. */
  formatConfig(dtype: 'float32' | 'float16', endOfText?: number): Record<string, unknown>;
  /**
   * model.onnx: input_ids (B, T) int64 -> logits (B, T, V).
   * @param cached whether the graph also takes and returns the keys and values of earlier tokens
   */
  onnxPieces(dtype: 'f32' | 'f16', cached: boolean): Piece[];
  /**
   * The model that computes with these weights, whose plan must be that of `parameters`.
   * @param adapters whose plan must be that of `adapters`
   */
  withWeights(weights: ParameterTensors, adapters?: LowRank): LanguageModel;
}

/** How a family names its tensors in safetensors. */
export interface TensorNames {
  /** The tensor's name when the parameter is written. */
  stored(parameter: string): string;
  /** The parameter's name when the tensor is read; undefined for a buffer, which is skipped. */
  parameter(stored: string): string | undefined;
  /**
   * Present where the head multiplies by the embedding: the two parameters' names. A file may hold
   * either, or both with the same values.
   */
  tied?: { embedding: string; head: string };
}

/** A model with weights. It records its passes; nothing runs until the recorder's program does. */
export interface LanguageModel {
  readonly architecture: Architecture;
  readonly weights: ParameterTensors;

  /** Records the forward pass up to the head. tokens (B, T) u32. */
  forward(recorder: Recorder, tokens: Tensor, options?: ForwardOptions): Activations;
  /** Records logits (rows, V) f32 = hidden (rows, C) · headᵀ. */
  head(recorder: Recorder, hidden: Tensor, logits: Tensor, label?: string): void;
  /**
   * Differentiates `head`: writes dhidden (rows, C), and adds the head's gradient to `gradients`,
   * if they have one.
   */
  headBackward(
    recorder: Recorder,
    gradients: Arena,
    rows: { hidden: Tensor; dlogits: Tensor; dhidden: Tensor },
  ): void;
  /**
   * Differentiates `forward`: adds to all that `gradients` has, which lacks what is frozen.
   * @param activations what this model's `forward` returned
   * @param dhidden (B·T, C)
   * @param order (B·T) u32, the rows sorted by token
   * @param routerGradient adds to the gradients that reach the routers, layer by layer
   */
  backward(
    recorder: Recorder,
    gradients: Arena,
    activations: Activations,
    dhidden: Tensor,
    order: Tensor,
    routerGradient?: RouterGradient,
  ): void;
}

export interface ForwardOptions {
  /** Keep each block's input alone; `backward` then computes the block again. */
  recompute?: boolean;
  /** Where the keys and values of one sequence's tokens are kept. No backward pass follows. */
  keyValues?: KeyValues;
  /** Keeps attention inside each document of a row; positions begin again with each. */
  documents?: DocumentTensors;
}

/** The documents that lie in the rows of a batch. */
export interface DocumentTensors {
  /** (B, T, 2) u32: where in its row each token's document begins, and where the next one does. */
  spans: Tensor;
  /** (B, T) u32: each token's position in its document. */
  positions: Tensor;
  /** (B·T) u32: the rows sorted by position. */
  order: Tensor;
}

/**
 * The keys and values of a text's tokens, so that the next token needs no pass over the others.
 * Without `position` a pass over (1, T) tokens fills them. With it a pass over (1, 1) reads those
 * of the tokens before that position, and adds its own.
 */
export interface KeyValues {
  /** (T, keyValueWidth) of each layer: the keys, then the values. */
  layers: readonly Tensor[];
  /** (1, 1) u32: where the one token stands. */
  position?: Tensor;
}

/** What a forward pass leaves. A family adds what its backward pass reads. */
export interface Activations {
  /** (B·T, C): the rows that the head multiplies. */
  hidden: Tensor;
  /** Of each layer that has experts, in order. */
  routed?: readonly RoutedLayer[];
}

/** What a layer's router made of the rows: E experts, of which each row chose k. */
export interface RoutedLayer {
  layer: number;
  /** (B·T, E) f32 */
  logits: Tensor;
  /** (B·T, E) f32: the router's probabilities. */
  p: Tensor;
  /** (B·T, k) u32: the chosen experts, the likeliest first. */
  chosen: Tensor;
  /** (E + 1) u32: how many of the choices are of lower experts; the last is of all. */
  starts: Tensor;
}

/** Records what adds to dlogits (B·T, E) f32, the gradient of a layer's router. */
export type RouterGradient = (recorder: Recorder, layer: RoutedLayer, dlogits: Tensor) => void;
