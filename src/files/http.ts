// A model folder behind HTTP. A file is read as one stream from where it is needed; a stream that
// breaks is taken up again where it stopped. What came is kept in blocks, so that a second load
// fetches only what is missing.

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
 * Bytes that are fetched and cached at once: few entries for a large model, little to lose when a
 * connection breaks.
 */
const BLOCK = 2 ** 21;
/** Tries in a row without a single new byte before a file is given up. */
const ATTEMPTS = 5;
const FIRST_PAUSE_MILLISECONDS = 400;
/** A server that says nothing for so long has gone away. */
const STALL_MILLISECONDS = 30_000;

/**
 * Where blocks are kept from one visit to the next. It may forget at any time, and must not throw.
 */
export interface BlockCache {
  get(key: string): Promise<Uint8Array<ArrayBuffer> | undefined>;
  put(key: string, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
}

export interface HttpOptions {
  label: string;
  /** The address of a file of the folder. */
  address(file: string): string;
  cache?: BlockCache;
  onProgress?: Progress;
  /** Ends everything with its reason. */
  signal?: AbortSignal;
  /** Milliseconds before the second try; doubles with each further one. */
  pause?: number;
  /** Milliseconds of silence that count as a broken connection. */
  stall?: number;
}

/** The hub's own host; a model's revision is a branch, a tag or a commit. */
export function hubAddress(model: string, revision = 'main', host = 'https://huggingface.co') {
  const path = (name: string) => name.split('/').map(encodeURIComponent).join('/');
  return (file: string) =>
    `${host}/${path(model)}/resolve/${encodeURIComponent(revision)}/${path(file)}`;
}

export function httpSource(options: HttpOptions): ModelSource {
  const files = new Map<string, HttpFile>();
  const open = (file: string) => {
    const opened = files.get(file) ?? new HttpFile(file, options);
    files.set(file, opened);
    return opened;
  };
  return {
    label: options.label,
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
  /** Undefined where the server does not say. */
  size?: number;
  /**
   * The server's word for this version of the file; empty where it has none, or keeps it from us.
   */
  tag: string;
}

interface Stream {
  read(): Promise<ReadableStreamReadResult<Uint8Array>>;
  /** Of the byte that `next` gives first. */
  position: number;
  /** Read from the connection and not taken yet. */
  left: Uint8Array;
  end(): void;
}

class HttpFile {
  readonly #name: string;
  #facts: Facts | undefined;
  #stream: Stream | undefined;
  /** The block that was read last: tensors that follow each other share blocks. */
  #block: { index: number; bytes: Uint8Array<ArrayBuffer> } | undefined;

  constructor(
    private readonly file: string,
    private readonly options: HttpOptions,
  ) {
    this.#name = `${file} of ${options.label}`;
  }

  async facts(): Promise<Facts> {
    if (!this.#facts) await this.#persist(0, () => this.#open(0));
    return this.#facts as Facts;
  }

  async size(): Promise<number> {
    const { size } = await this.facts();
    if (size !== undefined) return size;
    const what = `${this.#name}: its server does not say how long it is, so it cannot be read in parts`;
    throw new ModelFileError('model', `${what}. Drop the model's files on the page instead.`);
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
    // Without a length there is no telling a whole file from a cut one, and nothing to go on from.
    const pieces: Uint8Array[] = [];
    if (this.#stream?.position !== 0) await this.#persist(0, () => this.#open(0));
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
      await this.#persist(from + filled, async () => {
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

  /**
   * Does `work` again, after a pause, while what fails is the connection. `at` bytes have come when
   * it begins.
   */
  async #persist(at: number, work: () => Promise<void>): Promise<void> {
    const { signal, pause = FIRST_PAUSE_MILLISECONDS } = this.options;
    for (let attempt = 1; ; attempt++) {
      signal?.throwIfAborted();
      try {
        return await work();
      } catch (error) {
        this.close();
        signal?.throwIfAborted();
        if (error instanceof ModelFileError && error.kind === 'model') throw error;
        if (attempt === ATTEMPTS) throw this.#givenUp(at, error);
        await new Promise((resolve) => setTimeout(resolve, pause * 2 ** (attempt - 1)));
      }
    }
  }

  #givenUp(at: number, error: unknown): ModelFileError {
    const tried = `tried ${ATTEMPTS} times`;
    if (error instanceof ModelFileError) {
      return new ModelFileError('network', `${error.message} (${tried})`, { cause: error });
    }
    const what =
      at === 0 ? `${this.#name} could not be fetched` : lengthOf(this.#name, at, this.#facts?.size);
    const next =
      at === 0
        ? 'Check the connection, then try again.'
        : `${this.options.cache ? 'What came is kept: try' : 'Try'} again.`;
    return new ModelFileError('network', `${what}: ${text(error)}, ${tried}. ${next}`, {
      cause: error,
    });
  }

  /**
   * Opens the stream at `position`. A server that knows no ranges begins at 0; what comes before is
   * thrown away.
   */
  async #open(position: number): Promise<void> {
    this.close();
    const { signal, address, stall = STALL_MILLISECONDS } = this.options;
    const silence = new AbortController();
    // Only while something is waited for: between two reads it may be the GPU that takes its time.
    const listen = async <T>(answer: Promise<T>): Promise<T> => {
      const gone = new Error(`nothing came for ${stall / 1000} s`);
      const timer = setTimeout(() => silence.abort(gone), stall);
      return answer.finally(() => clearTimeout(timer));
    };
    const headers = { range: `bytes=${position}-` };
    const either = signal ? AbortSignal.any([signal, silence.signal]) : silence.signal;
    try {
      // What is kept in blocks need not lie in the browser's own cache too.
      const cache = this.options.cache ? 'no-store' : 'default';
      const response = await listen(fetch(address(this.file), { headers, signal: either, cache }));
      const { from, facts } = this.#check(response, position);
      this.#facts ??= facts;
      const body = response.body?.getReader();
      if (!body) throw new Error('the answer has no body');
      const read = () => listen(body.read());
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

  /**
   * Where the answer begins, and what it says of the file. @throws ModelFileError if it is not this
   * file's bytes
   */
  #check(response: Response, position: number): { from: number; facts: Facts } {
    const name = this.#name;
    const range = /^bytes (?:(\d+)-\d+|\*)\/(\d+)$/.exec(
      response.headers.get('content-range') ?? '',
    );
    if (response.status === 416) {
      const size = Number(range?.[2]);
      if (size === 0 && position === 0)
        throw new ModelFileError('model', `${name} is empty. Use another copy of it.`);
      const now = range ? `, it has ${count(size)}` : '';
      throw new ModelFileError(
        'model',
        `${name}: the server has nothing at byte ${count(position)}${now}. Load the model again.`,
      );
    }
    if (!response.ok) throw refusal(name, response);
    if (/^\s*text\/html/i.test(response.headers.get('content-type') ?? '')) throw webPage(name);
    const from = response.status === 206 ? Number(range?.[1] ?? position) : 0;
    if (from !== position && response.status === 206) {
      const got = `the server sent bytes from ${count(from)}, asked for were those from ${count(position)}`;
      throw new ModelFileError('network', `${name}: ${got}. Try again later.`);
    }
    const promised = promisedBytes(response);
    // Another origin's Content-Encoding is hidden from us: of a text sent whole, the length may be
    // that of its compressed form.
    const unsure =
      response.status === 200 &&
      response.type === 'cors' &&
      !/\.(safetensors|onnx)$/.test(this.file);
    const rest = promised === undefined || unsure ? undefined : from + promised;
    const facts = {
      size: range ? Number(range[2]) : rest,
      tag: response.headers.get('etag') ?? '',
    };
    const known = this.#facts;
    if (known && (known.size !== facts.size || known.tag !== facts.tag)) {
      const sizes = known.size === facts.size ? '' : ` from ${known.size} to ${facts.size} bytes`;
      throw new ModelFileError(
        'model',
        `${name} changed on its server${sizes} while it was read. Load it again.`,
      );
    }
    return { from, facts };
  }

  /** The stream's next bytes, at most so many; undefined at its end. */
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

/**
 * What the hub means by its refusals: to a visitor without an account it says 401 of a model that
 * is not there.
 */
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
