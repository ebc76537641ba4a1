// Runs kept in memory: for a browser without private storage, and for tests.

import { type RunStorage, StorageError, type StoredEntry } from './storage';

export class MemoryStorage implements RunStorage {
  readonly files = new Map<string, Uint8Array<ArrayBuffer>>();

  /** @param capacity bytes that fit */
  constructor(public capacity = Number.POSITIVE_INFINITY) {}

  async list(folder: string): Promise<StoredEntry[]> {
    const start = folder === '' ? '' : `${folder}/`;
    const entries = new Map<string, StoredEntry>();
    for (const [path, { length }] of this.files) {
      if (!path.startsWith(start)) continue;
      const [name, ...deeper] = path.slice(start.length).split('/');
      entries.set(name, deeper.length > 0 ? { name } : { name, bytes: length });
    }
    return [...entries.values()];
  }

  async read(path: string, from = 0, to?: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    return this.files.get(path)?.slice(from, to);
  }

  async append(path: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    this.#put(path, [this.files.get(path) ?? new Uint8Array(), bytes]);
  }

  async flush(): Promise<void> {}

  async write(path: string, chunks: readonly Uint8Array<ArrayBuffer>[]): Promise<void> {
    this.#put(path, chunks);
  }

  async remove(path: string): Promise<void> {
    for (const other of this.files.keys())
      if (other === path || other.startsWith(`${path}/`)) this.files.delete(other);
  }

  async close(): Promise<void> {}

  #put(path: string, chunks: readonly Uint8Array<ArrayBuffer>[]): void {
    const whole = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const chunk of chunks) {
      whole.set(chunk, at);
      at += chunk.length;
    }
    const others = [...this.files].filter(([other]) => other !== path);
    const used = others.reduce((sum, [, { length }]) => sum + length, 0);
    if (used + whole.length > this.capacity)
      throw new StorageError('full', `There is no room for ${whole.length} bytes of ${path}.`);
    this.files.set(path, whole);
  }
}
