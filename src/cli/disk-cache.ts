// A folder for blocks of model files, as the browser has its Cache Storage. Where it cannot be
// written, loading goes on without it.

import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { BlockCache } from '../files/http';

/** @param refused is told once why nothing is kept any more */
export function diskCache(folder: string, refused: (why: string) => void): BlockCache {
  let given = false;
  const path = (key: string) => {
    const name = createHash('sha256').update(key).digest('hex');
    return join(folder, name.slice(0, 2), name);
  };
  return {
    // A block that is not there, or cannot be read, is fetched.
    get: (key) =>
      readFile(path(key)).then(
        (bytes) => new Uint8Array(bytes),
        () => undefined,
      ),
    async put(key, bytes) {
      if (given) return;
      try {
        const file = path(key);
        await mkdir(dirname(file), { recursive: true });
        // Written beside and renamed: a block is there whole or not at all, also with two runs at
        // once.
        const beside = `${file}.${process.pid}`;
        await writeFile(beside, bytes);
        await rename(beside, file);
      } catch (error) {
        given = true;
        refused((error as Error).message);
      }
    },
  };
}
