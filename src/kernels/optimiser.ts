// The optimiser: the gradient's norm, the decision whether to apply the step, AdamW. All of it runs
// on the GPU, and nothing is read back.

import type { Gpu } from '../gpu/device';
import type { Storage } from '../gpu/kernel';
import type { Placement, Recorder } from '../gpu/program';
import { kernel, SCALER } from './sources';
import { elementGrid } from './tensors';

/** Good steps after which the loss scale doubles, as in PyTorch's GradScaler. */
const GROWTH_INTERVAL = 2000;
/** Partial sums of the gradient's norm; few enough for one thread to add up. */
export const NORM_PARTIALS = 256;
const SOFTWARE_PARTIALS = 16;

/** The loss scaler's state before the first step. */
export const initialScaler = (scale: number): ArrayBuffer =>
  SCALER.write({
    scale,
    good_steps: 0,
    applied: 0,
    skipped: 0,
    apply: 0,
    factor: 0,
    power1: 1,
    power2: 1,
    norm: 0,
    used_scale: 0,
  });

export interface AdamW {
  beta1: number;
  beta2: number;
  epsilon: number;
  /** For the decayed elements only. */
  weightDecay: number;
  /** The global norm that larger gradients are scaled down to; 0 never clips. */
  maxGradNorm: number;
  /** Whether the loss scale adapts. */
  dynamicScale: boolean;
}

/** Four f32 arenas of one layout, a placement for each of their buffers. */
export interface OptimiserArenas {
  gradients: Placement[];
  master: Placement[];
  mean: Placement[];
  square: Placement[];
  /** The f16 copy of the master weights, if the model computes with one. */
  halves?: Placement[];
}

/** Per element, counted in the kernels. */
const FLOPS = { norm: 3, adamw: 17, updateRatio: 14 };

const VEC4 = {
  f16: { value: 'vec4<f32>', scalar: 'vec4<f16>' },
  f32: { value: 'vec4<f32>', scalar: 'vec4<f32>' },
} as const;

/** A run of elements of one buffer, small enough for a binding. */
interface Range {
  buffer: number;
  first: number;
  count: number;
  decayed: boolean;
}

/**
 * One optimiser step over arenas whose buffers have `bufferSizes` elements; the first `decayed`
 * elements get weight decay. `step` holds a Step, `scaler` a Scaler (see sources.ts), `partials`
 * 2 · NORM_PARTIALS f32.
 */
export function optimiserStep(
  recorder: Recorder,
  arenas: OptimiserArenas,
  { step, scaler, partials }: Record<'step' | 'scaler' | 'partials', GPUBuffer>,
  plan: { bufferSizes: number[]; decayed: number },
  adam: AdamW,
): void {
  const { gpu } = recorder;
  const { beta1, beta2, epsilon, weightDecay, maxGradNorm, dynamicScale } = adam;
  const ranges = rangesOf(plan, gpu.limits.binding);
  const most = mostGroups(gpu, ranges);
  let groups = 0;
  for (const range of ranges) {
    const workgroups = Math.min(most, Math.ceil(range.count / 64));
    recorder.dispatch(
      kernel(gpu, 'gradient_norm'),
      { scaler, gradients: within(arenas.gradients, range, 4), partials },
      { count: range.count, first: groups },
      [workgroups],
      { flops: FLOPS.norm * range.count },
    );
    groups += workgroups;
  }
  recorder.dispatch(
    kernel(gpu, 'loss_scaler'),
    { step, partials, scaler },
    {
      count: groups,
      dynamic: Number(dynamicScale),
      interval: GROWTH_INTERVAL,
      max_norm: maxGradNorm,
      beta1,
      beta2,
    },
    [1],
    { flops: 2 * groups },
  );
  const scalar: Storage = arenas.halves ? 'f16' : 'f32';
  for (const range of ranges) {
    // A model's ranges are multiples of 4.
    const width = range.count % 4 === 0 ? 4 : 1;
    const aliases = width === 4 ? VEC4[scalar] : { value: 'f32' as const, scalar };
    recorder.dispatch(
      kernel(gpu, 'adamw', { aliases, constants: { COPY: Number(!!arenas.halves) } }),
      {
        step,
        scaler,
        gradients: within(arenas.gradients, range, 4),
        master: within(arenas.master, range, 4),
        mean: within(arenas.mean, range, 4),
        square: within(arenas.square, range, 4),
        ...(arenas.halves && { weights: within(arenas.halves, range, 2) }),
      },
      { count: range.count / width, beta1, beta2, epsilon, decay: range.decayed ? weightDecay : 0 },
      elementGrid(gpu, range.count / width),
      // The gradient is read, the copy written; weights and both moments are read and written.
      {
        flops: FLOPS.adamw * range.count,
        bytes: range.count * (4 + 3 * 8 + (arenas.halves ? 2 : 0)),
      },
    );
  }
}

