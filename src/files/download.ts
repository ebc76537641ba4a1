// Fetches a model's files whole, with progress, and says plainly what is wrong when a file does not
// arrive. Also home of ModelFileError, which every reader of a model's files throws.

/**
 * A model's file could not be had, or is not what it should be. The message names the file and what
 * to do next.
 */
export class ModelFileError extends Error {
  override name = 'ModelFileError';
  constructor(
    /** `network`: trying again may help. `model`: the file itself is wrong. */
    readonly kind: 'network' | 'model',
    message: string,
    options?: ErrorOptions & { missing?: boolean },
  ) {
    super(message, options);
    this.missing = options?.missing ?? false;
  }

  /** There is no such file, which a folder may be allowed. */
  readonly missing: boolean;
}

export interface DownloadOptions {
  /**
   * Bytes so far; `total` is undefined where neither the caller nor the server says it. Called for
   * each piece.
   */
  onProgress?: (loaded: number, total: number | undefined) => void;
  signal?: AbortSignal;
  /**
   * The file's exact size, where it is known from elsewhere. Stronger than what the server says.
   */
  expectedBytes?: number;
}

/**
 * The bytes of the file at `url`.
 * @throws ModelFileError if there is no such file, a web page in its place, no connection, or less
 * of it than promised
 * @throws the signal's reason if it was aborted
 */
export async function download(
  url: string | URL,
  options: DownloadOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const { onProgress, signal, expectedBytes } = options;
  const name = fileName(url);
  let response: Response;
  try {
    response = await fetch(url, { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw new ModelFileError(
      'network',
      `${name} could not be fetched: ${text(error)}. Check the connection, then try again.`,
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
  // Another origin's Content-Encoding is hidden from us, so its Content-Length only serves to show
  // progress; there, as everywhere, the browser itself fails a response that breaks off.
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
    }
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
  if (total !== undefined && loaded < total) {
    throw new ModelFileError('network', `${lengthOf(name, loaded, total)}. Try again.`);
  }
  if (expectedBytes !== undefined && loaded > expectedBytes) {
    throw new ModelFileError(
      'model',
      `${name} is ${count(loaded)} bytes long, expected ${count(expectedBytes)}: another version. Reload the page.`,
    );
  }
  const bytes = new Uint8Array(loaded);
  let offset = 0;
  for (const piece of pieces) {
    bytes.set(piece, offset);
    offset += piece.length;
  }
  // Some servers answer a missing file with their start page and call it octets.
  if (isWebPage(bytes)) throw webPage(name);
  return bytes;
}

/** Whether a file begins as a web page does, whatever its server calls it. */
export function isWebPage(bytes: Uint8Array): boolean {
  return /^\s*<(!doctype html|html)/i.test(new TextDecoder().decode(bytes.subarray(0, 64)));
}

/**
 * `download`, parsed as JSON. @throws ModelFileError as download does, and if the text is not JSON.
 */
export async function downloadJson(url: string | URL, options?: DownloadOptions): Promise<unknown> {
  const bytes = await download(url, options);
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new ModelFileError(
      'model',
      `${fileName(url)} is not JSON: ${text(error)}. Use the model's own file.`,
      {
        cause: error,
      },
    );
  }
}

/**
 * The length that the server promised, if that counts the bytes we get: Content-Length counts
 * compressed ones.
 */
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

export function notServed(name: string, { status, statusText }: Response): ModelFileError {
  if (status === 404 || status === 410) {
    return new ModelFileError(
      'model',
      `${name} does not exist on the server (HTTP ${status}). Check the model's name and its files.`,
      { missing: true },
    );
  }
  const said = `HTTP ${status}${statusText && ` ${statusText}`}`;
  if (status === 401 || status === 403) {
    return new ModelFileError(
      'model',
      `${name} is not open to everyone (${said}). Choose a model that needs no account.`,
    );
  }
  return new ModelFileError(
    'network',
    `${name} could not be fetched: the server answered ${said}. Try again later.`,
  );
}

export function webPage(name: string): ModelFileError {
  return new ModelFileError(
    'model',
    `${name} is a web page, not the file. The server has no such file; check the model's address.`,
    { missing: true },
  );
}

export function lengthOf(name: string, loaded: number, total: number | undefined): string {
  if (total === undefined) return `${name} broke off after ${count(loaded)} bytes`;
  // Megabytes where they tell the two lengths apart.
  const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1);
  return total >= 1e6 && megabytes(loaded) !== megabytes(total)
    ? `${name} is ${megabytes(loaded)} of ${megabytes(total)} MB long`
    : `${name} is ${count(loaded)} of ${count(total)} bytes long`;
}

/** The last two parts of the path: enough to tell onnx/model.onnx from its neighbours. */
function fileName(url: string | URL): string {
  return String(url).split(/[?#]/)[0].split('/').filter(Boolean).slice(-2).join('/');
}

/** 1234567 as 1,234,567. */
export function count(number: number | bigint): string {
  return number.toLocaleString('en-US');
}

export function text(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.replace(/\.$/, '');
}
