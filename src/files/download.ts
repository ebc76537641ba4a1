// Downloads whole files with progress, and explains what is wrong when a file does not arrive. Also
// defines ModelFileError, which every reader of model files throws.

import { excerpt } from '../quote';

/** A model's file is unavailable or wrong. The message names the file and says what to do next. */
export class ModelFileError extends Error {
  override name = 'ModelFileError';
  constructor(
    /** `network`: trying again may help. `model`: it will not. */
    readonly kind: 'network' | 'model',
    message: string,
    options?: ErrorOptions & { missing?: boolean; retryAfter?: number },
  ) {
    super(message, options);
    this.missing = options?.missing ?? false;
    this.retryAfter = options?.retryAfter;
  }

  /** Seconds that the server asks to wait. */
  readonly retryAfter: number | undefined;

  /** True if there is no such file, which is fine for optional files of a folder. */
  readonly missing: boolean;
}

export interface DownloadOptions {
  /** Called for each piece. `total` is undefined if neither caller nor server knows it. */
  onProgress?: (loaded: number, total: number | undefined) => void;
  signal?: AbortSignal;
  /** The file's exact size, if known. Overrides what the server says. */
  expectedBytes?: number;
  /** More bytes are refused. */
  most?: number;
}

/**
 * Downloads the file at `url`.
 * @throws ModelFileError if it is missing, incomplete or a web page, or if the connection fails
 * @throws the signal's reason if it is aborted
 */
export async function download(
  url: string | URL,
  options: DownloadOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const { onProgress, signal, expectedBytes, most = Number.POSITIVE_INFINITY } = options;
  const name = fileName(url);
  let response: Response;
  try {
    response = await fetch(url, { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw new ModelFileError(
      'network',
      `${name} could not be downloaded: ${text(error)}. Check the connection, then try again.`,
      {
        cause: error,
      },
    );
  }
  if (!response.ok) {
    await response.body?.cancel();
    throw notServed(name, response);
  }
  if (/^\s*text\/html/i.test(response.headers.get('content-type') ?? '')) {
    await response.body?.cancel();
    throw webPage(name);
  }

  const promised = promisedBytes(response);
  // Another origin's Content-Encoding is hidden from us, so its Content-Length may be that of the
  // compressed file: good enough for progress, not for a check. The browser itself reports a
  // connection that breaks.
  const total = expectedBytes ?? (response.type === 'cors' ? undefined : promised);
  const progress = () =>
    onProgress?.(loaded, total ?? (promised && promised >= loaded ? promised : undefined));
  let loaded = 0;
  const pieces: Uint8Array[] = [];
  progress();
  try {
    const reader = response.body?.getReader();
    for (let piece = await reader?.read(); piece && !piece.done; piece = await reader?.read()) {
      pieces.push(piece.value);
      loaded += piece.value.length;
      progress();
      if (loaded > most) break;
    }
    if (loaded > most) await reader?.cancel();
  } catch (error) {
    signal?.throwIfAborted();
    throw new ModelFileError(
      'network',
      `${lengthOf(name, loaded, total)}: ${text(error)}. Try again.`,
      {
        cause: error,
      },
    );
  }
  if (loaded > most)
    throw new ModelFileError(
      'model',
      `${name} has more than ${count(most)} bytes. Try again later.`,
    );
  if (total !== undefined && loaded < total) {
    throw new ModelFileError('network', `${lengthOf(name, loaded, total)}. Try again.`);
  }
  if (expectedBytes !== undefined && loaded > expectedBytes) {
    throw new ModelFileError(
      'model',
      `${name} has ${count(loaded)} bytes, but ${count(expectedBytes)} were expected: ` +
        'it is another version. Reload the page.',
    );
  }
  const bytes = new Uint8Array(loaded);
  let offset = 0;
  for (const piece of pieces) {
    bytes.set(piece, offset);
    offset += piece.length;
  }
  // Some servers answer a request for a missing file with their start page, labelled as bytes.
  if (isWebPage(bytes)) throw webPage(name);
  return bytes;
}

/** Whether a file starts like a web page, whatever content type its server gives. */
export function isWebPage(bytes: Uint8Array): boolean {
  return /^\s*<(!doctype html|html)/i.test(new TextDecoder().decode(bytes.subarray(0, 64)));
}

/** `download`, parsed as JSON. @throws ModelFileError as `download` does, and if it is not JSON */
export async function downloadJson(url: string | URL, options?: DownloadOptions): Promise<unknown> {
  const bytes = await download(url, options);
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new ModelFileError(
      'model',
      `${fileName(url)} is not JSON: ${text(error)}. Use the model's original file.`,
      {
        cause: error,
      },
    );
  }
}

/** Content-Length, unless the response is compressed: it then counts the compressed bytes. */
export function promisedBytes(response: Response): number | undefined {
  if (
    !['', 'identity'].includes(
      (response.headers.get('content-encoding') ?? '').trim().toLowerCase(),
    )
  )
    return undefined;
  const header = response.headers.get('content-length') ?? '';
  return /^\d+$/.test(header) ? Number(header) : undefined;
}

export function notServed(name: string, { status, statusText, headers }: Response): ModelFileError {
  if (status === 404 || status === 410) {
    return new ModelFileError(
      'model',
      `${name} does not exist on the server (HTTP ${status}). Check the model's name and files.`,
      { missing: true },
    );
  }
  const reason = `HTTP ${status}${statusText && ` ${statusText}`}`;
  if (status === 401 || status === 403) {
    return new ModelFileError(
      'model',
      `${name} is not public (${reason}). Choose a model that needs no account.`,
    );
  }
  const retryAfter = secondsToWait(headers.get('retry-after') ?? '');
  const later = retryAfter ? `in ${count(retryAfter)} s, as it asks` : 'later';
  return new ModelFileError(
    'network',
    `${name} could not be downloaded: the server answered ${reason}. Try again ${later}.`,
    { retryAfter },
  );
}

/** Of a Retry-After header, which has seconds or a date. */
function secondsToWait(header: string): number | undefined {
  const seconds = /^\d{1,9}$/.test(header)
    ? Number(header)
    : Math.ceil((Date.parse(header) - Date.now()) / 1000);
  return seconds > 0 ? seconds : undefined;
}

export function webPage(name: string): ModelFileError {
  return new ModelFileError(
    'model',
    `${name} is a web page: the server has no such file. Check the model's address.`,
    { missing: true },
  );
}

export function lengthOf(name: string, loaded: number, total: number | undefined): string {
  if (total === undefined) return `${name} stopped after ${count(loaded)} bytes`;
  // In megabytes, unless that makes the two lengths look the same.
  const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1);
  return total >= 1e6 && megabytes(loaded) !== megabytes(total)
    ? `${name} is incomplete (${megabytes(loaded)} of ${megabytes(total)} MB)`
    : `${name} is incomplete (${count(loaded)} of ${count(total)} bytes)`;
}

/** The last two parts of the path, such as onnx/model.onnx. */
function fileName(url: string | URL): string {
  return String(url).split(/[?#]/)[0].split('/').filter(Boolean).slice(-2).join('/');
}

/** 1234567 becomes 1,234,567. */
export function count(number: number | bigint): string {
  return number.toLocaleString('en-US');
}

/** An error's message without its full stop, to go inside a sentence. It may quote a file. */
export function text(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return excerpt(message.replace(/\.$/, ''), 200);
}