/**
 * (Σ Δw², Σ w²) of the last step over the decayed and the other elements of the arenas, as partial
 * sums: see `update_ratio.wgsl`. Arguments as for `optimiserStep`. Returns how many partial sums
 * there are.
 */
export function updateSums(
  recorder: Recorder,
  arenas: Pick<OptimiserArenas, 'master' | 'mean' | 'square'>,
  { step, scaler, partials }: Record<'step' | 'scaler' | 'partials', GPUBuffer>,
  plan: { bufferSizes: number[]; decayed: number },
  { epsilon, weightDecay }: Pick<AdamW, 'epsilon' | 'weightDecay'>,
): number {
  const { gpu } = recorder;
  const ranges = rangesOf(plan, gpu.limits.binding);
  const most = mostGroups(gpu, ranges);
  let groups = 0;
  for (const range of ranges) {
    const workgroups = Math.min(most, Math.ceil(range.count / 64));
    recorder.dispatch(
      kernel(gpu, 'update_ratio'),
      {
        step,
        scaler,
        master: within(arenas.master, range, 4),
        mean: within(arenas.mean, range, 4),
        square: within(arenas.square, range, 4),
        partials,
      },
      { count: range.count, first: groups, epsilon, decay: range.decayed ? weightDecay : 0 },
      [workgroups],
      { flops: FLOPS.updateRatio * range.count },
    );
    groups += workgroups;
  }
  return groups;
}

/** The part of an arena that a range is, of elements of `size` bytes. */
const within = (places: Placement[], { buffer, first, count }: Range, size: number): Placement => ({
  ...places[buffer],
  offset: places[buffer].offset + first * size,
  bytes: count * size,
});

/**
 * Workgroups for each range. A software adapter switches threads at each barrier, so it gets few
 * with many elements each.
 */
const mostGroups = ({ adapter }: Gpu, ranges: readonly Range[]): number =>
  Math.max(1, Math.floor((adapter.software ? SOFTWARE_PARTIALS : NORM_PARTIALS) / ranges.length));

/** In elements: an f16 binding starts at a multiple of 256 bytes. */
const RANGE_ALIGNMENT = 128;

/** Cuts the buffers where weight decay ends, and where an f32 binding would be too large. */
function rangesOf(
  { bufferSizes, decayed }: { bufferSizes: number[]; decayed: number },
  limit: number,
): Range[] {
  const most = Math.floor(limit / 4 / RANGE_ALIGNMENT) * RANGE_ALIGNMENT;
  const ranges: Range[] = [];
  let start = 0; // of the buffer, in elements of the arena
  for (const [buffer, count] of bufferSizes.entries()) {
    const boundary = Math.min(Math.max(decayed - start, 0), count);
    for (const [from, to, isDecayed] of [
      [0, boundary, true],
      [boundary, count, false],
    ] as const) {
      for (let first = from; first < to; first += most) {
        ranges.push({ buffer, first, count: Math.min(most, to - first), decayed: isDecayed });
      }
    }
    start += count;
  }
  return ranges;
}
