// Storage for the teacher cache of a run without a browser: a file.

import { open, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CacheError, type CacheStorage } from '../distill/teacher/cache-file';

/** Creates the file if needed, but not its folder. @throws Error if it cannot be opened */
export async function openCacheStorage(path: string): Promise<CacheStorage> {
  // 'a+' creates a missing file, but would append every write; 'r+' does not create it.
  await (await open(path, 'a+')).close();
  const file = await open(path, 'r+');
  return {
    size: async () => (await file.stat()).size,
    async read(from, to) {
      const bytes = new Uint8Array(to - from);
      const { bytesRead } = await file.read(bytes, 0, bytes.length, from);
      return bytes.subarray(0, bytesRead);
    },
    async write(at, bytes) {
      try {
        for (let done = 0; done < bytes.length; ) {
          done += (await file.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
        }
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
        throw new CacheError('full', `The disk with ${path} is full.`);
      }
    },
    flush: () => file.sync(),
    async room() {
      const { bavail, bsize } = await statfs(dirname(path));
      return bavail * bsize;
    },
    clear: () => file.truncate(0),
    close: () => file.close(),
  };
}
