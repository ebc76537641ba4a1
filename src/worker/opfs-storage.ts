// Runs in the origin private file system, which needs no permission and is visible to this origin
// only. Its synchronous handles exist in workers alone.

import { aside, type RunStorage, StorageError, type StoredEntry } from '../runs/storage';
import { nextTask } from './host';

/** A synchronous handle stops all other work of its worker: a training run goes on in between. */
const WRITE_BYTES = 2 ** 22;

type SyncHandle = FileSystemSyncAccessHandle;
/** `move` renames. Not every browser has it. */
type FileEntry = FileSystemFileHandle & { move?(name: string): Promise<void> };
type FolderEntry = FileSystemDirectoryHandle & {
  entries(): AsyncIterable<[string, FileSystemHandle]>;
};

export class OpfsStorage implements RunStorage {
  readonly #open = new Map<string, SyncHandle>();

  private constructor(private readonly root: FolderEntry) {}

  /** @throws Error if the browser has no such file system, as in some private windows */
  static async open(folder: string): Promise<OpfsStorage> {
    const top = await navigator.storage.getDirectory();
    return new OpfsStorage((await top.getDirectoryHandle(folder, { create: true })) as FolderEntry);
  }

  async list(path: string): Promise<StoredEntry[]> {
    const folder = await this.#folder(path).catch(unlessMissing);
    if (!folder) return [];
    const entries: StoredEntry[] = [];
    for await (const [name, handle] of folder.entries()) {
      if (handle.kind === 'directory') entries.push({ name });
      else {
        const inside = path === '' ? name : `${path}/${name}`;
        const open = this.#open.get(inside);
        const bytes = open?.getSize() ?? (await (handle as FileEntry).getFile()).size;
        entries.push({ name, bytes });
      }
    }
    return entries;
  }

  async read(path: string, from = 0, to?: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    this.#open.get(path)?.flush();
    const entry = await this.#file(path).catch(unlessMissing);
    if (!entry) return undefined;
    const file = await entry.getFile();
    return new Uint8Array(await file.slice(from, to).arrayBuffer());
  }

  async append(path: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    let handle = this.#open.get(path);
    if (!handle) {
      handle = await this.#lock(path);
      this.#open.set(path, handle);
    }
    const size = handle.getSize();
    try {
      put(path, handle, size, bytes);
    } catch (error) {
      handle.truncate(size);
      throw error;
    }
  }

  async flush(path: string): Promise<void> {
    this.#open.get(path)?.flush();
  }

  async write(path: string, chunks: readonly Uint8Array<ArrayBuffer>[]): Promise<void> {
    await this.close(path);
    const handle = await this.#lock(aside(path));
    try {
      handle.truncate(0);
      let at = 0;
      for (const chunk of chunks) {
        for (let from = 0; from < chunk.length; from += WRITE_BYTES) {
          const piece = chunk.subarray(from, from + WRITE_BYTES);
          put(path, handle, at, piece);
          at += piece.length;
          await nextTask();
        }
      }
      handle.flush();
    } catch (error) {
      // Gives the room back.
      handle.truncate(0);
      throw error;
    } finally {
      handle.close();
    }
    const entry = await this.#file(aside(path));
    const name = path.slice(path.lastIndexOf('/') + 1);
    if (entry.move) await entry.move(name);
    else await this.#copy(path, entry);
  }

  async remove(path: string): Promise<void> {
    await this.close(path);
    const slash = path.lastIndexOf('/');
    const folder = await this.#folder(path.slice(0, Math.max(0, slash))).catch(unlessMissing);
    await folder?.removeEntry(path.slice(slash + 1), { recursive: true }).catch(unlessMissing);
  }

  async close(folder: string): Promise<void> {
    for (const [path, handle] of this.#open) {
      if (path !== folder && !path.startsWith(`${folder}/`)) continue;
      this.#open.delete(path);
      handle.close();
    }
  }

  /** For a browser that cannot rename. A checksum then tells whether a file is whole. */
  async #copy(path: string, from: FileEntry): Promise<void> {
    const handle = await this.#lock(path);
    try {
      const bytes = new Uint8Array(await (await from.getFile()).arrayBuffer());
      handle.truncate(0);
      put(path, handle, 0, bytes);
      handle.flush();
    } finally {
      handle.close();
    }
    await this.remove(aside(path));
  }

  /** Opens a file, which is created if need be, for this tab alone. @throws StorageError */
  async #lock(path: string): Promise<SyncHandle> {
    try {
      return await (await this.#file(path, true)).createSyncAccessHandle();
    } catch (error) {
      if (isFull(error)) throw full(path, 0, error);
      if ((error as Error).name !== 'NoModificationAllowedError') throw error;
      const message = `Another tab of this page has ${path} open.`;
      throw new StorageError('busy', message, { cause: error });
    }
  }

  async #folder(path: string, create = false): Promise<FolderEntry> {
    let folder: FolderEntry = this.root;
    for (const name of path === '' ? [] : path.split('/'))
      folder = (await folder.getDirectoryHandle(name, { create })) as FolderEntry;
    return folder;
  }

  async #file(path: string, create = false): Promise<FileEntry> {
    const slash = path.lastIndexOf('/');
    const folder = await this.#folder(path.slice(0, Math.max(0, slash)), create);
    return (await folder.getFileHandle(path.slice(slash + 1), { create })) as FileEntry;
  }
}

/** Writes all of it or throws. */
function put(path: string, handle: SyncHandle, at: number, bytes: Uint8Array<ArrayBuffer>): void {
  let written = 0;
  try {
    written = handle.write(bytes, { at });
  } catch (error) {
    if (!isFull(error)) throw error;
  }
  if (written !== bytes.length) throw full(path, bytes.length);
}

const isFull = (error: unknown) => (error as Error).name === 'QuotaExceededError';

const full = (path: string, bytes: number, cause?: unknown) =>
  new StorageError(
    'full',
    `The browser’s storage for this page is full: ` +
      (bytes > 0
        ? `${path} needs ${bytes.toLocaleString('en')} bytes more.`
        : `no room for ${path}.`),
    { cause },
  );

function unlessMissing(error: Error): undefined {
  if (error.name !== 'NotFoundError') throw error;
}
