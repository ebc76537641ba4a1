// A model folder, wherever it lies: whole files and ranges of files by name. Behind HTTP it is
// http.ts; here are files that somebody dropped on the page, and any folder that can be read in
// parts, such as Node's.

import { count, ModelFileError } from './download';

export interface ModelSource {
  /** What messages call the model, e.g. "openai-community/gpt2@main". */
  readonly label: string;
  has(file: string): Promise<boolean>;
  /**
   * Bytes of the file. @throws ModelFileError if there is no such file, or nobody knows its length
   */
  size(file: string): Promise<number>;
  /**
   * The bytes from `from` up to but not including `to`. @throws ModelFileError if they are not all
   * there
   */
  range(file: string, from: number, to: number): Promise<Uint8Array<ArrayBuffer>>;
  /** The whole file. */
  read(file: string): Promise<Uint8Array<ArrayBuffer>>;
  /** The same model with its weights as safetensors, where somebody offers it so. */
  converted?(): Promise<ModelSource | undefined>;
  /** Ends what is open. What is asked for later opens it again. */
  close(): void;
}

/** Bytes that have come so far, of how many; for the file that is being read. */
export type Progress = (file: string, loaded: number, total: number | undefined) => void;

/** How a folder's files are read: `undefined` for a file that is not there. */
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
    const missing = `${file} is not in ${label}. Choose a folder with all of the model's files.`;
    throw new ModelFileError('model', missing, { missing: true });
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
    read: async (file) => range(file, 0, await size(file)),
    close: () => {},
  };
}

/**
 * Files by their path in the model's folder, such as "onnx/model.onnx". Nothing is read before it
 * is asked for.
 */
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
        // Deleted or written to since it was dropped.
        const what = `${file} cannot be read any more: ${(error as Error).message}`;
        throw new ModelFileError('model', `${what} Drop the files again.`, { cause: error });
      }
    },
  };
  return folderSource('the dropped files', folder, onProgress, signal);
}

/** JSON of a source. @throws ModelFileError if the file is not there or not JSON */
export async function readJson(source: ModelSource, file: string): Promise<unknown> {
  const bytes = await source.read(file);
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    const what = `${file} of ${source.label} is not JSON: ${(error as Error).message}`;
    throw new ModelFileError('model', `${what}. Use the model's own file.`, { cause: error });
  }
}

export function endsBefore(name: string, total: number, to: number): ModelFileError {
  return new ModelFileError(
    'model',
    `${name} is ${count(total)} of at least ${count(to)} bytes long: it is cut short. Download it again.`,
  );
}
