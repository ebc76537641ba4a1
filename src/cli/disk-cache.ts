// A folder that caches blocks of model files, as Cache Storage does in the browser. If it cannot be
// written, loading continues without it.

import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { BlockCache } from '../files/http';

/** @param onRefused called once, with the reason, when the folder cannot be written */
export function diskCache(folder: string, onRefused: (why: string) => void): BlockCache {
  let gaveUp = false;
  const path = (key: string) => {
    const name = createHash('sha256').update(key).digest('hex');
    return join(folder, name.slice(0, 2), name);
  };
  return {
    // A block that is missing or cannot be read is downloaded again.
    get: (key) =>
      readFile(path(key)).then(
        (bytes) => new Uint8Array(bytes),
        () => undefined,
      ),
    async put(key, bytes) {
      if (gaveUp) return;
      try {
        const file = path(key);
        await mkdir(dirname(file), { recursive: true });
        // Written to a temporary file and renamed, so that a block is complete or absent, even if
        // two runs write it at once.
        const temporary = `${file}.${process.pid}`;
        await writeFile(temporary, bytes);
        await rename(temporary, file);
      } catch (error) {
        gaveUp = true;
        onRefused((error as Error).message);
      }
    },
  };
}
