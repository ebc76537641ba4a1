// Settings: which models, and how the student is made from them.

import { BUILT_IN_MODELS } from '../built-in';
import type { Field } from '../field';
import { modelReference } from '../model-reference';

const MODEL =
  `${Object.keys(BUILT_IN_MODELS).join(', ')}, files, or a Hugging Face model such as ` +
  'openai-community/gpt2 or org/name@revision';

export const MODEL_FIELDS = {
  teacher_model: {
    type: 'text',
    group: 'models',
    label: 'Teacher',
    default: 'moby-teacher',
    maxLength: 200,
    accepts: (text) => modelReference(text) !== undefined,
    expected: MODEL,
    help: 'The model to learn from: built in, from Hugging Face, or your own files.',
  },
  teacher_engine: {
    type: 'choice',
    group: 'models',
    label: 'Teacher runs in',
    default: 'auto',
    choices: ['auto', 'stillhouse', 'onnxruntime'],
    help: 'auto: Stillhouse’s own kernels if they support the model, otherwise onnxruntime.',
  },
  teacher_dtype: {
    type: 'choice',
    group: 'models',
    label: 'Teacher’s ONNX file',
    default: 'auto',
    choices: ['auto', 'fp32', 'fp16', 'q8', 'q4', 'q4f16'],
    help:
      'The file of the teacher’s folder that onnxruntime runs; q8 and q4 have weights of 8 and ' +
      '4 bits. The products of q8 run on the CPU, which is slow beside a GPU; q4’s run on the ' +
      'GPU. auto: a file with exact weights where there is one, and only where one is needed.',
  },
  student_model: {
    type: 'text',
    group: 'models',
    label: 'Student starts from',
    default: '',
    maxLength: 200,
    accepts: (text) => text === '' || modelReference(text) !== undefined,
    expected: `empty for a new student, teacher for a copy of its layers, or ${MODEL}`,
    help: 'Empty: a new student. teacher: copies the layers listed below. Or a model to train on.',
  },
  student_from_layers: {
    type: 'text',
    group: 'models',
    label: 'Layers to copy',
    default: '',
    maxLength: 1000,
    accepts: (text) => text === '' || /^\d{1,3}(,\d{1,3})*$/.test(text),
    expected: 'layer numbers separated by commas, such as 0,2,4,7,9,11',
    help: 'The teacher’s layers to copy, counted from 0. DistilGPT2 copied 0,2,4,7,9,11.',
  },
  student_layers: {
    type: 'integer',
    group: 'models',
    label: 'Student layers',
    default: 2,
    min: 1,
    max: 12,
    help: 'Transformer blocks in the student.',
  },
  student_width: {
    type: 'integer',
    group: 'models',
    label: 'Student width',
    default: 64,
    min: 16,
    max: 768,
    help: 'Embedding size: a multiple of 4 × heads.',
  },
  student_heads: {
    type: 'integer',
    group: 'models',
    label: 'Student heads',
    default: 2,
    min: 1,
    max: 12,
    help: 'Attention heads; the width is divided among them.',
  },
  student_experts: {
    type: 'integer',
    group: 'models',
    label: 'Student experts',
    default: 0,
    min: 0,
    max: 64,
    help:
      'MLPs in each layer, of which a router chooses some for each token. 0: as is usual for the ' +
      'architecture, mostly one. Where the student starts from weights, each is a copy. In ' +
      'short runs that learned to sort letters, four (one a token) ended with a KL of 0.039, and ' +
      'one with 0.030 (means of three seeds).',
  },
  experts_per_token: {
    type: 'integer',
    group: 'models',
    label: 'Experts per token',
    default: 2,
    min: 1,
    max: 16,
    help:
      'Where there are experts: how many a token chooses. In a new student they are together as ' +
      'wide as the MLP that they replace.',
  },
  lora_rank: {
    type: 'integer',
    group: 'models',
    label: 'LoRA rank',
    default: 0,
    min: 0,
    max: 256,
    help:
      'Trains small matrices of this rank beside the frozen student; 8 or 16 is usual. ' +
      '0 trains all weights.',
  },
  lora_alpha: {
    type: 'number',
    group: 'models',
    label: 'LoRA alpha',
    default: 16,
    min: 0.1,
    max: 1024,
    scale: 'log',
    help: 'What the adapters add is multiplied by alpha / rank.',
  },
  lora_targets: {
    type: 'text',
    group: 'models',
    label: 'LoRA layers',
    default: 'all-linear',
    maxLength: 300,
    accepts: (text) => /^[\w.-]+(,[\w.-]+)*$/.test(text),
    expected: 'all-linear, or names of linear layers separated by commas, such as q_proj,v_proj',
    help: 'The layers that get adapters: all-linear, or names such as q_proj,v_proj or c_attn.',
  },
  base_weights: {
    type: 'choice',
    group: 'models',
    label: 'Frozen weights',
    default: 'full',
    choices: ['full', 'int8'],
    help:
      'With LoRA. int8: the frozen linear layers are kept in 8 bits, with a scale for each 64 ' +
      'weights, in about half of float16’s memory. full: as the run computes.',
  },
  teacher_cache: {
    type: 'choice',
    group: 'models',
    label: 'Cache teacher',
    default: 'off',
    choices: ['off', 'on'],
    help: 'on: save the teacher’s predictions for every batch first, then free its memory.',
  },
  cache_top_k: {
    type: 'integer',
    group: 'models',
    label: 'Cached tokens',
    default: 64,
    min: 0,
    max: 2 ** 20,
    help:
      'Most likely tokens kept at each position; the rest become one tail. ' +
      '0 keeps all, for any loss and temperature.',
  },
} as const satisfies Record<string, Field>;
