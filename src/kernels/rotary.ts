// Rotary positions: queries and keys are turned by angles that grow with their positions. Where
// each head is normed first (Qwen 3), one kernel does both.

import { bytesOf, type Recorder, type Tensor } from '../gpu/program';
import { Layout } from '../tensor/layout';
import { columnLanes } from './column_sum';
import { kernel } from './sources';
import { ROW_THREADS, scalarOf } from './tensors';

/** Query heads, and heads of keys and values. */
export interface HeadCounts {
  NH: number;
  NKV: number;
}

/**
 * (T, D / 2, 2) f32: the cosine and sine of position · frequency. As in transformers, the angle is
 * an f32 number.
 * @param frequencies (D / 2) radians a position
 */
export function rotaryTable(recorder: Recorder, frequencies: Float32Array, T: number): Tensor {
  const half = frequencies.length;
  const values = new Float32Array(T * half * 2);
  for (let t = 0; t < T; t++) {
    for (let i = 0; i < half; i++) {
      const angle = Math.fround(t * frequencies[i]);
      values[2 * (t * half + i)] = Math.cos(angle);
      values[2 * (t * half + i) + 1] = Math.sin(angle);
    }
  }
  return recorder.constant('rotary table', Layout.contiguous([T, half, 2]), values);
}

/**
 * Turns q and k in qkv (B·T, (NH + 2 NKV)·D), in place. `direction` −1 turns back: the backward.
 */
export function rotary(
  recorder: Recorder,
  qkv: Tensor,
  table: Tensor,
  { NH, NKV }: HeadCounts,
  { direction = 1, label }: { direction?: 1 | -1; label?: string } = {},
): void {
  const [rows] = qkv.layout.shape;
  const [T, half_size] = table.layout.shape;
  const [heads, rotated] = [NH + 2 * NKV, NH + NKV];
  const k = kernel(recorder.gpu, 'rotary', { aliases: { scalar: scalarOf(qkv) } });
  const params = { T, rows, heads, rotated, half_size, direction };
  recorder.dispatch(
    k,
    { table, x: qkv },
    params,
    [Math.ceil((rotated * half_size) / ROW_THREADS), rows],
    {
      label,
      flops: 6 * rows * rotated * half_size,
      bytes: bytesOf(table) + (2 * bytesOf(qkv) * rotated) / heads,
    },
  );
}

export interface HeadNorm {
  /** (B·T, (NH + 2 NKV)·D): q | k | v before */
  x: Tensor;
  /** (2·D): q's gain and k's; or (NH·D + NKV·D), where all of q, and of k, is normed as one */
  gains: Tensor;
  table: Tensor;
  /** Like x: q and k normed and turned, v as it is */
  y: Tensor;
  /** (B·T, NH + NKV) f32, or (B·T, 2), for the backward pass */
  rrms: Tensor;
}

/** What is normed at a time, as the kernels take it: see head_units.wgsl. */
function unitsOf({ gains, table }: Pick<HeadNorm, 'gains' | 'table'>, { NH, NKV }: HeadCounts) {
  const [T, half_size] = table.layout.shape;
  const D = 2 * half_size;
  const size = { T, half_size };
  return gains.layout.numel === 2 * D
    ? { ...size, NQ: NH, NK: NKV, q_size: D, k_size: D }
    : { ...size, NQ: 1, NK: 1, q_size: NH * D, k_size: NKV * D };
}

/** Threads that share a unit; one on a software adapter (see rowLanes). */
const headLanes = ({ gpu }: Recorder) => (gpu.adapter.software ? 1 : 16);
/** Per element of q and k, counted in the kernels. */
const FLOPS = { forward: 7, input: 15, gain: 6 };

/** RMSNorm over each head of q and of k, or over all of them, then `rotary`. */
export function headNorm(
  recorder: Recorder,
  { x, gains, table, y, rrms }: HeadNorm,
  counts: HeadCounts,
  epsilon: number,
  label?: string,
): void {
  const [rows] = x.layout.shape;
  const units = unitsOf({ gains, table }, counts);
  const LANES = headLanes(recorder);
  const k = kernel(recorder.gpu, 'head_norm', {
    aliases: { scalar: scalarOf(x) },
    constants: { LANES },
  });
  const grid = Math.ceil(((units.NQ + 2 * units.NK) * LANES) / ROW_THREADS);
  recorder.dispatch(k, { x, gains, table, y, rrms }, { ...units, epsilon }, [grid, rows], {
    label,
    flops: FLOPS.forward * rows * (counts.NH + counts.NKV) * 2 * units.half_size,
  });
}

/** `d` like y: the gradient of y becomes that of x. dgains is added to, unless frozen. */
export function headNormBackward(
  recorder: Recorder,
  { x, gains, table, rrms }: Omit<HeadNorm, 'y'>,
  counts: HeadCounts,
  { d, dgains }: { d: Tensor; dgains?: Tensor },
  label?: string,
): void {
  const [rows] = x.layout.shape;
  const units = unitsOf({ gains, table }, counts);
  const elements = rows * (counts.NH + counts.NKV) * 2 * units.half_size;
  const aliases = { scalar: scalarOf(x) };
  if (dgains) {
    const gain = kernel(recorder.gpu, 'head_norm_backward_gain', {
      aliases,
      constants: { LANES: columnLanes(recorder.gpu) },
    });
    recorder.dispatch(
      gain,
      { x, table, rrms, dy: d, dgains },
      { ...units, rows },
      [Math.ceil(gains.layout.numel / 16)],
      { label: label && `${label} dgains`, flops: FLOPS.gain * elements },
    );
  }
  const LANES = headLanes(recorder);
  const input = kernel(recorder.gpu, 'head_norm_backward', { aliases, constants: { LANES } });
  recorder.dispatch(
    input,
    { x, gains, table, rrms, d },
    units,
    [Math.ceil(((units.NQ + units.NK) * LANES) / ROW_THREADS), rows],
    { label: label && `${label} dx`, flops: FLOPS.input * elements },
  );
}
