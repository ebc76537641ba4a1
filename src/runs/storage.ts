// Where runs are kept: a few folders of files, behind an interface that a file system, the
// browser's private storage and plain memory can all offer.

/** A file, or a folder (`bytes` is then undefined), by its name. */
export interface StoredEntry {
  name: string;
  bytes?: number;
}

/**
 * Paths are names joined by "/". A file either grows (`append`) or is replaced as a whole
 * (`write`). What a power cut may take is what was appended since the last `flush`.
 */
export interface RunStorage {
  /** What a folder contains, in no order; nothing if there is no such folder. '' is the root. */
  list(folder: string): Promise<StoredEntry[]>;
  /**
   * Bytes [from, to) of a file, or as many of them as there are; undefined if there is no file.
   */
  read(path: string, from?: number, to?: number): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /**
   * Adds to the end of a file, and creates it. If it throws, nothing was added.
   * @throws StorageError
   */
  append(path: string, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** Makes durable what was appended. */
  flush(path: string): Promise<void>;
  /** Replaces a file, durably, as a whole or not at all. @throws StorageError */
  write(path: string, chunks: readonly Uint8Array<ArrayBuffer>[]): Promise<void>;
  /** Removes a file, or a folder with all that is in it. Nothing happens if there is none. */
  remove(path: string): Promise<void>;
  /** Lets go of a file, or of a folder's files, which appending keeps open. */
  close(path: string): Promise<void>;
}

/** full: no room. busy: another tab has the file open. */
export class StorageError extends Error {
  override name = 'StorageError';
  constructor(
    readonly kind: 'full' | 'busy',
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** What `write` calls a file until it is complete. Such a file is the rest of an interruption. */
export const aside = (path: string) => `${path}.new`;

/** The path of a file in a folder; '' is the root. */
export const inFolder = (folder: string, name: string) =>
  folder === '' ? name : `${folder}/${name}`;
