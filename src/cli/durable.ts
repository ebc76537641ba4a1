// Replaces a file on disk as a whole or not at all, whatever is killed or cut meanwhile: written
// aside, flushed, renamed, and the folder flushed.

import { mkdir, open, rename, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { aside } from '../runs/storage';

/**
 * Makes a folder and those above it, durably. Node's own `recursive` says "no such file or
 * directory" of a read-only disk, and never ends in a folder that takes none.
 */
export async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST' && (await stat(path)).isDirectory()) return;
    if (code !== 'ENOENT' || dirname(path) === path) throw error;
    await makeFolder(dirname(path));
    await mkdir(path).catch((again: NodeJS.ErrnoException) => {
      if (again.code !== 'EEXIST') throw again;
    });
  }
  await syncFolder(dirname(path));
}

/** Creates the folder if needed. @throws what `chunks` throws, or the file system's error */
export async function replaceFile(
  path: string,
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  temporary = aside(path),
): Promise<void> {
  await makeFolder(dirname(path));
  const file = await open(temporary, 'w');
  try {
    for await (const bytes of chunks) await file.writeFile(bytes);
    await file.sync();
  } catch (error) {
    // Gives the room back.
    await file.truncate().catch(() => undefined);
    throw error;
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  await syncFolder(dirname(path));
}

/** The new name is durable only once the folder is. Windows cannot open a folder, and need not. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path).catch(() => undefined);
  if (!folder) return;
  try {
    await folder.sync();
  } catch {
    // Some file systems refuse; the rename itself has succeeded.
  } finally {
    await folder.close();
  }
}
