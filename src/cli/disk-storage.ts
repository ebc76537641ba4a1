// A run's folder on this machine's disk, as RunStorage.

import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { aside, type RunStorage, StorageError, type StoredEntry } from '../runs/storage';

/** Errors are the file system's own, with its code, but for a full disk. */
export class DiskStorage implements RunStorage {
  readonly #open = new Map<string, FileHandle>();

  constructor(private readonly root: string) {}

  async list(folder: string): Promise<StoredEntry[]> {
    const path = join(this.root, folder);
    const entries = await readdir(path, { withFileTypes: true }).catch(unlessMissing([]));
    return Promise.all(
      entries.map(async (entry) =>
        entry.isDirectory()
          ? { name: entry.name }
          : { name: entry.name, bytes: (await stat(join(path, entry.name))).size },
      ),
    );
  }

  async read(path: string, from = 0, to?: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const file = await open(join(this.root, path)).catch(unlessMissing(undefined));
    if (!file) return undefined;
    try {
      const { size } = await file.stat();
      const bytes = new Uint8Array(Math.max(0, Math.min(to ?? size, size) - from));
      for (let done = 0; done < bytes.length; ) {
        const { bytesRead } = await file.read(bytes, done, bytes.length - done, from + done);
        if (bytesRead === 0) return bytes.slice(0, done);
        done += bytesRead;
      }
      return bytes;
    } finally {
      await file.close();
    }
  }

  async append(path: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    let file = this.#open.get(path);
    if (!file) {
      file = await openInFolder(join(this.root, path), 'a');
      this.#open.set(path, file);
    }
    const { size } = await file.stat();
    try {
      await file.appendFile(bytes);
    } catch (error) {
      await file.truncate(size).catch(() => undefined);
      throw full(path, error);
    }
  }

  async flush(path: string): Promise<void> {
    await this.#open.get(path)?.datasync();
  }

  async write(path: string, chunks: readonly Uint8Array<ArrayBuffer>[]): Promise<void> {
    await this.close(path);
    const whole = join(this.root, path);
    const file = await openInFolder(aside(whole), 'w');
    try {
      for (const chunk of chunks) await file.writeFile(chunk);
      await file.sync();
    } catch (error) {
      // Gives the room back.
      await file.truncate().catch(() => undefined);
      throw full(path, error);
    } finally {
      await file.close();
    }
    await rename(aside(whole), whole);
    await syncFolder(dirname(whole));
  }

  async remove(path: string): Promise<void> {
    await this.close(path);
    await rm(join(this.root, path), { recursive: true, force: true });
  }

  async close(folder: string): Promise<void> {
    for (const [path, file] of this.#open) {
      if (folder !== '' && path !== folder && !path.startsWith(`${folder}/`)) continue;
      this.#open.delete(path);
      await file.close();
    }
  }
}

/** Opens a file to write it, and makes its folder. */
async function openInFolder(path: string, how: 'a' | 'w'): Promise<FileHandle> {
  try {
    await mkdir(dirname(path), { recursive: true });
    return await open(path, how);
  } catch (error) {
    throw full(path, error);
  }
}

/** A full disk or a used-up quota, or else the error itself. */
function full(path: string, error: unknown): unknown {
  const { code = '' } = error as NodeJS.ErrnoException;
  if (!['ENOSPC', 'EDQUOT'].includes(code)) return error;
  const message = `${path} could not be written: the disk is full. Free some space.`;
  return new StorageError('full', message, { cause: error });
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

const unlessMissing =
  <Value>(value: Value) =>
  (error: NodeJS.ErrnoException): Value => {
    if (error.code === 'ENOENT') return value;
    throw error;
  };
