// Small results on their way back from the GPU: a ring of mapped buffers, read a few steps late, so
// that the CPU never waits for the GPU inside a step. Only when enough is in flight does it wait,
// for the oldest.

import type { Gpu } from '../gpu/device';

/** In flight at least: while one step runs the next is on the queue. */
const LEAST = 2;
/**
 * And at most: some browsers tell of a result a tenth of a second late, in which a small student
 * takes many steps.
 */
const MOST = 16;
/**
 * Between them, as many as the GPU does in this time: so soon does it do what a person asks for
 * next.
 */
const QUEUED_MILLISECONDS = 200;

export class Ring {
  #free: GPUBuffer[] = [];
  #all: GPUBuffer[] = [];
  #allowed = LEAST;
  /** Settles when the result sent last has been handled; results are handled in order. */
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

  /** A buffer to copy results to; waits while enough are in flight. */
  async take(): Promise<GPUBuffer> {
    while (this.#flying >= this.#allowed)
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.#free.shift() as GPUBuffer;
  }

  /**
   * Call once the copy is submitted: `handle` gets the bytes when the GPU is done, after those sent
   * before.
   */
  send(buffer: GPUBuffer, handle: (bytes: ArrayBuffer) => void): void {
    const mapped = buffer.mapAsync(GPUMapMode.READ);
    const before = this.#last;
    const [sent, queued] = [performance.now(), this.#flying];
    this.#last = (async () => {
      try {
        // Together: when one fails, the other's failure is heard too, and the buffer comes free all
        // the same.
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
    // `drain` reports it; until then it is not unhandled.
    this.#last.catch(() => undefined);
  }

  /** Waits until everything sent has been handled. Rejects if the device was lost on the way. */
  async drain(): Promise<void> {
    await this.#last;
  }

  destroy(): void {
    for (const buffer of this.#all) this.gpu.memory.destroy(buffer);
  }
}
