// A run's folder on this machine's disk, as RunStorage.

import { type FileHandle, open, readdir, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type RunStorage, StorageError, type StoredEntry } from '../runs/storage';
import { makeFolder, replaceFile, syncFolder } from './durable';

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
      file = await openToAppend(join(this.root, path));
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
    await replaceFile(join(this.root, path), chunks).catch((error) => {
      throw full(path, error);
    });
  }

  async remove(path: string): Promise<void> {
    await this.close(path);
    await rm(join(this.root, path), { recursive: true, force: true });
    await syncFolder(dirname(join(this.root, path)));
  }

  async close(folder: string): Promise<void> {
    for (const [path, file] of this.#open) {
      if (folder !== '' && path !== folder && !path.startsWith(`${folder}/`)) continue;
      this.#open.delete(path);
      await file.close();
    }
  }
}

/** Makes the file and its folder if needed. */
async function openToAppend(path: string): Promise<FileHandle> {
  try {
    await makeFolder(dirname(path));
    const file = await open(path, 'a');
    await syncFolder(dirname(path));
    return file;
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

const unlessMissing =
  <Value>(value: Value) =>
  (error: NodeJS.ErrnoException): Value => {
    if (error.code === 'ENOENT') return value;
    throw error;
  };
