// Storage for the page's teacher cache: one file in the origin private file system, which needs no
// permission and is visible to this origin only.

import { CacheError, type CacheStorage } from '../distill/teacher/cache-file';

const FILE_NAME = 'teacher-cache';

/** Not in TypeScript's DOM types: only workers have it. */
interface SyncAccessHandle {
  getSize(): number;
  read(into: Uint8Array, options: { at: number }): number;
  write(bytes: Uint8Array, options: { at: number }): number;
  truncate(size: number): void;
  flush(): void;
  close(): void;
}

/** @throws Error if the browser has no such file system, or another tab has the file open */
export async function openCacheStorage(): Promise<CacheStorage> {
  const folder = await navigator.storage.getDirectory();
  const entry = await folder.getFileHandle(FILE_NAME, { create: true });
  let handle: SyncAccessHandle;
  try {
    handle = await (
      entry as unknown as { createSyncAccessHandle(): Promise<SyncAccessHandle> }
    ).createSyncAccessHandle();
  } catch (error) {
    if ((error as Error).name !== 'NoModificationAllowedError') throw error;
    throw new Error('another tab of this page is using it');
  }
  return {
    size: async () => handle.getSize(),
    async read(from, to) {
      const bytes = new Uint8Array(to - from);
      return bytes.subarray(0, handle.read(bytes, { at: from }));
    },
    async write(at, bytes) {
      let written: number;
      try {
        written = handle.write(bytes, { at });
      } catch (error) {
        const { name, message } = error as Error;
        if (name !== 'QuotaExceededError') {
          const why = message.replace(/\.$/, '');
          throw new CacheError('full', `The browser’s storage for this page fails: ${why}.`);
        }
        written = 0;
      }
      if (written < bytes.length)
        throw new CacheError('full', 'The browser’s storage for this page is full.');
    },
    async flush() {
      handle.flush();
    },
    async room() {
      const { quota, usage } = await navigator.storage.estimate();
      return quota === undefined || usage === undefined ? undefined : Math.max(0, quota - usage);
    },
    async clear() {
      handle.truncate(0);
      handle.flush();
    },
    async close() {
      handle.close();
    },
  };
}
