// Where a run without a browser keeps its teacher's cache: a file.

import { open, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CacheError, type CacheStorage } from '../distill/teacher/cache-file';

/** The file is made if it is not there; its folder is not. @throws if it cannot be opened */
export async function openCacheStorage(path: string): Promise<CacheStorage> {
  const file = await open(path, 'a+').then(async (made) => {
    await made.close();
    return open(path, 'r+');
  });
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
        throw new CacheError('full', `The disk of ${path} is full.`);
      }
    },
    async room() {
      const { bavail, bsize } = await statfs(dirname(path));
      return bavail * bsize;
    },
    clear: () => file.truncate(0),
    close: () => file.close(),
  };
}
