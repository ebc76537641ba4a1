// Models of Hugging Face that make a good teacher and student, a row each. Pure.

import { type Config, DEFAULTS } from './config';
import type { AlignedLoss } from './divergences';

/** What is known of a model without asking the hub. */
interface Sizes {
  parameters: number;
  /** Bytes of its safetensors. */
  bytes: number;
}

const MODELS = {
  'HuggingFaceTB/SmolLM2-360M-Instruct': { parameters: 361_821_120, bytes: 723_674_912 },
  'HuggingFaceTB/SmolLM2-135M-Instruct': { parameters: 134_515_008, bytes: 269_060_552 },
  'Qwen/Qwen3-0.6B': { parameters: 596_049_920, bytes: 1_503_300_328 },
  // The hub's converter offers safetensors of its pickle: float16, with the causal masks.
  'microsoft/DialoGPT-medium': { parameters: 354_823_168, bytes: 760_000_000 },
  'openai-community/gpt2': { parameters: 124_439_808, bytes: 548_105_171 },
  'distilbert/distilgpt2': { parameters: 81_912_576, bytes: 352_824_413 },
} as const satisfies Record<string, Sizes>;

type ModelName = keyof typeof MODELS;

export interface Pair {
  teacher: ModelName;
  /** A model, or layers of the teacher. */
  student: ModelName | { layers: string };
  /** Of the student. */
  parameters: number;
  /** For two vocabularies: what compares them, beside the data’s loss. */
  kdLoss?: AlignedLoss;
  /** One sentence: why these two. */
  why: string;
}

const GOLD =
  'Over each span of text that both cut alike, GOLD compares tokens that both have with each ' +
  'other, and the others by rank.';

export const PAIRS: readonly Pair[] = [
  {
    teacher: 'openai-community/gpt2',
    student: 'distilbert/distilgpt2',
    parameters: MODELS['distilbert/distilgpt2'].parameters,
    why: 'The classic pair: the student was distilled from this teacher once and can learn more.',
  },
  {
    teacher: 'openai-community/gpt2',
    student: { layers: '0,2,4,7,9,11' },
    parameters: 81_912_576,
    why: 'Every other layer of the teacher, as DistilGPT2 began.',
  },
  {
    teacher: 'HuggingFaceTB/SmolLM2-360M-Instruct',
    student: 'HuggingFaceTB/SmolLM2-135M-Instruct',
    parameters: MODELS['HuggingFaceTB/SmolLM2-135M-Instruct'].parameters,
    why: 'Two sizes of one family with one vocabulary and a chat template, for conversations.',
  },
  {
    teacher: 'Qwen/Qwen3-0.6B',
    student: { layers: '0,9,18,27' },
    parameters: 218_507_264,
    why: 'Four of the teacher’s 28 layers, spread evenly, learn to do without the others.',
  },
  {
    teacher: 'Qwen/Qwen3-0.6B',
    student: 'HuggingFaceTB/SmolLM2-135M-Instruct',
    parameters: MODELS['HuggingFaceTB/SmolLM2-135M-Instruct'].parameters,
    kdLoss: 'gold',
    why: `Two vocabularies. ${GOLD}`,
  },
  {
    teacher: 'microsoft/DialoGPT-medium',
    student: 'HuggingFaceTB/SmolLM2-135M-Instruct',
    parameters: MODELS['HuggingFaceTB/SmolLM2-135M-Instruct'].parameters,
    kdLoss: 'gold',
    why: `Two families and two vocabularies, for dialogues. ${GOLD}`,
  },
];

/** Bytes a parameter: f16 and f32 weights, their gradients, and AdamW’s two moments in f32. */
const STUDENT_BYTES = 2 + 4 + 4 + 8;
const TEACHER_BYTES = 2;

/** What a pair loads, and the GPU memory that it needs in float16 before any activations. */
export function costOf({ teacher, student, parameters }: Pair): { load: number; memory: number } {
  const { bytes, parameters: taught } = MODELS[teacher];
  return {
    load: bytes + (typeof student === 'string' ? MODELS[student].bytes : 0),
    memory: TEACHER_BYTES * taught + STUDENT_BYTES * parameters,
  };
}

/**
 * The settings of a run with a pair. The student has learned much already, so its learning rate is
 * low; activations are computed again, since they are what is left to save.
 */
export function settingsOf({ teacher, student, kdLoss }: Pair): Config {
  const layers = typeof student === 'string' ? undefined : student.layers;
  return {
    ...DEFAULTS,
    teacher_model: teacher,
    student_model: layers === undefined ? (student as ModelName) : 'teacher',
    student_from_layers: layers ?? '',
    kd_loss: kdLoss ?? DEFAULTS.kd_loss,
    batch_size: 2,
    max_length: 128,
    gradient_checkpointing: 'on',
    gradient_accumulation: 4,
    student_lr: layers === undefined ? 5e-5 : 3e-4,
    eval_batches: 8,
  };
}
