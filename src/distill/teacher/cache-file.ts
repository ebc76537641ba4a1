// The file that keeps what a teacher said: a header that says whose words they are and for which
// run, then an entry (see kernels/topk.ts) for each position of each batch that the run will ask
// for, training batches first. Where it lies is for others to say: the page has the origin private
// file system, Node a file.
//
// A batch's windows differ from epoch to epoch, and a position's logits with the window that it
// stands in. So it is batches that are kept, not the text: (training batches + held-out batches) ·
// B · T entries.

import { entryWords, narrowIds, type TopK } from '../../kernels/topk';

/** A cache that cannot be used, or not for this. */
export class CacheError extends Error {
  override name = 'CacheError';
  constructor(
    /**
     * absent, other: nothing there, or another run's. damaged. full: no room to write. refused: it
     * cannot do what is asked.
     */
    readonly kind: 'absent' | 'other' | 'damaged' | 'full' | 'refused',
    message: string,
  ) {
    super(message);
  }
}

/** Bytes that stay when the page or the process ends. */
export interface CacheStorage {
  size(): Promise<number>;
  /** From `from` up to but not including `to`; fewer where the file ends before. */
  read(from: number, to: number): Promise<Uint8Array<ArrayBuffer>>;
  /** @throws CacheError `full` where they do not all fit */
  write(at: number, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** Bytes that may still be written; undefined where nobody knows. */
  room(): Promise<number | undefined>;
  clear(): Promise<void>;
  close(): Promise<void>;
}

/** Which run a cache serves: any difference, and it is another's. */
export interface CacheIdentity extends TopK {
  /** What names the teacher, with its revision. A branch that has moved since is not noticed. */
  teacher: string;
  /** What the teacher computed in. */
  dtype: 'f16' | 'f32';
  /**
   * T of the rest in training batches; in held-out ones it is 1, as in every evaluation. 0 where k
   * = V, which serves any.
   */
  temperature: number;
  batchSize: number;
  contextLength: number;
  trainBatches: number;
  heldOutBatches: number;
  /** Of all batches' token ids, in order. */
  tokens: string;
  /** What the teacher continued before it was dropped, and by how many tokens. */
  prompt: string;
  sampleTokens: number;
}

/** What only the teacher could tell, kept with its words. */
export interface CacheTold {
  /** Parameters of the teacher. */
  parameters?: number;
  /** Its continuation of the prompt. */
  sample?: string;
  /** On the held-out batches, from all of its logits. Where k = V the entries tell it. */
  perplexity?: number;
  /**
   * KL(teacher ‖ student) on the held-out batches before training: from all logits, and from what
   * is kept. Where k < V.
   */
  kl?: { full: number; kept: number };
  /** Time that the pass over the batches took. */
  seconds: number;
}

const MAGIC = 'stillkd1';
/** Room for the prompt and the teacher's continuation, of 256 tokens at most, many times over. */
const HEADER_BYTES = 2 ** 16;

export const bytesPerPosition = (shape: TopK): number => 4 * entryWords(shape);

const positionsOf = ({
  batchSize,
  contextLength,
  trainBatches,
  heldOutBatches,
}: CacheIdentity): number => (trainBatches + heldOutBatches) * batchSize * contextLength;

/** Bytes of the whole file. */
export const cacheBytes = (identity: CacheIdentity): number =>
  HEADER_BYTES + positionsOf(identity) * bytesPerPosition(identity);

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
    readonly told: CacheTold,
  ) {}

  /** The cache that is there. @throws CacheError unless it is whole and this run's */
  static async open(storage: CacheStorage, identity: CacheIdentity): Promise<CacheFile> {
    const size = await storage.size();
    if (size === 0) throw new CacheError('absent', 'There is no cache yet.');
    const bytes = await storage.read(0, Math.min(size, HEADER_BYTES));
    const { identity: theirs, told } = parseHeader(bytes);
    const differ = (Object.keys(LABELS) as (keyof CacheIdentity)[]).filter(
      (name) => theirs[name] !== identity[name],
    );
    if (differ.length > 0) {
      const each = differ.map(
        (name) => `${LABELS[name]} ${brief(theirs[name])}, not ${brief(identity[name])}`,
      );
      throw new CacheError('other', `The teacher’s cache is another run’s: ${each.join('; ')}.`);
    }
    const wanted = cacheBytes(identity);
    if (size !== wanted) throw damaged(`it has ${size} bytes, and ${wanted} would be whole`);
    return new CacheFile(storage, identity, told);
  }

  /**
   * Writes a new cache: `fill` writes the entries through what it is given, and tells what else the
   * teacher said. Without its header, which is written last, a broken-off cache is none. @throws
   * CacheError `full`
   */
  static async create(
    storage: CacheStorage,
    identity: CacheIdentity,
    fill: (file: CacheFile) => Promise<CacheTold>,
  ): Promise<CacheFile> {
    await storage.clear();
    const wanted = cacheBytes(identity);
    const room = await storage.room();
    if (room !== undefined && room < wanted) {
      throw new CacheError(
        'full',
        `The teacher’s cache needs ${megabytes(wanted)}; there is room for ${megabytes(room)}.`,
      );
    }
    await storage.write(0, new Uint8Array(HEADER_BYTES));
    const told = await fill(new CacheFile(storage, identity, { seconds: 0 }));
    const text = new TextEncoder().encode(JSON.stringify({ identity, told }));
    const start = new TextEncoder().encode(MAGIC);
    const head = new Uint8Array(start.length + 4 + text.length);
    if (head.length > HEADER_BYTES)
      throw new CacheError(
        'refused',
        `The header takes ${head.length} bytes; ${HEADER_BYTES} are set aside. Use a shorter prompt.`,
      );
    head.set(start);
    new DataView(head.buffer).setUint32(start.length, text.length, true);
    head.set(text, start.length + 4);
    await storage.write(0, head);
    return new CacheFile(storage, identity, told);
  }

  /**
   * Entries of batch `index`, held-out ones behind those of training. @throws CacheError for words
   * that no teacher said
   */
  async read(index: number): Promise<Uint32Array<ArrayBuffer>> {
    const [from, to] = this.#range(index);
    const bytes = await this.storage.read(from, to);
    if (bytes.length !== to - from)
      throw damaged(`batch ${index} ends after ${bytes.length} of ${to - from} bytes`);
    const words = new Uint32Array(bytes.slice().buffer);
    checkEntries(words, this.identity, `batch ${index}`);
    return words;
  }

  /** @throws CacheError where they do not fit, or hold a number that no cache can */
  async write(index: number, words: Uint32Array<ArrayBuffer>): Promise<void> {
    const [from] = this.#range(index);
    checkEntries(words, this.identity, `batch ${index}`);
    await this.storage.write(
      from,
      new Uint8Array(words.buffer, words.byteOffset, words.byteLength),
    );
  }

  close(): Promise<void> {
    return this.storage.close();
  }

  #range(index: number): [number, number] {
    const { batchSize, contextLength } = this.identity;
    const bytes = batchSize * contextLength * bytesPerPosition(this.identity);
    const from = HEADER_BYTES + index * bytes;
    return [from, from + bytes];
  }
}

