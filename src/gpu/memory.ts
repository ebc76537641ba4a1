// GPU buffers and what they are for. Counts buffers that others create on our device too: that is
// onnxruntime, which runs the teacher.

/** What a buffer is for. The status strip lists memory by it. */
export type Purpose =
  | 'weights'
  | 'gradients'
  | 'optimiser'
  | 'activations'
  | 'logits'
  | 'data'
  | 'teacher'
  | 'metrics';

export class Memory {
  #purposes = new Map<GPUBuffer, Purpose>();
  /** Bytes of the last buffer of each label, whether there was room for it or not. */
  readonly asked = new Map<string, number>();

  constructor(private readonly device: GPUDevice) {
    const createBuffer = device.createBuffer.bind(device);
    device.createBuffer = (descriptor) => {
      this.asked.set(descriptor.label ?? '', descriptor.size);
      const buffer = createBuffer(descriptor);
      const destroy = buffer.destroy.bind(buffer);
      this.#purposes.set(buffer, 'teacher');
      buffer.destroy = () => {
        this.#purposes.delete(buffer);
        destroy();
      };
      return buffer;
    };
  }

  /**
   * A zeroed buffer; `bytes` is rounded up to a multiple of 4. By default it is storage, copy
   * source and copy destination.
   */
  create(
    purpose: Purpose,
    label: string,
    bytes: number,
    usage: number = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
  ): GPUBuffer {
    const buffer = this.device.createBuffer({
      label,
      size: Math.max(4, Math.ceil(bytes / 4) * 4),
      usage,
    });
    this.#purposes.set(buffer, purpose);
    return buffer;
  }

  destroy(buffer: GPUBuffer): void {
    buffer.destroy();
  }

  /** Bytes by purpose. A purpose without a buffer has no entry. */
  totals(): Partial<Record<Purpose, number>> {
    const totals: Partial<Record<Purpose, number>> = {};
    for (const [buffer, purpose] of this.#purposes)
      totals[purpose] = (totals[purpose] ?? 0) + buffer.size;
    return totals;
  }
}
