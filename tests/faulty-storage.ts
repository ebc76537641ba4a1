// A run storage that dies in the middle of a call, as a killed process does, or a machine without
// power; what it holds afterwards is another storage, which can be opened again.

import { aside, type RunStorage, type StoredEntry } from '../src/runs/storage';

type Bytes = Uint8Array<ArrayBuffer>;

export class FaultyStorage implements RunStorage {
  /** Calls that change something. */
  calls = 0;
  dead = false;
  /** Bytes of a file that were appended since its last flush. */
  readonly #unflushed = new Map<string, number>();

  /**
   * @param dieAt the call that changes something and does not finish, from 1
   * @param random in [0, 1)
   */
  constructor(
    readonly inner: RunStorage,
    private readonly dieAt: number,
    private readonly random: () => number,
  ) {}

  list(folder: string): Promise<StoredEntry[]> {
    return this.#alive(() => this.inner.list(folder));
  }

  read(path: string, from?: number, to?: number): Promise<Bytes | undefined> {
    return this.#alive(() => this.inner.read(path, from, to));
  }

  append(path: string, bytes: Bytes): Promise<void> {
    const add = async (part: Bytes) => {
      await this.inner.append(path, part);
      this.#unflushed.set(path, (this.#unflushed.get(path) ?? 0) + part.length);
    };
    return this.#change(
      () => add(bytes),
      () => add(bytes.slice(0, this.#some(bytes.length))),
    );
  }

  flush(path: string): Promise<void> {
    return this.#change(
      async () => {
        await this.inner.flush(path);
        this.#unflushed.delete(path);
      },
      async () => {},
    );
  }

  write(path: string, chunks: readonly Bytes[]): Promise<void> {
    return this.#change(
      async () => {
        await this.inner.write(path, chunks);
        this.#unflushed.delete(path);
      },
      // Either the file beside it is torn, or the write was done and nobody learned of it.
      async () => {
        if (this.random() < 0.5) return this.inner.write(path, chunks);
        const whole = new Uint8Array(await new Blob([...chunks]).arrayBuffer());
        return this.inner.write(aside(path), [whole.slice(0, this.#some(whole.length))]);
      },
    );
  }

  remove(path: string): Promise<void> {
    return this.#change(
      () => this.inner.remove(path),
      async () => {},
    );
  }

  close(path: string): Promise<void> {
    return this.#alive(() => this.inner.close(path));
  }

  /** Leaves, of the bytes that were not flushed, only the first few. */
  async cutPower(): Promise<void> {
    await this.inner.close('');
    for (const [path, count] of this.#unflushed) {
      const bytes = await this.inner.read(path);
      if (bytes) await this.inner.write(path, [bytes.slice(0, bytes.length - this.#some(count))]);
    }
  }

  #some(most: number): number {
    return Math.floor(this.random() * (most + 1));
  }

  async #alive<Value>(call: () => Promise<Value>): Promise<Value> {
    if (this.dead) throw new Error('The process is dead.');
    return call();
  }

  async #change(call: () => Promise<void>, half: () => Promise<void>): Promise<void> {
    if (this.dead) throw new Error('The process is dead.');
    this.calls++;
    if (this.calls < this.dieAt) return call();
    this.dead = true;
    await half();
    throw new Error('The process is dead.');
  }
}
