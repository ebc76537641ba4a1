// Every kernel, and the checks that hold it against the reference. The check of a visitor's GPU
// runs all of them; a kernel's name picks those of that kernel.

import { DIVERGENCE_NAMES } from '../divergences';
import type { Gpu } from '../gpu/device';
import type { Check } from './check';
import {
  attentionChecks,
  columnSumChecks,
  embeddingChecks,
  geluChecks,
  layerNormChecks,
  matmulChecks,
} from './layers';
import { compareChecks, copyChecks, lossChecks } from './losses';
import { optimiserChecks } from './optimiser';
import { sampleChecks } from './sample';
import type { Storage } from './tensors';
import { distilTopKChecks, expandChecks, topKChecks } from './topk';

interface KernelChecks {
  /** Files of src/kernels/, without folder and ending, that these checks run. */
  kernels: readonly string[];
  checks(dtype: Storage, gpu: Gpu): Check[];
}

/** In the order of the table. */
const REGISTRY: readonly KernelChecks[] = [
  {
    kernels: ['matmul', 'matmul_tile', 'matmul_store', 'matmul_subgroup', 'matmul_quads'],
    checks: matmulChecks,
  },
  { kernels: ['embedding', 'embedding_backward'], checks: embeddingChecks },
  {
    kernels: ['layernorm', 'layernorm_backward', 'layernorm_backward_parameters'],
    checks: layerNormChecks,
  },
  { kernels: ['gelu'], checks: geluChecks },
  {
    kernels: [
      'attention',
      'attention_backward_query',
      'attention_backward_key',
      'attention_slices',
      'attention_quads',
    ],
    checks: attentionChecks,
  },
  { kernels: ['column_sum'], checks: columnSumChecks },
  { kernels: ['ce', 'cross_entropy'], checks: (dtype) => lossChecks('ce', dtype) },
  ...DIVERGENCE_NAMES.map((name) => ({
    kernels: [name, 'distil'],
    checks: (dtype: Storage) => lossChecks(name, dtype),
  })),
  { kernels: ['compare'], checks: compareChecks },
  { kernels: ['copy'], checks: copyChecks },
  { kernels: ['gradient_norm', 'loss_scaler', 'adamw'], checks: optimiserChecks },
  { kernels: ['topk'], checks: topKChecks },
  { kernels: ['expand'], checks: expandChecks },
  { kernels: ['distil_topk'], checks: distilTopKChecks },
  { kernels: ['sample'], checks: sampleChecks },
];

/** Every name that `checksOf` takes. */
export const KERNEL_NAMES: readonly string[] = [
  ...new Set(REGISTRY.flatMap(({ kernels }) => kernels)),
];

/**
 * The checks of all kernels, or of one, in f32 and, if the adapter has shader-f16, in f16.
 * @throws if there is no kernel of that name
 */
export function checksOf(gpu: Gpu, kernel?: string): Check[] {
  const entries = REGISTRY.filter(({ kernels }) => !kernel || kernels.includes(kernel));
  if (entries.length === 0) {
    throw new Error(`No check runs a kernel "${kernel}". Name one of ${KERNEL_NAMES.join(', ')}.`);
  }
  const dtypes: Storage[] = gpu.adapter.f16 ? ['f32', 'f16'] : ['f32'];
  return dtypes.flatMap((dtype) => entries.flatMap(({ checks }) => checks(dtype, gpu)));
}
