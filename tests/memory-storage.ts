// A cache storage in memory, of limited size, which tests inspect and damage.

import { CacheError, type CacheStorage } from '../src/distill/teacher/cache-file';

export interface MemoryStorage extends CacheStorage {
  bytes: Uint8Array<ArrayBuffer>;
  /** Number of calls of `close`. */
  closed: number;
  /** Bytes that fit. Unless `knowsRoom`, this shows in a failing write only. */
  capacity: number;
  knowsRoom: boolean;
}

export function memoryStorage(): MemoryStorage {
  const storage: MemoryStorage = {
    bytes: new Uint8Array(),
    closed: 0,
    capacity: Number.POSITIVE_INFINITY,
    knowsRoom: false,
    size: async () => storage.bytes.length,
    read: async (from, to) => storage.bytes.slice(from, to),
    async write(at, bytes) {
      const end = at + bytes.length;
      if (end > storage.capacity) throw new CacheError('full', 'The test’s storage is full.');
      if (end > storage.bytes.length) {
        const grown = new Uint8Array(end);
        grown.set(storage.bytes);
        storage.bytes = grown;
      }
      storage.bytes.set(bytes, at);
    },
    flush: async () => {},
    room: async () => (storage.knowsRoom ? storage.capacity - storage.bytes.length : undefined),
    clear: async () => {
      storage.bytes = new Uint8Array();
    },
    close: async () => {
      storage.closed++;
    },
  };
  return storage;
}
