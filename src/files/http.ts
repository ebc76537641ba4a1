// A model folder behind HTTP. A file is read as one stream, from the first byte that is needed. A
// broken stream is resumed where it stopped. Data is cached in blocks, so that loading again
// downloads only what is missing.

import {
  count,
  isWebPage,
  lengthOf,
  ModelFileError,
  notServed,
  promisedBytes,
  text,
  webPage,
} from './download';
import { endsBefore, type ModelSource, type Progress } from './source';

/**
 * Bytes per block: large enough for few cache entries, small enough that a broken connection loses
 * little.
 */
const BLOCK = 2 ** 21;
/** Tries in a row without a single new byte before giving up on a file. */
const ATTEMPTS = 5;
const FIRST_PAUSE_MILLISECONDS = 400;
/** A server that sends nothing for this long is considered gone. */
const STALL_MILLISECONDS = 30_000;

/**
 * Keeps blocks from one visit to the next. It may forget any block at any time; it never throws.
 */
export interface BlockCache {
  get(key: string): Promise<Uint8Array<ArrayBuffer> | undefined>;
  put(key: string, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
}

export interface HttpOptions {
  label: string;
  /** The URL of a file in the folder. */
  address(file: string): string;
  cache?: BlockCache;
  onProgress?: Progress;
  /** Once aborted, reading throws its reason. */
  signal?: AbortSignal;
  /** Milliseconds before the second try; doubles with each further try. */
  pause?: number;
  /** Milliseconds of silence that count as a broken connection. */
  stall?: number;
}

/** The URLs of a model's files on the hub. `revision`: a branch, tag or commit. */
export function hubAddress(model: string, revision = 'main', host = 'https://huggingface.co') {
  const path = (name: string) => name.split('/').map(encodeURIComponent).join('/');
  return (file: string) =>
    `${host}/${path(model)}/resolve/${encodeURIComponent(revision)}/${path(file)}`;
}

export function httpSource(options: HttpOptions): ModelSource {
  const files = new Map<string, HttpFile>();
  let revision: string | undefined;
  const onRevision = (commit: string) => {
    revision = commit;
  };
  const open = (file: string) => {
    const opened = files.get(file) ?? new HttpFile(file, options, onRevision);
    files.set(file, opened);
    return opened;
  };
  return {
    label: options.label,
    revision: () => revision,
    size: (file) => open(file).size(),
    range: (file, from, to) => open(file).range(from, to),
    read: (file) => open(file).read(),
    async has(file) {
      try {
        await open(file).facts();
        return true;
      } catch (error) {
        if (error instanceof ModelFileError && error.missing) return false;
        throw error;
      }
    },
    close: () => {
      for (const file of files.values()) file.close();
    },
  };
}

interface Facts {
  /** Undefined if the server does not say. */
  size?: number;
  /** The ETag; empty if the server has none or does not expose it. */
  tag: string;
}

interface Stream {
  read(): Promise<ReadableStreamReadResult<Uint8Array>>;
  /** Position in the file of the next byte. */
  position: number;
  /** Received from the connection, but not yet consumed. */
  left: Uint8Array;
  end(): void;
}

class HttpFile {
  readonly #name: string;
  #facts: Facts | undefined;
  #stream: Stream | undefined;
  /** The last block read: neighbouring tensors share blocks. */
  #block: { index: number; bytes: Uint8Array<ArrayBuffer> } | undefined;

  constructor(
    private readonly file: string,
    private readonly options: HttpOptions,
    private readonly onRevision: (commit: string) => void,
  ) {
    this.#name = `${file} of ${options.label}`;
  }

