// The file of a teacher's cache: a header with the cache's identity, then one entry (see
// kernels/topk.ts) for each position of each batch of the run, training batches first. It knows no
// file system: the page stores it in the origin private file system, Node in a file.
//
// A position's logits depend on its window, and windows differ from epoch to epoch. So the file
// holds batches, not the text: (training batches + held-out batches) · B · T entries. Behind them
// is the SHA-256 of each batch; the header has the SHA-256 of those, and ends with its own.
//
// Version 1 had no checksums. It is still read.

import { digestOf, hex } from '../../files/digest';
import { entrySize, hasU16Ids, type TopK } from '../../kernels/topk';
import { shownJson } from '../../quote';

/** A cache that cannot be used, or not for this run. */
export class CacheError extends Error {
  override name = 'CacheError';
  constructor(
    /**
     * `absent`: no file. `other`: another run's. `damaged`. `full`: no room to write. `refused`: it
     * does not serve this loss, temperature or batch.
     */
    readonly kind: 'absent' | 'other' | 'damaged' | 'full' | 'refused',
    message: string,
  ) {
    super(message);
  }
}

/** Bytes that outlive the page or the process. */
export interface CacheStorage {
  size(): Promise<number>;
  /** Bytes [from, to); fewer if the file ends earlier. */
  read(from: number, to: number): Promise<Uint8Array<ArrayBuffer>>;
  /** @throws CacheError `full` if they do not all fit */
  write(at: number, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** Makes durable what was written. */
  flush(): Promise<void>;
  /** Bytes that can still be written; undefined if unknown. */
  room(): Promise<number | undefined>;
  clear(): Promise<void>;
  close(): Promise<void>;
}

/** The run that a cache serves. A cache with any other value belongs to another run. */
export interface CacheIdentity extends TopK {
  /** Name of the teacher, with its revision. A branch that moved since then is not noticed. */
  teacher: string;
  /** Precision of the teacher. */
  dtype: 'f16' | 'f32';
  /**
   * T of the tails in training batches; in held-out batches it is 1, as in every evaluation. 0 if
   * k = V, which serves every temperature.
   */
  temperature: number;
  batchSize: number;
  contextLength: number;
  trainBatches: number;
  heldOutBatches: number;
  /** Fingerprint of all batches' token ids, in order. */
  tokens: string;
  /** The prompt that the teacher continued, and by how many tokens. */
  prompt: string;
  sampleTokens: number;
}

/** What the run needs of its teacher beside the entries. */
export interface CacheSummary {
  /** Parameters of the teacher. */
  parameters?: number;
  /** Its continuation of the prompt. */
  sample?: string;
  /** On the held-out batches, from all logits. Absent if k = V: the entries give it. */
  perplexity?: number;
  /**
   * KL(teacher ‖ student) on the held-out batches before training, in nats a token: from all
   * logits, and from the k tokens of the cache. Absent if k = V.
   */
  kl?: { full: number; kept: number };
  /** Duration of the pass over the batches. */
  seconds: number;
}

/** What a run reports about its teacher's cache. */
export interface CacheReport extends Omit<CacheSummary, 'parameters' | 'sample' | 'perplexity'> {
  V: number;
  k: number;
  bytesPerPosition: number;
  bytes: number;
  /** The cache existed before this run. */
  found: boolean;
}

const MAGIC = 'stillkd2';
const MAGIC_1 = 'stillkd1';
const SHA256_BYTES = 32;
/** Ample for the prompt and the teacher's continuation of at most 256 tokens. */
const HEADER_BYTES = 2 ** 16;
/** Characters of a value in a message. */
const MOST_QUOTED = 100;

export const bytesPerPosition = (shape: TopK): number => 4 * entrySize(shape);

const positionsOf = ({
  batchSize,
  contextLength,
  trainBatches,
  heldOutBatches,
}: CacheIdentity): number => (trainBatches + heldOutBatches) * batchSize * contextLength;

/** Where the checksums begin. */
const entriesEnd = (identity: CacheIdentity): number =>
  HEADER_BYTES + positionsOf(identity) * bytesPerPosition(identity);

const checksumBytes = ({ trainBatches, heldOutBatches }: CacheIdentity): number =>
  (trainBatches + heldOutBatches) * SHA256_BYTES;

/** Bytes of the whole file. */
export const cacheBytes = (identity: CacheIdentity): number =>
  entriesEnd(identity) + checksumBytes(identity);

const LABELS: Record<keyof CacheIdentity, string> = {
  teacher: 'teacher',
  dtype: 'precision',
  V: 'vocabulary',
  k: 'k',
  temperature: 'temperature',
  batchSize: 'batch size',
  contextLength: 'context',
  trainBatches: 'training batches',
  heldOutBatches: 'held-out batches',
  tokens: 'text',
  prompt: 'prompt',
  sampleTokens: 'sample length',
};

export class CacheFile {
  private constructor(
    private readonly storage: CacheStorage,
    readonly identity: CacheIdentity,
    readonly summary: CacheSummary,
    /** Of each batch; undefined for version 1. */
    private readonly checksums?: Uint8Array<ArrayBuffer>,
  ) {}

