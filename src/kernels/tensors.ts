// What the kernels' launchers share: views of tensors, and sizes that depend on the adapter.

import type { Gpu } from '../gpu/device';
import type { Storage } from '../gpu/kernel';
import type { Tensor } from '../gpu/program';
import { BYTES } from '../tensor/dtype';
import { Layout } from '../tensor/layout';

/**
 * The same tensor as a matrix (rows, columns).
 * @throws as PyTorch's view does if that needs a copy
 */
export const matrix = (t: Tensor, rows: number, columns: number): Tensor => ({
  ...t,
  layout: t.layout.view([rows, columns]),
});

/** The same matrix with its dimensions swapped. */
export const transposed = (t: Tensor): Tensor => ({ ...t, layout: t.layout.transpose(0, 1) });

/** The first rows of a contiguous matrix. */
export function firstRows(t: Tensor, count: number): Tensor {
  const layout = t.layout.narrow(0, 0, count);
  return { ...t, layout, place: { ...t.place, bytes: layout.numel * BYTES[t.dtype] } };
}

/**
 * Cuts a contiguous matrix into runs of rows that each fit one binding; a single run if all of it
 * fits. Only a vocabulary's embeddings outgrow a small adapter's bindings. `first` is a run's first
 * row, `rows` the tensor of its rows.
 */
export function rowRuns(gpu: Gpu, t: Tensor): { first: number; rows: Tensor }[] {
  const [count, columns] = t.layout.shape;
  const size = BYTES[t.dtype];
  if (t.place.bytes <= gpu.limits.binding) return [{ first: 0, rows: t }];
  // A run's place must start at a multiple of 256 bytes.
  let aligned = 1;
  while ((aligned * columns * size) % 256 !== 0) aligned++;
  const most = Math.floor(gpu.limits.binding / (columns * size * aligned)) * aligned;
  return Array.from({ length: Math.ceil(count / most) }, (_, i) => {
    const first = i * most;
    const layout = Layout.contiguous([Math.min(most, count - first), columns]);
    const place = {
      ...t.place,
      offset: t.place.offset + first * columns * size,
      bytes: layout.numel * size,
    };
    return { first, rows: { ...t, layout, place } };
  });
}

/** A tensor's dtype as a kernel's alias. @throws if the tensor holds integers */
export function scalarOf({ dtype, place }: Tensor): Storage {
  if (dtype === 'f16' || dtype === 'f32') return dtype;
  throw new Error(`${place.label} holds ${dtype}; this kernel wants f16 or f32.`);
}

/**
 * Threads that share one row's sums. A software adapter switches coroutines at each barrier, so
 * there one thread takes a whole row and the kernel runs no barrier.
 */
export const rowLanes = (gpu: Gpu): number => (gpu.adapter.software ? 1 : 64);
/** Threads of a workgroup whose threads share rows: see rows.wgsl. */
export const ROW_THREADS = 64;

/** The grid for `count` elements, in workgroups of 64 threads that each loop over several. */
export function elementGrid(gpu: Gpu, count: number): [number] {
  const enough = gpu.adapter.software ? 64 : 4096;
  return [Math.min(Math.ceil(count / 64), enough)];
}
