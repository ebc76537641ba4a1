// Writes the trained student as a Hugging Face folder, which transformers, transformers.js and
// Stillhouse itself can load.

import { join } from 'node:path';
import type { StudentFile } from '../distill/export/export';
import { replaceFile } from './durable';

/** Writes the files one after another, each as a whole or not at all. Returns their names. */
export async function writeFolder(
  folder: string,
  files: readonly StudentFile[],
): Promise<string[]> {
  for (const { name, chunks } of files) {
    await replaceFile(join(folder, name), chunks());
  }
  return files.map(({ name }) => name);
}