  /** Opens an existing cache. @throws CacheError unless it is complete and this run's */
  static async open(storage: CacheStorage, identity: CacheIdentity): Promise<CacheFile> {
    const size = await storage.size();
    if (size === 0) throw new CacheError('absent', 'There is no cache yet.');
    const bytes = await storage.read(0, Math.min(size, HEADER_BYTES));
    const header = await parseHeader(bytes);
    const different = (Object.keys(LABELS) as (keyof CacheIdentity)[]).filter(
      (name) => header.identity[name] !== identity[name],
    );
    if (different.length > 0) {
      const each = different.map(
        (name) => `${LABELS[name]} ${brief(header.identity[name])}, not ${brief(identity[name])}`,
      );
      throw new CacheError(
        'other',
        `The teacher’s cache belongs to another run: ${each.join('; ')}.`,
      );
    }
    const isFirst = header.checksums === undefined;
    const expected = isFirst ? entriesEnd(identity) : cacheBytes(identity);
    if (size !== expected) throw damaged(`it has ${size} bytes instead of ${expected}`);
    if (isFirst) return new CacheFile(storage, identity, header.summary);
    const checksums = await storage.read(entriesEnd(identity), expected);
    if (header.checksums !== hex(await digestOf(checksums)))
      throw damaged('its checksums do not match its header');
    return new CacheFile(storage, identity, header.summary, checksums.slice());
  }

  /**
   * Writes a new cache: `fill` writes the entries and returns the summary. The header is written
   * last, when all else is durable, so an interrupted cache has none and is not used.
   * @throws CacheError `full`
   */
  static async create(
    storage: CacheStorage,
    identity: CacheIdentity,
    fill: (file: CacheFile) => Promise<CacheSummary>,
  ): Promise<CacheFile> {
    await storage.clear();
    const bytes = cacheBytes(identity);
    const room = await storage.room();
    if (room !== undefined && room < bytes) {
      throw new CacheError(
        'full',
        `The teacher’s cache needs ${megabytes(bytes)}; there is room for ${megabytes(room)}.`,
      );
    }
    await storage.write(0, new Uint8Array(HEADER_BYTES));
    const checksums = new Uint8Array(checksumBytes(identity));
    const file = new CacheFile(storage, identity, { seconds: 0 }, checksums);
    const summary = await fill(file);
    const header = { identity, told: summary, checksums: hex(await digestOf(checksums)) };
    const text = new TextEncoder().encode(JSON.stringify(header));
    const start = new TextEncoder().encode(MAGIC);
    const head = new Uint8Array(start.length + 4 + text.length + SHA256_BYTES);
    if (head.length > HEADER_BYTES)
      throw new CacheError(
        'refused',
        `The cache’s header takes ${head.length} bytes; at most ${HEADER_BYTES} fit. ` +
          'Use a shorter prompt.',
      );
    head.set(start);
    new DataView(head.buffer).setUint32(start.length, text.length, true);
    head.set(text, start.length + 4);
    head.set(await digestOf(text), start.length + 4 + text.length);
    await storage.write(entriesEnd(identity), checksums);
    await storage.flush();
    await storage.write(0, head);
    await storage.flush();
    return new CacheFile(storage, identity, summary, checksums);
  }

