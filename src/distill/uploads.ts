// Numbers that each batch brings to the GPU: ranges of one buffer, uploaded in one write.

import type { Gpu } from '../gpu/device';
import type { Purpose } from '../gpu/memory';
import type { Tensor } from '../gpu/program';
import { Layout } from '../tensor/layout';

/** Bytes; a binding's offset must be a multiple. */
const ALIGNMENT = 256;

type Shapes<Name extends string> = Record<Name, { shape: number[]; dtype: 'u32' | 'i32' }>;

export class Uploads<Name extends string> {
  readonly tensors: Record<Name, Tensor>;
  readonly #buffer: GPUBuffer;
  /** The buffer's contents, before they are uploaded. */
  readonly #staging: Uint32Array<ArrayBuffer>;

  constructor(
    private readonly gpu: Gpu,
    purpose: Purpose,
    label: string,
    shapes: Shapes<Name>,
  ) {
    let end = 0;
    const places = (Object.keys(shapes) as Name[]).map((name) => {
      const { shape, dtype } = shapes[name];
      const layout = Layout.contiguous(shape);
      const range = { name, layout, dtype, offset: end, bytes: layout.numel * 4 };
      end += Math.ceil(range.bytes / ALIGNMENT) * ALIGNMENT;
      return range;
    });
    const buffer = gpu.memory.create(purpose, label, end);
    this.#buffer = buffer;
    this.#staging = new Uint32Array(end / 4);
    this.tensors = Object.fromEntries(
      places.map(({ name, layout, dtype, offset, bytes }): [Name, Tensor] => [
        name,
        { layout, dtype, place: { label: name, bytes, buffer, offset, purpose } },
      ]),
    ) as Record<Name, Tensor>;
  }

  /** Writes all ranges, each from its start; negative numbers keep their bits. */
  write(values: Record<Name, ArrayLike<number>>): void {
    for (const name of Object.keys(this.tensors) as Name[])
      this.#staging.set(values[name], this.tensors[name].place.offset / 4);
    this.gpu.device.queue.writeBuffer(this.#buffer, 0, this.#staging);
  }

  destroy(): void {
    this.gpu.memory.destroy(this.#buffer);
  }
}
