// A batch on the GPU: tokens, targets, and the order in which the embedding sums its gradients, in
// three ranges of one buffer.

import { type Batch, sortedRows } from '../data/batches';
import type { Gpu } from '../gpu/device';
import type { Tensor } from '../gpu/program';
import { Layout } from '../tensor/layout';

/** Bytes; a binding's offset must be a multiple. */
const ALIGNMENT = 256;

export class BatchBuffer {
  /** (B, T) u32 */
  readonly tokens: Tensor;
  /** (B, T) i32 */
  readonly targets: Tensor;
  /** (B·T) u32: row numbers sorted by token. */
  readonly order: Tensor;
  readonly #buffer: GPUBuffer;
  /** Bytes from the start of one range to the next. */
  readonly #stride: number;
  /** The buffer's contents, before they are uploaded. */
  readonly #staging: Uint32Array<ArrayBuffer>;

  constructor(
    private readonly gpu: Gpu,
    B: number,
    T: number,
  ) {
    this.#stride = Math.ceil((B * T * 4) / ALIGNMENT) * ALIGNMENT;
    this.#buffer = gpu.memory.create('data', 'batch', 3 * this.#stride);
    this.#staging = new Uint32Array((3 * this.#stride) / 4);
    const make = (index: number, label: string, shape: number[], dtype: 'u32' | 'i32'): Tensor => ({
      layout: Layout.contiguous(shape),
      dtype,
      place: {
        label,
        bytes: B * T * 4,
        buffer: this.#buffer,
        offset: index * this.#stride,
        purpose: 'data',
      },
    });
    this.tokens = make(0, 'tokens', [B, T], 'u32');
    this.targets = make(1, 'targets', [B, T], 'i32');
    this.order = make(2, 'order', [B * T], 'u32');
  }

  /** @throws unless the batch has B × T tokens */
  write({ inputs, targets }: Batch): void {
    const [B, T] = this.tokens.layout.shape;
    if (inputs.length !== B * T)
      throw new Error(`step: a batch of ${inputs.length} tokens; this trainer takes ${B} × ${T}.`);
    const stride = this.#stride / 4;
    this.#staging.set(inputs, 0);
    // Negative targets keep their bits.
    this.#staging.set(targets, stride);
    this.#staging.set(sortedRows(inputs), 2 * stride);
    this.gpu.device.queue.writeBuffer(this.#buffer, 0, this.#staging);
  }

  destroy(): void {
    this.gpu.memory.destroy(this.#buffer);
  }
}