const damaged = (why: string) =>
  new CacheError('damaged', `The teacher’s cache is damaged: ${why}.`);

const brief = (value: unknown) =>
  typeof value === 'string' ? JSON.stringify(value.slice(0, 100)) : String(value);

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;

function parseHeader(bytes: Uint8Array<ArrayBuffer>): {
  identity: Record<string, unknown>;
  told: CacheTold;
} {
  const start = MAGIC.length + 4;
  const magic = new TextDecoder().decode(bytes.subarray(0, MAGIC.length));
  if (bytes.length < HEADER_BYTES || magic !== MAGIC)
    throw damaged('it has no header; writing it was broken off');
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(MAGIC.length, true);
  if (length > HEADER_BYTES - start) throw damaged(`its header claims ${length} bytes`);
  let header: unknown;
  try {
    header = JSON.parse(
      new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(start, start + length)),
    );
  } catch {
    throw damaged('its header is no JSON');
  }
  const { identity, told } = (isObject(header) ? header : {}) as Record<string, unknown>;
  if (!isObject(identity) || !isTold(told))
    throw damaged('its header lacks what a cache says of itself');
  return { identity, told };
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null;

function isTold(value: unknown): value is CacheTold {
  if (!isObject(value)) return false;
  const { parameters, sample, perplexity, kl, seconds } = value;
  const number = (given: unknown) => typeof given === 'number' && Number.isFinite(given);
  return (
    number(seconds) &&
    [parameters, perplexity].every((given) => given === undefined || number(given)) &&
    (sample === undefined || typeof sample === 'string') &&
    (kl === undefined || (isObject(kl) && number(kl.full) && number(kl.kept)))
  );
}

/**
 * f16: every number from −0 down to its lowest, 65504. What lies above is an infinity or no number.
 */
const [NEGATIVE_ZERO, LOWEST] = [0x8000, 0xfbff];

/**
 * Throws a CacheError for words that are no entries: values above 0 or not finite, ids out of order
 * or of the vocabulary.
 */
function checkEntries(words: Uint32Array<ArrayBuffer>, shape: TopK, where: string): void {
  const { V, k } = shape;
  const size = entryWords(shape);
  const pairs = Math.ceil(k / 2);
  const halves = new Uint16Array(words.buffer, words.byteOffset, 2 * words.length);
  const rests = new Float32Array(words.buffer, words.byteOffset, words.length);
  const ids = narrowIds(shape) ? halves : words;
  for (let entry = 0; entry < words.length; entry += size) {
    const position = `position ${entry / size} of ${where}`;
    const values = entry + (k < V ? 1 : 0);
    for (let i = 2 * values; i < 2 * values + k; i++) {
      if (halves[i] === 0 || (halves[i] >= NEGATIVE_ZERO && halves[i] <= LOWEST)) continue;
      throw damaged(`${position} has a value that is no logit less the largest`);
    }
    if (k === V) continue;
    // V words of no less than 1/V each are the most that can be left out.
    if (!(rests[entry] <= Math.log(V) + 1))
      throw damaged(`${position} has a rest of ${rests[entry]}`);
    const first = narrowIds(shape) ? 2 * (values + pairs) : values + pairs;
    let last = -1;
    for (let i = first; i < first + k; i++) {
      if (ids[i] <= last || ids[i] >= V)
        throw damaged(`${position} names word ${ids[i]} after ${last}, of ${V}`);
      last = ids[i];
    }
  }
}