  /**
   * Entries of the batch at `place`: (B·T, entry size). Held-out batches come after those of
   * training.
   * @throws CacheError `damaged` if they are cut, or not what was written; the next run then writes
   * a new cache
   */
  async read(place: number): Promise<Uint32Array<ArrayBuffer>> {
    const [from, to] = this.#range(place);
    const bytes = await this.storage.read(from, to);
    try {
      if (bytes.length !== to - from)
        throw damaged(`batch ${place} ends after ${bytes.length} of ${to - from} bytes`);
      const entries = new Uint32Array(bytes.slice().buffer);
      // What was written was checked before.
      if (!this.checksums) checkEntries(entries, this.identity, `batch ${place}`);
      else if (hex(await digestOf(bytes)) !== hex(this.#checksum(place)))
        throw damaged(`batch ${place} does not match its checksum. The next run writes a new one`);
      return entries;
    } catch (error) {
      await this.storage.write(0, new Uint8Array(MAGIC.length)).catch(() => undefined);
      throw error;
    }
  }

  /** @throws CacheError `full`; `damaged` if they are no valid entries */
  async write(place: number, entries: Uint32Array<ArrayBuffer>): Promise<void> {
    const [from] = this.#range(place);
    checkEntries(entries, this.identity, `batch ${place}`);
    const { buffer, byteOffset, byteLength } = entries;
    const bytes = new Uint8Array(buffer, byteOffset, byteLength);
    this.#checksum(place).set(await digestOf(bytes));
    await this.storage.write(from, bytes);
  }

  close(): Promise<void> {
    return this.storage.close();
  }

  #checksum(place: number): Uint8Array {
    const from = place * SHA256_BYTES;
    return (this.checksums ?? new Uint8Array()).subarray(from, from + SHA256_BYTES);
  }

  #range(place: number): [number, number] {
    const { batchSize, contextLength } = this.identity;
    const bytes = batchSize * contextLength * bytesPerPosition(this.identity);
    const from = HEADER_BYTES + place * bytes;
    return [from, from + bytes];
  }
}

const damaged = (why: string) =>
  new CacheError('damaged', `The teacher’s cache is damaged: ${why}.`);

const brief = (value: unknown) => shownJson(value, MOST_QUOTED);

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;

async function parseHeader(bytes: Uint8Array<ArrayBuffer>): Promise<{
  identity: Record<string, unknown>;
  summary: CacheSummary;
  checksums?: unknown;
}> {
  const start = MAGIC.length + 4;
  const magic = new TextDecoder().decode(bytes.subarray(0, MAGIC.length));
  if (bytes.length < HEADER_BYTES || (magic !== MAGIC && magic !== MAGIC_1))
    throw damaged('it has no header, because writing it was interrupted');
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(MAGIC.length, true);
  if (length > HEADER_BYTES - start) throw damaged(`its header claims ${length} bytes`);
  const text = bytes.subarray(start, start + length);
  const checksum = bytes.subarray(start + length, start + length + SHA256_BYTES);
  if (magic === MAGIC && hex(checksum) !== hex(await digestOf(text)))
    throw damaged('its header does not match its checksum');
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(text));
  } catch {
    throw damaged('its header is not valid JSON');
  }
  const fields = (isObject(header) ? header : {}) as Record<string, unknown>;
  const { identity, told: summary, checksums } = fields;
  if (!isObject(identity) || !isSummary(summary)) throw damaged('its header lacks required fields');
  return { identity, summary, ...(magic === MAGIC && { checksums: checksums ?? '' }) };
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null;

function isSummary(value: unknown): value is CacheSummary {
  if (!isObject(value)) return false;
  const { parameters, sample, perplexity, kl, seconds } = value;
  return (
    isFiniteNumber(seconds) &&
    [parameters, perplexity].every((figure) => figure === undefined || isFiniteNumber(figure)) &&
    (sample === undefined || typeof sample === 'string') &&
    (kl === undefined || (isObject(kl) && isFiniteNumber(kl.full) && isFiniteNumber(kl.kept)))
  );
}

const isFiniteNumber = (value: unknown) => typeof value === 'number' && Number.isFinite(value);

/** Bits of f16: from −0 down to the lowest number, −65504. Above them are −∞ and NaN. */
const [NEGATIVE_ZERO, LOWEST] = [0x8000, 0xfbff];

/**
 * @throws CacheError for values above 0 or not finite, tails too large, ids out of order or outside
 * the vocabulary
 */
function checkEntries(data: Uint32Array<ArrayBuffer>, shape: TopK, where: string): void {
  const { V, k } = shape;
  const size = entrySize(shape);
  const pairs = Math.ceil(k / 2);
  const halves = new Uint16Array(data.buffer, data.byteOffset, 2 * data.length);
  const tails = new Float32Array(data.buffer, data.byteOffset, data.length);
  const ids = hasU16Ids(shape) ? halves : data;
  for (let entry = 0; entry < data.length; entry += size) {
    const position = `position ${entry / size} of ${where}`;
    const values = entry + (k < V ? 1 : 0);
    for (let i = 2 * values; i < 2 * values + k; i++) {
      if (halves[i] === 0 || (halves[i] >= NEGATIVE_ZERO && halves[i] <= LOWEST)) continue;
      throw damaged(`${position} has a logit that is not finite or exceeds the largest`);
    }
    if (k === V) continue;
    // The tail sums at most V terms of at most 1 each.
    if (!(tails[entry] <= Math.log(V) + 1))
      throw damaged(`${position} has a tail of ${tails[entry]}`);
    const first = hasU16Ids(shape) ? 2 * (values + pairs) : values + pairs;
    let last = -1;
    for (let i = first; i < first + k; i++) {
      if (ids[i] <= last || ids[i] >= V)
        throw damaged(`${position} has token ${ids[i]} after ${last} in a vocabulary of ${V}`);
      last = ids[i];
    }
  }
}
