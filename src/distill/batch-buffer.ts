// A batch on the GPU: tokens, targets, the order in which the embedding sums its gradients, and the
// documents that its rows hold.

import { type Batch, sortedRows } from '../data/batches';
import type { Gpu } from '../gpu/device';
import type { Purpose } from '../gpu/memory';
import type { Tensor } from '../gpu/program';
import type { DocumentTensors } from '../model/family';
import { Uploads } from './uploads';

export class BatchBuffer {
  readonly #uploads: Uploads<'tokens' | 'targets' | 'order'>;
  readonly #documents?: DocumentBuffer;

  /** @param masked whether attention stays inside each document */
  constructor(gpu: Gpu, B: number, T: number, masked: boolean) {
    this.#uploads = new Uploads(gpu, 'data', 'batch', {
      tokens: { shape: [B, T], dtype: 'u32' },
      targets: { shape: [B, T], dtype: 'i32' },
      order: { shape: [B * T], dtype: 'u32' },
    });
    if (masked) this.#documents = new DocumentBuffer(gpu, 'data', B, T);
  }

  /** (B, T) u32 */
  get tokens(): Tensor {
    return this.#uploads.tensors.tokens;
  }

  /** (B, T) i32 */
  get targets(): Tensor {
    return this.#uploads.tensors.targets;
  }

  /** (B·T) u32: row numbers sorted by token. */
  get order(): Tensor {
    return this.#uploads.tensors.order;
  }

  /** Undefined where attention sees whole rows. */
  get documents(): DocumentTensors | undefined {
    return this.#documents?.tensors;
  }

  /** @throws unless the batch has B × T tokens, and their documents where they are asked for */
  write(batch: Batch): void {
    const { inputs, targets } = batch;
    const [B, T] = this.tokens.layout.shape;
    if (inputs.length !== B * T)
      throw new Error(`step: a batch of ${inputs.length} tokens; this trainer takes ${B} × ${T}.`);
    this.#uploads.write({ tokens: inputs, targets, order: sortedRows(inputs) });
    this.#documents?.write(batch);
  }

  destroy(): void {
    this.#uploads.destroy();
    this.#documents?.destroy();
  }
}

/** The documents of a batch's rows on the GPU. */
export class DocumentBuffer {
  readonly #uploads: Uploads<keyof DocumentTensors>;

  constructor(
    gpu: Gpu,
    purpose: Purpose,
    B: number,
    private readonly T: number,
  ) {
    this.#uploads = new Uploads(gpu, purpose, 'documents', {
      spans: { shape: [B, T, 2], dtype: 'u32' },
      positions: { shape: [B, T], dtype: 'u32' },
      order: { shape: [B * T], dtype: 'u32' },
    });
  }

  get tensors(): DocumentTensors {
    return this.#uploads.tensors;
  }

  /** @throws for a batch that does not say where its documents begin */
  write({ documents: spans }: Pick<Batch, 'documents'>): void {
    if (!spans)
      throw new Error(
        'packing=masked: this batch does not say where its documents begin. Make it with them.',
      );
    const { length } = spans;
    const positions = Uint32Array.from(
      { length: length / 2 },
      (_, i) => (i % this.T) - spans[2 * i],
    );
    this.#uploads.write({ spans, positions, order: sortedRows(positions) });
  }

  destroy(): void {
    this.#uploads.destroy();
  }
}
