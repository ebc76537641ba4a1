// The interface to a model folder: whole files and ranges of files, by name. http.ts implements it
// over HTTP. Here are the files that a user dropped on the page, and any folder that supports range
// reads, such as one on disk in Node.

import { count, ModelFileError, text } from './download';

export interface ModelSource {
  /** What messages call the model, e.g. "openai-community/gpt2@main". */
  readonly label: string;
  has(file: string): Promise<boolean>;
  /** The file's length in bytes. @throws ModelFileError if it is missing or its length unknown */
  size(file: string): Promise<number>;
  /** The bytes in [from, to). @throws ModelFileError if the file ends before `to` */
  range(file: string, from: number, to: number): Promise<Uint8Array<ArrayBuffer>>;
  /**
   * The whole file.
   * @param most bytes; by default those of the longest text
   * @throws ModelFileError if it has more, before they are read
   */
  read(file: string, most?: number): Promise<Uint8Array<ArrayBuffer>>;
  /** The commit that the hub has served, once a file was read; unknown elsewhere. */
  revision?(): string | undefined;
  /**
   * Holds a file of which parts were read against what the server says of its contents; for that,
   * the rest is read. Where the server says nothing, nothing happens.
   * @throws ModelFileError
   */
  verify?(file: string): Promise<void>;
  /** The same model with its weights converted to safetensors, if that exists. */
  converted?(): Promise<ModelSource | undefined>;
  /** Closes connections. A later read opens them again. */
  close(): void;
}

/** Bytes of the longest text that is read. The longest known, a tokenizer.json, has 35 million. */
export const MOST_TEXT = 2 ** 26;

/** Bytes read of a file so far, and their total if known. */
export type Progress = (file: string, loaded: number, total: number | undefined) => void;

/** Reads a folder's files. `size` is undefined for a missing file. */
export interface Folder {
  size(file: string): Promise<number | undefined>;
  range(file: string, from: number, to: number): Promise<Uint8Array<ArrayBuffer>>;
}

/** A folder on this machine. */
export function folderSource(
  label: string,
  folder: Folder,
  onProgress?: Progress,
  signal?: AbortSignal,
): ModelSource {
  const size = async (file: string) => {
    const bytes = await folder.size(file);
    if (bytes !== undefined) return bytes;
    const message = `${file} is not in ${label}. Choose a folder with all of the model's files.`;
    throw new ModelFileError('model', message, { missing: true });
  };
  const range = async (file: string, from: number, to: number) => {
    signal?.throwIfAborted();
    const total = await size(file);
    if (to > total) throw endsBefore(`${file} of ${label}`, total, to);
    const bytes = await folder.range(file, from, to);
    onProgress?.(file, to, total);
    return bytes;
  };
  return {
    label,
    size,
    range,
    has: async (file) => (await folder.size(file)) !== undefined,
    async read(file, most = MOST_TEXT) {
      const total = await size(file);
      if (total > most) throw tooLong(`${file} of ${label}`, total, most);
      return range(file, 0, total);
    },
    close: () => {},
  };
}

/** Files by path in the model's folder, such as "onnx/model.onnx". They are read when needed. */
export function filesSource(
  files: ReadonlyMap<string, Blob>,
  onProgress?: Progress,
  signal?: AbortSignal,
): ModelSource {
  const folder: Folder = {
    size: async (file) => files.get(file)?.size,
    async range(file, from, to) {
      try {
        return new Uint8Array(await (files.get(file) as Blob).slice(from, to).arrayBuffer());
      } catch (error) {
        // The file was deleted or changed after it was dropped.
        const what = `${file} can no longer be read: ${(error as Error).message}`;
        throw new ModelFileError('model', `${what} Drop the files again.`, { cause: error });
      }
    },
  };
  return folderSource('the dropped files', folder, onProgress, signal);
}

/** Reads and parses a JSON file. @throws ModelFileError if it is missing or not JSON */
export async function readJson(source: ModelSource, file: string): Promise<unknown> {
  const bytes = await source.read(file);
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    const what = `${file} of ${source.label} is not JSON: ${text(error)}`;
    throw new ModelFileError('model', `${what}. Use the model's original file.`, { cause: error });
  }
}

/** @param total undefined while it is only known to be more than `most` */
export function tooLong(name: string, total: number | undefined, most: number): ModelFileError {
  const has = total === undefined ? `more than ${count(most)}` : `${count(total)}`;
  const limit = total === undefined ? '' : `, and at most ${count(most)} are read`;
  return new ModelFileError(
    'model',
    `${name} has ${has} bytes${limit}: it is not what its name says, or an attack. ` +
      "Use the model's original file.",
  );
}

export function endsBefore(name: string, total: number, to: number): ModelFileError {
  return new ModelFileError(
    'model',
    `${name} has ${count(total)} bytes, but at least ${count(to)} are needed: it is incomplete. ` +
      'Download it again.',
  );
}
