// The browser's private file system in memory, of limited size, which can be taken away while the
// page works.

type Folder = Map<string, Folder | Stored>;
interface Stored {
  bytes: Uint8Array<ArrayBuffer>;
  open: boolean;
}

const isFolder = (entry: Folder | Stored): entry is Folder => entry instanceof Map;
const missing = (name: string) => new DOMException(`${name} was not found`, 'NotFoundError');

export class MemoryOpfs {
  /** Bytes that fit. */
  quota = Number.POSITIVE_INFINITY;
  /** The person, or the browser, has cleared the page's data: what was open is gone, too. */
  gone = false;
  readonly #root: Folder = new Map();

  getDirectory = async () => {
    this.#require();
    return this.#folder('', this.#root);
  };
  estimate = async () => ({ quota: Math.min(this.quota, 2 ** 40), usage: this.#used(this.#root) });
  persisted = async () => false;
  persist = async () => false;

  /** Another tab opens a file of the top folder, and keeps it. */
  holdElsewhere(name: string): () => void {
    const file: Stored = { bytes: new Uint8Array(), open: true };
    this.#root.set(name, file);
    return () => this.#root.delete(name);
  }

  /** Removes a file of the top folder. */
  remove(name: string): void {
    this.#root.delete(name);
  }

  #require(): void {
    if (this.gone) throw new DOMException('The storage was cleared.', 'InvalidStateError');
  }

  #used(folder: Folder): number {
    return [...folder.values()].reduce(
      (sum, entry) => sum + (isFolder(entry) ? this.#used(entry) : entry.bytes.length),
      0,
    );
  }

  #folder(name: string, folder: Folder): object {
    const get = async (child: string, create: boolean | undefined, made: () => Folder | Stored) => {
      this.#require();
      const entry = folder.get(child) ?? (create ? made() : undefined);
      if (!entry) throw missing(child);
      folder.set(child, entry);
      return entry;
    };
    return {
      kind: 'directory',
      name,
      getDirectoryHandle: async (child: string, { create }: { create?: boolean } = {}) =>
        this.#folder(child, (await get(child, create, () => new Map())) as Folder),
      getFileHandle: async (child: string, { create }: { create?: boolean } = {}) => {
        await get(child, create, () => ({ bytes: new Uint8Array(), open: false }));
        return this.#file(child, folder);
      },
      removeEntry: async (child: string) => {
        this.#require();
        if (!folder.delete(child)) throw missing(child);
      },
      entries: async function* (this: MemoryOpfs) {
        this.#require();
        for (const [child, entry] of [...folder])
          yield [child, isFolder(entry) ? this.#folder(child, entry) : this.#file(child, folder)];
      }.bind(this),
    };
  }

  #file(name: string, folder: Folder): object {
    const stored = () => {
      this.#require();
      const entry = folder.get(name);
      if (!entry || isFolder(entry)) throw missing(name);
      return entry;
    };
    return {
      kind: 'file',
      name,
      getFile: async () => new Blob([stored().bytes]),
      createSyncAccessHandle: async () => this.#handle(stored()),
      move: async (to: string) => {
        folder.set(to, stored());
        folder.delete(name);
      },
    };
  }

  #handle(file: Stored): object {
    if (file.open) throw new DOMException('Another handle is open.', 'NoModificationAllowedError');
    file.open = true;
    return {
      getSize: () => file.bytes.length,
      read: (into: Uint8Array, { at }: { at: number }) => {
        this.#require();
        const part = file.bytes.subarray(at, at + into.length);
        into.set(part);
        return part.length;
      },
      write: (bytes: Uint8Array, { at }: { at: number }) => {
        this.#require();
        const more = Math.max(0, at + bytes.length - file.bytes.length);
        if (this.#used(this.#root) + more > this.quota)
          throw new DOMException('No space.', 'QuotaExceededError');
        if (more > 0) {
          const grown = new Uint8Array(at + bytes.length);
          grown.set(file.bytes);
          file.bytes = grown;
        }
        file.bytes.set(bytes, at);
        return bytes.length;
      },
      truncate: (size: number) => {
        this.#require();
        file.bytes = file.bytes.slice(0, size);
      },
      flush: () => this.#require(),
      close: () => {
        file.open = false;
      },
    };
  }
}
