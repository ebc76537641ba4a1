// A folder that caches blocks of model files, as Cache Storage does in the browser. If it cannot be
// written, loading continues without it.

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BlockCache } from '../files/http';
import { replaceFile } from './durable';

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
        // Two runs may write it at once.
        await replaceFile(file, [bytes], `${file}.${process.pid}`);
      } catch (error) {
        gaveUp = true;
        onRefused((error as Error).message);
      }
    },
  };
}
