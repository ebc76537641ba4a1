// A GPU that makes nothing and counts everything: what is built on it takes the memory that it
// would take on the real one, by the real code. The planner's device.

import { Gpu } from './device';

const NEVER = new Promise<never>(() => {});

/**
 * A Gpu with the limits and the features of `like`, whose buffers have a size and no contents.
 * Nothing can be read back from it.
 */
export function countingGpu(like: Gpu): Gpu {
  const nothing = () => ({});
  const device = {
    limits: like.device.limits,
    features: like.device.features,
    lost: NEVER,
    queue: { writeBuffer() {}, submit() {}, onSubmittedWorkDone: async () => {} },
    addEventListener() {},
    destroy() {},
    createBuffer: ({ label, size, usage }: GPUBufferDescriptor) => ({
      label,
      size,
      usage,
      destroy() {},
    }),
    createShaderModule: nothing,
    createBindGroupLayout: nothing,
    createPipelineLayout: nothing,
    createComputePipelineAsync: async () => ({}),
    createBindGroup: nothing,
  };
  const gpu = new Gpu(device as unknown as GPUDevice, like.adapter);
  gpu.limits = like.limits;
  return gpu;
}
