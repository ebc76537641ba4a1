// Reads small results back from the GPU through a ring of mapped buffers, a few steps late, so that
// the CPU does not wait for the GPU inside a step. It waits for the oldest result only when enough
// are in flight.

import type { Gpu } from '../gpu/device';

/** Results in flight, at least: while one step runs, the next is on the queue. */
const LEAST = 2;
/** At most: some browsers report a result 0.1 s late, in which a small student does many steps. */
const MOST = 16;
/** Between the two, as many as the GPU finishes in this time, so that it soon reacts to a user. */
const QUEUED_MILLISECONDS = 200;

export class Ring {
  #free: GPUBuffer[] = [];
  #all: GPUBuffer[] = [];
  #allowed = LEAST;
  /** Resolves when the last result has been handled; results are handled in order. */
  #last: Promise<void> = Promise.resolve();
  #waiting: (() => void)[] = [];

  constructor(
    private readonly gpu: Gpu,
    bytes: number,
  ) {
    const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
    for (let i = 0; i < MOST; i++)
      this.#all.push(gpu.memory.create('metrics', `ring ${i}`, bytes, usage));
    this.#free.push(...this.#all);
  }

  get #flying(): number {
    return this.#all.length - this.#free.length;
  }

  /** A buffer to copy a result to. Waits while enough are in flight. */
  async take(): Promise<GPUBuffer> {
    while (this.#flying >= this.#allowed)
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.#free.shift() as GPUBuffer;
  }

  /**
   * Call once the copy is submitted. `handle` gets the bytes when the GPU is done, after all
   * earlier results.
   */
  send(buffer: GPUBuffer, handle: (bytes: ArrayBuffer) => void): void {
    const mapped = this.gpu.answered(buffer.mapAsync(GPUMapMode.READ));
    const before = this.#last;
    const [sent, queued] = [performance.now(), this.#flying];
    this.#last = (async () => {
      try {
        // Both, so that neither rejection goes unhandled; the buffer is freed in any case.
        await Promise.all([before, mapped]);
        const each = (performance.now() - sent) / queued;
        this.#allowed = Math.max(LEAST, Math.min(MOST, Math.floor(QUEUED_MILLISECONDS / each)));
        const bytes = buffer.getMappedRange().slice(0);
        buffer.unmap();
        handle(bytes);
      } finally {
        this.#free.push(buffer);
        this.#waiting.shift()?.();
      }
    })();
    // `drain` reports the failure. Until then, it must not count as unhandled.
    this.#last.catch(() => undefined);
  }

  /** Waits until every result has been handled. Rejects if the device was lost. */
  async drain(): Promise<void> {
    await this.#last;
  }

  destroy(): void {
    for (const buffer of this.#all) this.gpu.memory.destroy(buffer);
  }
}
