// Which kernels there are, and which a device has been given.

import { DIVERGENCE_NAMES } from '../../src/divergences';
import type { Gpu } from '../../src/gpu/device';

/** The kernels by name. distil.wgsl is compiled as the divergence that includes it. */
export const KERNEL_FILES = Object.entries(
  import.meta.glob<string>('../../src/kernels/**/*.wgsl', {
    query: '?raw',
    import: 'default',
    eager: true,
  }),
)
  .filter(([, text]) => text.includes('@compute'))
  .map(([path]) => /(\w+)\.wgsl$/.exec(path)?.[1] ?? path)
  .filter((name) => name !== 'distil')
  .concat(DIVERGENCE_NAMES);

/** The labels of the shaders that are created on a device from now on. */
export function shadersOf({ device }: Gpu): Set<string> {
  const labels = new Set<string>();
  const create = device.createShaderModule.bind(device);
  device.createShaderModule = (descriptor) => {
    labels.add(descriptor.label ?? '');
    return create(descriptor);
  };
  return labels;
}
