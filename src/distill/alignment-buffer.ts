// A batch's groups of tokens on the GPU, for losses that need no common vocabulary.

import type { AlignedBatch } from '../data/aligned';
import type { Gpu } from '../gpu/device';
import { bufferOf, persistentTensor, type Tensor } from '../gpu/program';
import { Layout } from '../tensor/layout';

export class AlignmentBuffer {
  /** (B·T, 4) u32: see data/aligned.ts. */
  readonly spans: Tensor;
  /** (B, T) i32: the teacher's targets. */
  readonly targets: Tensor;
  /** A uniform, f32: 1 / groups of the step; 0 without any. */
  readonly inverseGroups: GPUBuffer;

  constructor(
    private readonly gpu: Gpu,
    B: number,
    T: number,
  ) {
    const make = (label: string, shape: number[], dtype: 'u32' | 'i32') =>
      persistentTensor(gpu, 'data', label, Layout.contiguous(shape), dtype);
    this.spans = make('groups', [B * T, 4], 'u32');
    this.targets = make('teacher targets', [B, T], 'i32');
    const { UNIFORM, COPY_DST } = GPUBufferUsage;
    this.inverseGroups = gpu.memory.create('data', 'group count', 4, UNIFORM | COPY_DST);
  }

  /** @param groups of all batches of the step */
  write({ spans, targets }: AlignedBatch, groups: number): void {
    const { queue } = this.gpu.device;
    queue.writeBuffer(bufferOf(this.spans), 0, spans);
    queue.writeBuffer(bufferOf(this.targets), 0, new Int32Array(targets));
    const inverse = groups > 0 ? 1 / groups : 0;
    queue.writeBuffer(this.inverseGroups, 0, Float32Array.of(inverse));
  }

  destroy(): void {
    for (const tensor of [this.spans, this.targets]) this.gpu.memory.destroy(bufferOf(tensor));
    this.gpu.memory.destroy(this.inverseGroups);
  }
}
