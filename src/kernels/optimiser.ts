// The optimiser's launchers: the gradient's norm, the decision about the step, AdamW. All on the
// GPU; nothing is read back.

import type { Storage } from '../gpu/kernel';
import type { Placement, Recorder } from '../gpu/program';
import { kernel } from './sources';
import { elementGrid } from './tensors';

/** Bytes of the scaler's state; see struct Scaler in lossScaler.wgsl. */
export const SCALER_BYTES = 40;
/** Good steps after which the loss scale doubles, as in PyTorch's GradScaler. */
const GROWTH_INTERVAL = 2000;
/** Partial sums of the gradient's norm: few enough for one thread to add up. */
export const NORM_PARTIALS = 256;
const SOFTWARE_PARTIALS = 16;

export interface AdamW {
  beta1: number;
  beta2: number;
  epsilon: number;
  /** Applied to the first range only. */
  weightDecay: number;
  /** Global norm above which the gradient is scaled down; 0 never clips. */
  maxGradNorm: number;
  /** Whether the loss scale adapts. */
  dynamicScale: boolean;
}

/** f32 arenas of one plan, a placement a part, and the working copy that the optimiser writes. */
export interface OptimiserArenas {
  gradients: Placement[];
  master: Placement[];
  mean: Placement[];
  square: Placement[];
  /**
   * The f16 copy of the master weights; absent where the kernels read the master weights
   * themselves.
   */
  halves?: Placement[];
}

/** An element's, counted in the kernels. */
const FLOPS = { norm: 3, adamw: 17 };

const FOURS = {
  f16: { value: 'vec4<f32>', scalar: 'vec4<f16>' },
  f32: { value: 'vec4<f32>', scalar: 'vec4<f32>' },
} as const;

/** A run of elements in one part that a binding can show. */
interface Range {
  part: number;
  first: number;
  count: number;
  decayed: boolean;
}

/**
 * One optimiser step over arenas whose buffers have `bufferSizes` elements; the first `decayed` get
 * weight decay. `step` is the uniform { learning_rate, temperature, alpha, inverse_tokens };
 * `partials` holds NORM_PARTIALS × 2 f32.
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
  const within = (places: Placement[], { part, first, count }: Range, size: number): Placement => ({
    ...places[part],
    offset: places[part].offset + first * size,
    bytes: count * size,
  });
  // A software adapter changes lanes at each barrier: it is to have few workgroups with many
  // elements each.
  const most = Math.max(
    1,
    Math.floor((gpu.adapter.software ? SOFTWARE_PARTIALS : NORM_PARTIALS) / ranges.length),
  );
  let groups = 0;
  for (const range of ranges) {
    const own = Math.min(most, Math.ceil(range.count / 64));
    recorder.dispatch(
      kernel(gpu, 'gradient_norm'),
      { scaler, gradients: within(arenas.gradients, range, 4), partials },
      { count: range.count, first: groups },
      [own],
      { flops: FLOPS.norm * range.count },
    );
    groups += own;
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
    // Elements that one load brings; a student's ranges are all of fours.
    const lanes = range.count % 4 === 0 ? 4 : 1;
    const aliases = lanes === 4 ? FOURS[scalar] : { value: 'f32' as const, scalar };
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
      { count: range.count / lanes, beta1, beta2, epsilon, decay: range.decayed ? weightDecay : 0 },
      elementGrid(gpu, range.count / lanes),
      // The gradient is read, the copy written, the rest both.
      {
        flops: FLOPS.adamw * range.count,
        bytes: range.count * (4 + 3 * 8 + (arenas.halves ? 2 : 0)),
      },
    );
  }
}

/** An f16 binding starts at a multiple of 256 bytes, and so of this many elements. */
const RANGE_ALIGNMENT = 128;

/** Cuts the parts where weight decay ends and where a binding of f32 would be too large. */
function rangesOf(
  { bufferSizes, decayed }: { bufferSizes: number[]; decayed: number },
  limit: number,
): Range[] {
  const most = Math.floor(limit / 4 / RANGE_ALIGNMENT) * RANGE_ALIGNMENT;
  const ranges: Range[] = [];
  let start = 0; // of the part, in the whole plan
  for (const [part, count] of bufferSizes.entries()) {
    const boundary = Math.min(Math.max(decayed - start, 0), count);
    for (const [from, to, isDecayed] of [
      [0, boundary, true],
      [boundary, count, false],
    ] as const) {
      for (let first = from; first < to; first += most) {
        ranges.push({ part, first, count: Math.min(most, to - first), decayed: isDecayed });
      }
    }
    start += count;
  }
  return ranges;
}