  async facts(): Promise<Facts> {
    if (!this.#facts) await this.#retry(0, () => this.#open(0));
    return this.#facts as Facts;
  }

  async size(): Promise<number> {
    const { size } = await this.facts();
    if (size !== undefined) return size;
    throw new ModelFileError(
      'model',
      `${this.#name}: the server does not give its length, so it cannot be read in ranges. ` +
        "Drop the model's files on the page instead.",
    );
  }

  async range(from: number, to: number): Promise<Uint8Array<ArrayBuffer>> {
    const size = await this.size();
    if (to > size) throw endsBefore(this.#name, size, to);
    const bytes = new Uint8Array(to - from);
    for (let at = from; at < to; ) {
      const index = Math.floor(at / BLOCK);
      const block = await this.#blockAt(index, size);
      const part = block.subarray(at - index * BLOCK, Math.min(to - index * BLOCK, block.length));
      bytes.set(part, at - from);
      at += part.length;
    }
    return bytes;
  }

  async read(): Promise<Uint8Array<ArrayBuffer>> {
    const { size } = await this.facts();
    if (size !== undefined) return this.range(0, size);
    // Without a length, a complete file looks like a cut one, and there is nothing to resume.
    const pieces: Uint8Array[] = [];
    if (this.#stream?.position !== 0) await this.#retry(0, () => this.#open(0));
    for (let piece = await this.#next(); piece; piece = await this.#next()) pieces.push(piece);
    this.close();
    return new Uint8Array(await new Blob(pieces as Uint8Array<ArrayBuffer>[]).arrayBuffer());
  }

  close(): void {
    this.#stream?.end();
    this.#stream = undefined;
  }

  async #blockAt(index: number, size: number): Promise<Uint8Array<ArrayBuffer>> {
    if (this.#block?.index === index) return this.#block.bytes;
    const { cache, onProgress, signal } = this.options;
    signal?.throwIfAborted();
    const [from, to] = [index * BLOCK, Math.min((index + 1) * BLOCK, size)];
    const key = [this.options.address(this.file), this.#facts?.tag, size, from].join(' ');
    let bytes = await cache?.get(key);
    if (bytes?.length !== to - from) {
      bytes = await this.#fetch(from, to);
      await cache?.put(key, bytes);
    }
    onProgress?.(this.file, to, size);
    this.#block = { index, bytes };
    return bytes;
  }

  async #fetch(from: number, to: number): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(to - from);
    let filled = 0;
    while (filled < bytes.length) {
      await this.#retry(from + filled, async () => {
        if (this.#stream?.position !== from + filled) await this.#open(from + filled);
        const piece = await this.#next(bytes.length - filled);
        if (!piece) throw new Error('the connection ended');
        bytes.set(piece, filled);
        filled += piece.length;
      });
      this.options.onProgress?.(this.file, from + filled, this.#facts?.size);
    }
    if (from === 0 && isWebPage(bytes)) throw webPage(this.#name);
    // Read to its very end: a stream that is left one step before counts as broken off.
    if (to === this.#facts?.size) {
      await this.#stream?.read().catch(() => undefined);
      this.close();
    }
    return bytes;
  }

  /** Repeats `work`, after a pause, as long as the connection is what fails. `at`: bytes so far. */
  async #retry(at: number, work: () => Promise<void>): Promise<void> {
    const { signal, pause = FIRST_PAUSE_MILLISECONDS } = this.options;
    for (let attempt = 1; ; attempt++) {
      signal?.throwIfAborted();
      try {
        return await work();
      } catch (error) {
        this.close();
        signal?.throwIfAborted();
        if (error instanceof ModelFileError && error.kind === 'model') throw error;
        if (attempt === ATTEMPTS) throw this.#gaveUp(at, error);
        await new Promise((resolve) => setTimeout(resolve, pause * 2 ** (attempt - 1)));
      }
    }
  }

  #gaveUp(at: number, error: unknown): ModelFileError {
    const tried = `tried ${ATTEMPTS} times`;
    if (error instanceof ModelFileError) {
      return new ModelFileError('network', `${error.message} (${tried})`, { cause: error });
    }
    const what =
      at === 0
        ? `${this.#name} could not be downloaded`
        : lengthOf(this.#name, at, this.#facts?.size);
    const next =
      at === 0
        ? 'Check the connection, then try again.'
        : `${this.options.cache ? 'What arrived is kept: try' : 'Try'} again.`;
    return new ModelFileError('network', `${what}: ${text(error)}, ${tried}. ${next}`, {
      cause: error,
    });
  }

  /**
   * Opens the stream at `position`. A server without range requests starts at 0; the bytes before
   * `position` are discarded.
   */
  async #open(position: number): Promise<void> {
    this.close();
    const { signal, address, stall = STALL_MILLISECONDS } = this.options;
    const silence = new AbortController();
    // Timed only during a read: between two reads, the GPU may be what takes long.
    const withTimeout = async <T>(answer: Promise<T>): Promise<T> => {
      const gone = new Error(`nothing arrived for ${stall / 1000} s`);
      const timer = setTimeout(() => silence.abort(gone), stall);
      return answer.finally(() => clearTimeout(timer));
    };
    const headers = { range: `bytes=${position}-` };
    const either = signal ? AbortSignal.any([signal, silence.signal]) : silence.signal;
    try {
      // Blocks have their own cache, so the browser's need not hold the file as well.
      const cache = this.options.cache ? 'no-store' : 'default';
      const response = await withTimeout(
        fetch(address(this.file), { headers, signal: either, cache }),
      );
      const { from, facts } = this.#check(response, position);
      this.#facts ??= facts;
      const body = response.body?.getReader();
      if (!body) throw new Error('the answer has no body');
      const read = () => withTimeout(body.read());
      this.#stream = { read, position: from, left: new Uint8Array(), end: () => silence.abort() };
      while (this.#stream.position < position) {
        if (!(await this.#next(position - this.#stream.position)))
          throw new Error('the connection ended');
      }
    } catch (error) {
      silence.abort();
      throw error;
    }
  }

  /** The response's first position and file facts. @throws ModelFileError for any other bytes */
  #check(response: Response, position: number): { from: number; facts: Facts } {
    const name = this.#name;
    const range = /^bytes (?:(\d+)-\d+|\*)\/(\d+)$/.exec(
      response.headers.get('content-range') ?? '',
    );
    if (response.status === 416) {
      const size = Number(range?.[2]);
      if (size === 0 && position === 0)
        throw new ModelFileError('model', `${name} is empty. Use another copy.`);
      const actual = range ? `; the file has ${count(size)} bytes` : '';
      throw new ModelFileError(
        'model',
        `${name}: the server has no byte ${count(position)}${actual}. Load the model again.`,
      );
    }
    if (!response.ok) throw refusal(name, response);
    const commit = response.headers.get('x-repo-commit');
    if (commit) this.onRevision(commit);
    if (/^\s*text\/html/i.test(response.headers.get('content-type') ?? '')) throw webPage(name);
    const from = response.status === 206 ? Number(range?.[1] ?? position) : 0;
    if (from !== position && response.status === 206) {
      const range = `the server sent bytes from ${count(from)} instead of ${count(position)}`;
      throw new ModelFileError('network', `${name}: ${range}. Try again later.`);
    }
    const promised = promisedBytes(response);
    // Another origin's Content-Encoding is hidden from us: the length of a whole text may be that
    // of its compressed form.
    const maybeCompressed =
      response.status === 200 &&
      response.type === 'cors' &&
      !/\.(safetensors|onnx)$/.test(this.file);
    const end = promised === undefined || maybeCompressed ? undefined : from + promised;
    const facts = {
      size: range ? Number(range[2]) : end,
      tag: response.headers.get('etag') ?? '',
    };
    const known = this.#facts;
    if (known && (known.size !== facts.size || known.tag !== facts.tag)) {
      const sizes = known.size === facts.size ? '' : ` from ${known.size} to ${facts.size} bytes`;
      throw new ModelFileError(
        'model',
        `${name} changed on the server${sizes} while it was read. Load it again.`,
      );
    }
    return { from, facts };
  }

  /** The stream's next bytes, at most `most`; undefined at its end. */
  async #next(most = Number.POSITIVE_INFINITY): Promise<Uint8Array | undefined> {
    const stream = this.#stream as Stream;
    while (stream.left.length === 0) {
      const { done, value } = await stream.read();
      if (done) return undefined;
      stream.left = value;
    }
    const piece = stream.left.subarray(0, most);
    stream.left = stream.left.subarray(piece.length);
    stream.position += piece.length;
    return piece;
  }
}

/** Explains the hub's refusals. Without an account, a model that does not exist gets status 401. */
function refusal(name: string, response: Response): ModelFileError {
  const code = response.headers.get('x-error-code');
  if (code === 'RepoNotFound' || code === 'RevisionNotFound') {
    const what = code === 'RepoNotFound' ? 'no such public model' : 'no such revision of the model';
    const next = 'Check the id: org/name, or org/name@revision.';
    return new ModelFileError(
      'model',
      `${name}: the hub has ${what} (HTTP ${response.status}). ${next}`,
    );
  }
  return notServed(name, response);
}
