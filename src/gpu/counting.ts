// The planner's device: a GPU that allocates nothing but counts everything. The real code builds on
// it, so it counts the memory that the real device would need.

import { Gpu } from './device';

const NEVER = new Promise<never>(() => {});

/** A Gpu with the limits and features of `like`. Its buffers have sizes but no contents to read. */
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
