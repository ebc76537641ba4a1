// Copies a tensor of up to four dimensions, read through its layout, into a contiguous one; converts f32 and f16.

import { kernel } from '../gpu/kernel';
import type { Recorder, Tensor } from '../gpu/program';
import wgsl from './copy.wgsl?raw';
import { elementGrid, scalarOf } from './tensors';

/** target = source, element by element in row-major order. Both have the same number of elements. */
export function copy(recorder: Recorder, source: Tensor, target: Tensor): void {
  const { shape, strides, offset, numel: count } = source.layout;
  if (shape.length > 4 || target.layout.numel !== count || !target.layout.isContiguous) {
    throw new Error(
      `copy: (${source.layout}) → (${target.layout}); want at most 4 dimensions into a contiguous tensor of ${count} elements.`,
    );
  }
  const missing = 4 - shape.length;
  const size = (d: number) => (d < missing ? 1 : shape[d - missing]);
  const stride = (d: number) => (d < missing ? 0 : strides[d - missing]);
  const aliases = { source_type: scalarOf(source), target_type: scalarOf(target) };
  recorder.dispatch(
    kernel(recorder.gpu, 'copy', wgsl, { aliases }),
    { source, destination: target },
    {
      ...{ count, offset, size1: size(1), size2: size(2), size3: size(3) },
      ...{ stride0: stride(0), stride1: stride(1), stride2: stride(2), stride3: stride(3) },
    },
    elementGrid(recorder.gpu, count),
  );
}
