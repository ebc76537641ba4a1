// Copies a tensor of up to four dimensions into another, each through its own layout, and converts
// between f32 and f16.

import type { Recorder, Tensor } from '../gpu/program';
import type { Layout } from '../tensor/layout';
import { kernel } from './sources';
import { elementGrid, scalarOf } from './tensors';

/**
 * source → target, element by element in row-major order. The target has the source's shape, or is
 * contiguous with as many elements. Elements outside the target's layout keep their values.
 * @throws if the layouts do not fit each other, or elements of the target overlap
 */
export function copy(recorder: Recorder, source: Tensor, target: Tensor): void {
  const { shape, numel: count } = source.layout;
  const sameShape = target.layout.shape.join() === shape.join();
  const overlaps = target.layout.strides.some(
    (stride, d) => stride === 0 && target.layout.shape[d] > 1,
  );
  if (
    shape.length > 4 ||
    target.layout.numel !== count ||
    !(sameShape || target.layout.isContiguous) ||
    overlaps
  ) {
    throw new Error(
      `copy: (${source.layout}) → (${target.layout}); want at most 4 dimensions into a tensor ` +
        `of that shape, or a contiguous one, of ${count} elements that do not overlap.`,
    );
  }
  const missing = 4 - shape.length;
  const size = (d: number) => (d < missing ? 1 : shape[d - missing]);
  const stridesOf = (name: string, { strides, offset }: Layout) => {
    const stride = (d: number) => (d < missing ? 0 : strides[d - missing]);
    return {
      [`${name}_offset`]: offset,
      ...Object.fromEntries([0, 1, 2, 3].map((d) => [`${name}${d}`, stride(d)])),
    };
  };
  const aliases = { source_type: scalarOf(source), destination_type: scalarOf(target) };
  recorder.dispatch(
    kernel(recorder.gpu, 'copy', { aliases }),
    { source, destination: target },
    {
      count,
      size1: size(1),
      size2: size(2),
      size3: size(3),
      ...stridesOf('source', source.layout),
      ...stridesOf('destination', target.layout.view(shape)),
    },
    elementGrid(recorder.gpu, count),
  );
}
