// Writes the trained student as a Hugging Face folder, which transformers, transformers.js and
// Stillhouse itself can load.

import { mkdir, open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { StudentFile } from '../distill/export/export';

/** Writes the files one after another, chunk by chunk. Returns their names. */
export async function writeFolder(
  folder: string,
  files: readonly StudentFile[],
): Promise<string[]> {
  for (const { name, chunks } of files) {
    const path = join(folder, name);
    await mkdir(dirname(path), { recursive: true });
    const file = await open(path, 'w');
    try {
      for await (const bytes of chunks()) await file.writeFile(bytes);
    } finally {
      await file.close();
    }
  }
  return files.map(({ name }) => name);
}
