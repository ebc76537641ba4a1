// Every kernel, and the checks that hold it against the reference. The check of a visitor's GPU
// runs all of them; a kernel's name picks those of that kernel.

import { DIVERGENCE_NAMES } from '../divergences';
import type { Gpu } from '../gpu/device';
import { alignedChecks } from './aligned';
import type { Check } from './check';
import { expertProductChecks, expertRowChecks, routerChecks } from './experts';
import {
  attentionChecks,
  attentionNextChecks,
  columnSumChecks,
  embeddingChecks,
  geluChecks,
  layerNormChecks,
  matmulChecks,
} from './layers';
import { int8Checks, rmsNormChecks, rotaryChecks, swigluChecks } from './llama';
import { compareChecks, copyChecks, diagnoseChecks, lossChecks } from './losses';
import { optimiserChecks } from './optimiser';
import { sampleChecks } from './sample';
import type { Storage } from './tensors';
import { distilTopKChecks, expandChecks, topKChecks } from './topk';

interface KernelChecks {
  /** Files of src/kernels/, without folder and ending, that these checks run. */
  kernels: readonly string[];
  /** `T` replaces the context length of the small default sizes. */
  checks(dtype: Storage, gpu: Gpu, T?: number): Check[];
  /** Whether `checks` takes `T`. */
  takesT?: boolean;
}

/** In the order of the table. */
const REGISTRY: readonly KernelChecks[] = [
  {
    kernels: ['matmul', 'matmul_tile', 'matmul_store', 'matmul_subgroup', 'matmul_quads'],
    checks: matmulChecks,
    takesT: true,
  },
  {
    kernels: ['embedding', 'embedding_backward'],
    checks: (dtype, _, T) => embeddingChecks(dtype, T),
    takesT: true,
  },
  {
    kernels: ['layernorm', 'layernorm_backward', 'layernorm_backward_parameters'],
    checks: (dtype, _, T) => layerNormChecks(dtype, T),
    takesT: true,
  },
  { kernels: ['gelu'], checks: geluChecks },
  {
    kernels: ['rms_norm', 'rms_norm_backward', 'rms_norm_backward_gain'],
    checks: (dtype, _, T) => rmsNormChecks(dtype, T),
    takesT: true,
  },
  {
    kernels: ['rotary', 'head_norm', 'head_norm_backward', 'head_norm_backward_gain', 'head_units'],
    checks: (dtype, _, T) => rotaryChecks(dtype, T),
    takesT: true,
  },
  { kernels: ['int8'], checks: int8Checks },
  { kernels: ['swiglu', 'swiglu_backward', 'silu'], checks: swigluChecks },
  {
    kernels: [
      ...['route', 'route_backward', 'expert_order', 'expert_use'],
      ...['router_terms', 'router_losses', 'router_losses_backward', 'router_softmax'],
      ...['expert_loads', 'router_bias'],
    ],
    checks: routerChecks,
  },
  {
    kernels: ['expert_gather', 'expert_combine', 'expert_combine_backward'],
    checks: (dtype, gpu) => [...expertRowChecks(dtype), ...expertProductChecks(dtype, gpu)],
  },
  {
    kernels: [
      'attention',
      'attention_backward_query',
      'attention_backward_key',
      'attention_slices',
      'attention_quads',
    ],
    checks: (dtype, _, T) => attentionChecks(dtype, T),
    takesT: true,
  },
  {
    kernels: ['attention_next'],
    checks: (dtype, _, T) => attentionNextChecks(dtype, T),
    takesT: true,
  },
  {
    kernels: ['column_sum', 'columns'],
    checks: (dtype, _, T) => columnSumChecks(dtype, T),
    takesT: true,
  },
  {
    kernels: ['ce', 'cross_entropy'],
    checks: (dtype, _, T) => lossChecks('ce', dtype, T),
    takesT: true,
  },
  ...DIVERGENCE_NAMES.map((name) => ({
    kernels: [name, 'distil'],
    checks: (dtype: Storage, _: Gpu, T?: number) => lossChecks(name, dtype, T),
    takesT: true,
  })),
  { kernels: ['compare', 'best'], checks: (dtype, _, T) => compareChecks(dtype, T), takesT: true },
  {
    kernels: ['diagnose', 'best'],
    checks: (dtype, _, T) => diagnoseChecks(dtype, T),
    takesT: true,
  },
  { kernels: ['copy'], checks: copyChecks },
  { kernels: ['gradient_norm', 'loss_scaler', 'adamw', 'update_ratio'], checks: optimiserChecks },
  { kernels: ['topk'], checks: topKChecks },
  { kernels: ['expand'], checks: expandChecks },
  { kernels: ['distil_topk'], checks: distilTopKChecks },
  {
    kernels: [
      'compare_ranks',
      'compare_matched',
      'rank',
      'aligned_gradient',
      'log_likelihood',
      'gather_rows',
      'groups',
      'probability_key',
    ],
    checks: alignedChecks,
  },
  { kernels: ['sample'], checks: sampleChecks },
];

/** Every name that `checksOf` takes. */
export const KERNEL_NAMES: readonly string[] = [
  ...new Set(REGISTRY.flatMap(({ kernels }) => kernels)),
];

/** Which checks to run; all by default. */
export interface Selection {
  kernel?: string;
  /** Replaces the context length of the small default sizes. */
  T?: number;
  /** By default f32 and, if the adapter has shader-f16, f16. */
  dtype?: Storage;
}

/**
 * The checks of all kernels, or of those selected.
 * @throws if there is no kernel of that name, or its checks have no context length to replace
 */
export function checksOf(gpu: Gpu, { kernel, T, dtype }: Selection = {}): Check[] {
  const entries = REGISTRY.filter(({ kernels }) => !kernel || kernels.includes(kernel));
  if (entries.length === 0) {
    throw new Error(`No check runs a kernel "${kernel}". Name one of ${KERNEL_NAMES.join(', ')}.`);
  }
  if (T !== undefined && !entries.every(({ takesT }) => takesT)) {
    throw new Error(`The checks of ${kernel ?? 'some kernels'} have no T. Leave it out.`);
  }
  const all: Storage[] = gpu.adapter.f16 ? ['f32', 'f16'] : ['f32'];
  const dtypes = dtype ? [dtype] : all;
  return dtypes.flatMap((dtype) => entries.flatMap(({ checks }) => checks(dtype, gpu, T)));
}
