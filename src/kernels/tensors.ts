// What the kernels' launchers share: views of tensors, and the sizes that depend on the adapter.

import type { Gpu } from '../gpu/device';
import type { Storage } from '../gpu/kernel';
import type { Tensor } from '../gpu/program';
import { BYTES } from '../tensor/dtype';
import { Layout } from '../tensor/layout';

/**
 * The same tensor as a matrix (rows, columns); throws as PyTorch's view does where that needs a
 * copy.
 */
export const matrix = (t: Tensor, rows: number, columns: number): Tensor => ({
  ...t,
  layout: t.layout.view([rows, columns]),
});

export const transposed = (t: Tensor): Tensor => ({ ...t, layout: t.layout.transpose(0, 1) });

/**
 * A contiguous matrix cut into runs of rows that one binding can show: [{ first, rows }], `rows` a
 * tensor of its own place. One run where all of it fits. A vocabulary's embeddings are the one
 * tensor that outgrows a small adapter's bindings.
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

/** The storage type that a kernel's text should be made for. */
export function scalarOf({ dtype, place }: Tensor): Storage {
  if (dtype === 'f16' || dtype === 'f32') return dtype;
  throw new Error(`${place.label} holds ${dtype}; this kernel wants f16 or f32.`);
}

/**
 * Threads that share one row's sums. A software adapter runs a barrier as a switch between
 * coroutines, so there one thread takes a whole row and no barrier is left in the kernel.
 */
export const rowLanes = (gpu: Gpu): number => (gpu.adapter.software ? 1 : 64);
export const ROW_THREADS = 64;

/** Workgroups of 64 threads for a loop over `count` elements; each thread takes every n-th one. */
export function elementGrid(gpu: Gpu, count: number): [number] {
  const enough = gpu.adapter.software ? 64 : 4096;
  return [Math.min(Math.ceil(count / 64), enough)];
}
