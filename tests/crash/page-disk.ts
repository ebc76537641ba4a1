// The browser's private file system on a disk that can be cut off, as far as the page uses it. It
// renames files, and has no way to flush a folder.

import type { Disk, Problem } from './disk';

const NAMES: Partial<Record<Problem, string>> = { ENOENT: 'NotFoundError' };

/** Errors have the names that browsers give them. */
function browserly<Value>(call: () => Value): Value {
  try {
    return call();
  } catch (error) {
    const { code } = error as { code?: Problem };
    const name = code && NAMES[code];
    throw name ? Object.assign(new Error((error as Error).message), { name }) : error;
  }
}

const join = (folder: string, name: string) => (folder === '' ? name : `${folder}/${name}`);

class FileEntry {
  readonly kind = 'file';

  constructor(
    private readonly disk: Disk,
    private path: string,
  ) {}

  async getFile() {
    return browserly(() => new Blob([this.disk.open(this.path, false).read()]));
  }

  async move(name: string) {
    const to = join(this.path.split('/').slice(0, -1).join('/'), name);
    browserly(() => this.disk.rename(this.path, to));
    this.path = to;
  }

  async createSyncAccessHandle() {
    const file = browserly(() => this.disk.open(this.path, false));
    return {
      getSize: () => file.size,
      read(into: Uint8Array, { at }: { at: number }) {
        const bytes = file.read(at, at + into.length);
        into.set(bytes);
        return bytes.length;
      },
      write(bytes: Uint8Array, { at }: { at: number }) {
        file.write(at, bytes);
        return bytes.length;
      },
      truncate: (size: number) => file.truncate(size),
      flush: () => file.flush(),
      close() {},
    };
  }
}

class FolderEntry {
  readonly kind = 'directory';

  constructor(
    private readonly disk: Disk,
    private readonly path: string,
  ) {}

  async getDirectoryHandle(name: string, { create = false } = {}) {
    const path = join(this.path, name);
    browserly(() =>
      create && !this.disk.exists(path) ? this.disk.makeFolder(path) : this.disk.list(path),
    );
    return new FolderEntry(this.disk, path);
  }

  async getFileHandle(name: string, { create = false } = {}) {
    const path = join(this.path, name);
    browserly(() => this.disk.open(path, create));
    return new FileEntry(this.disk, path);
  }

  async removeEntry(name: string) {
    browserly(() => this.disk.remove(join(this.path, name)));
  }

  async *entries() {
    for (const { name, isFolder } of browserly(() => this.disk.list(this.path))) {
      const path = join(this.path, name);
      yield [name, isFolder ? new FolderEntry(this.disk, path) : new FileEntry(this.disk, path)];
    }
  }
}

/** `navigator.storage` of a page that opens now sees this disk. */
export function usePageDisk(disk: Disk): void {
  const storage = {
    getDirectory: async () => new FolderEntry(disk, ''),
    estimate: async () => ({ quota: 2 ** 30, usage: 0 }),
  };
  Object.defineProperty(globalThis, 'navigator', { value: { storage }, configurable: true });
}
