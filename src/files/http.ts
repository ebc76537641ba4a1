// A model folder behind HTTP. A file is read as one stream, from the first byte that is needed. A
// broken stream is resumed where it stopped. Data is cached in blocks, so that loading again
// downloads only what is missing.

import { type Digest, DigestCheck, sealed, unsealed } from './digest';
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
import { endsBefore, MOST_TEXT, type ModelSource, type Progress, tooLong } from './source';

/**
 * Bytes per block: large enough for few cache entries, small enough that a broken connection loses
 * little.
 */
const BLOCK = 2 ** 21;
/** Tries in a row with hardly a new byte before giving up on a file. */
const ATTEMPTS = 5;
const FIRST_PAUSE_MILLISECONDS = 400;
/** A server that asks for more is not waited for. */
const LONGEST_PAUSE_SECONDS = 60;
/** A server that sends hardly anything for this long is considered gone. */
const STALL_MILLISECONDS = 30_000;
/** Fewer bytes are hardly anything. */
const LEAST_PROGRESS = 2 ** 16;

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
  /** What is known of the contents of the folder's files. */
  digests?(): Promise<ReadonlyMap<string, Digest>>;
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
    read: (file, most) => open(file).read(most),
    verify: (file) => open(file).verify(),
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

const AT_START = () => 0;

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
  /** Compares the contents with what is known of them, in order; undefined if nothing is. */
  #check: DigestCheck | undefined;
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
    if (!this.#facts) {
      await this.#retry(AT_START, () => this.#open(0));
      const digest = (await this.options.digests?.())?.get(this.file);
      const { size } = this.#facts as unknown as Facts;
      if (digest && size !== undefined) this.#check = new DigestCheck(digest, size);
    }
    return this.#facts as unknown as Facts;
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

  async read(most = MOST_TEXT): Promise<Uint8Array<ArrayBuffer>> {
    const { size } = await this.facts();
    if (size !== undefined && size > most) throw tooLong(this.#name, size, most);
    if (size !== undefined) return this.range(0, size);
    // Without a length, nothing can be resumed: a connection that breaks begins anew.
    let pieces: Uint8Array<ArrayBuffer>[] = [];
    await this.#retry(AT_START, async () => {
      if (this.#stream?.position !== 0) await this.#open(0);
      pieces = [];
      for (let piece = await this.#next(); piece; piece = await this.#next()) {
        if ((this.#stream as Stream).position > most) throw tooLong(this.#name, undefined, most);
        pieces.push(piece as Uint8Array<ArrayBuffer>);
      }
    });
    this.close();
    const bytes = new Uint8Array(await new Blob(pieces).arrayBuffer());
    const digest = (await this.options.digests?.())?.get(this.file);
    if (digest) {
      const check = new DigestCheck(digest, bytes.length);
      check.add(bytes);
      if (!check.matches()) throw this.#differs();
    }
    return bytes;
  }

  async verify(): Promise<void> {
    const size = this.#check && (await this.size());
    // The last block is not read before all others.
    if (size) await this.#blockAt(Math.floor((size - 1) / BLOCK), size);
  }

  /** Blocks are checked in their order, so those before this one must have been. */
  async #checked(index: number, bytes: Uint8Array, size: number): Promise<void> {
    const check = this.#check;
    if (!check || check.position !== index * BLOCK) return;
    check.add(bytes);
    if (check.position < size || check.matches()) return;
    this.#check = undefined;
    for (let from = 0; from < size; from += BLOCK)
      await this.options.cache?.put(this.#key(from, size), new Uint8Array());
    throw this.#differs();
  }

  #differs(): ModelFileError {
    return new ModelFileError(
      'network',
      `${this.#name} has not the contents that the hub gives for it: they were damaged on the ` +
        'way, or where they were kept. Nothing of it is kept. Try again.',
    );
  }

  /** Names a block in the cache, for this version of the file. */
  #key(from: number, size: number): string {
    return [this.options.address(this.file), this.#facts?.tag, size, from].join(' ');
  }

  close(): void {
    this.#stream?.end();
    this.#stream = undefined;
  }

  async #blockAt(index: number, size: number): Promise<Uint8Array<ArrayBuffer>> {
    if (this.#block?.index === index) return this.#block.bytes;
    const { cache, onProgress, signal } = this.options;
    const unchecked = Math.floor((this.#check?.position ?? size) / BLOCK);
    for (let before = unchecked; before < index; before++) await this.#blockAt(before, size);
    signal?.throwIfAborted();
    const [from, to] = [index * BLOCK, Math.min((index + 1) * BLOCK, size)];
    let bytes = await unsealed(await cache?.get(this.#key(from, size)), to - from);
    if (!bytes) {
      bytes = await this.#fetch(from, to);
      await cache?.put(this.#key(from, size), await sealed(bytes));
    }
    await this.#checked(index, bytes, size);
    onProgress?.(this.file, to, size);
    this.#block = { index, bytes };
    return bytes;
  }

  async #fetch(from: number, to: number): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(to - from);
    let filled = 0;
    await this.#retry(
      () => from + filled,
      async () => {
        while (filled < bytes.length) {
          if (this.#stream?.position !== from + filled) await this.#open(from + filled);
          const piece = await this.#next(bytes.length - filled);
          if (!piece) throw new Error('the connection ended');
          bytes.set(piece, filled);
          filled += piece.length;
          this.options.onProgress?.(this.file, from + filled, this.#facts?.size);
        }
      },
    );
    if (from === 0 && isWebPage(bytes)) throw webPage(this.#name);
    // Read to its very end: a stream that is left one step before counts as broken off.
    if (to === this.#facts?.size) {
      await this.#stream?.read().catch(() => undefined);
      this.close();
    }
    return bytes;
  }

  /**
   * Repeats `work`, after a pause, as long as the connection is what fails.
   * @param at bytes so far; tries are counted anew once enough came
   */
  async #retry(at: () => number, work: () => Promise<void>): Promise<void> {
    const { signal, pause = FIRST_PAUSE_MILLISECONDS } = this.options;
    let begun = at();
    for (let attempt = 1; ; attempt++) {
      signal?.throwIfAborted();
      try {
        return await work();
      } catch (error) {
        this.close();
        signal?.throwIfAborted();
        if (error instanceof ModelFileError && error.kind === 'model') throw error;
        if (at() - begun >= LEAST_PROGRESS) {
          attempt = 1;
          begun = at();
        }
        const asked = error instanceof ModelFileError ? (error.retryAfter ?? 0) : 0;
        if (attempt === ATTEMPTS || asked > LONGEST_PAUSE_SECONDS)
          throw this.#gaveUp(at(), error, attempt);
        const wait = Math.max(pause * 2 ** (attempt - 1), 1000 * asked);
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    }
  }

  #gaveUp(at: number, error: unknown, attempts: number): ModelFileError {
    const tried = attempts === 1 ? 'tried once' : `tried ${attempts} times`;
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
      const { from, facts } = this.#inspect(response, position);
      this.#facts ??= facts;
      const body = response.body?.getReader();
      if (!body) throw new Error('the answer has no body');
      let [waited, arrived] = [0, 0];
      const read = async () => {
        const asked = performance.now();
        const piece = await withTimeout(body.read());
        waited += performance.now() - asked;
        arrived += piece.value?.length ?? 0;
        if (waited < stall || piece.done) return piece;
        if (arrived < LEAST_PROGRESS)
          throw new Error(`only ${count(arrived)} bytes arrived in ${stall / 1000} s`);
        [waited, arrived] = [0, 0];
        return piece;
      };
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
  #inspect(response: Response, position: number): { from: number; facts: Facts } {
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
