// The safetensors format: 8 bytes of header length, a JSON header, then the tensors' bytes.

import { excerpt, shownJson, shownSizes } from '../quote';
import { fromHalf } from '../tensor/dtype';
import { count, ModelFileError, text } from './download';
import { joinPieces } from './pieces';

const BYTES = { F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, U8: 1, BOOL: 1 } as const;
export type SafetensorsType = keyof typeof BYTES;

export interface StoredTensor {
  dtype: SafetensorsType;
  shape: number[];
  /** Little-endian, row-major. Of a tensor that was read, a view into the file's bytes. */
  data: Uint8Array;
}

/** A longer header is damage or an attack; the format's reference library has the same limit. */
const MAX_HEADER = 100_000_000;
/** Far more than any file has. */
const MAX_TENSORS = 100_000;

/** A tensor's place in its file. */
export interface StoredEntry {
  name: string;
  dtype: SafetensorsType;
  shape: number[];
  /** Bytes from the start of the file, `to` excluded. */
  from: number;
  to: number;
}

/** The header's length is stored in this many bytes, before the header. */
export const LENGTH_BYTES = 8;

const broken = (file: string) => (what: string) =>
  new ModelFileError('model', `${file}: ${what}. Download it again, or choose another file.`);

/**
 * The header's length in bytes, from a file's first 8 bytes.
 * @param fileBytes the file's length
 * @throws ModelFileError if the file is shorter than that
 */
export function headerLength(first: Uint8Array, fileBytes: number, file: string): number {
  if (fileBytes < LENGTH_BYTES)
    throw broken(file)(`${count(fileBytes)} bytes are too few for a safetensors file`);
  // As a bigint: the length is 64 bits wide and may be hostile.
  const length = new DataView(first.buffer, first.byteOffset, first.byteLength).getBigUint64(
    0,
    true,
  );
  if (length > BigInt(Math.min(fileBytes - LENGTH_BYTES, MAX_HEADER))) {
    throw broken(file)(
      `its header says ${count(length)} bytes, the file has ${count(fileBytes)}; ` +
        'it is cut short or not safetensors',
    );
  }
  return Number(length);
}

/**
 * The tensors that a header lists, in file order.
 * @param fileBytes the file's length
 * @throws ModelFileError that names the file, the tensor and the expected value
 */
export function readHeader(header: Uint8Array, fileBytes: number, file: string): StoredEntry[] {
  const dataStart = LENGTH_BYTES + header.length;
  const tensors = readEntries(header, broken(file));
  // The format requires that tensors are contiguous and fill the file: none overlaps another, and
  // nothing hides between them.
  let end = 0;
  for (const { name, from, to } of tensors) {
    if (from !== end) {
      const relation =
        from < end ? 'overlaps the tensor before it' : 'leaves a gap after the tensor before it';
      throw broken(file)(
        `tensor ${excerpt(name)} at ${count(from)} to ${count(to)} ${relation}, ` +
          `which ends at ${count(end)}`,
      );
    }
    end = to;
  }
  const needed = dataStart + end;
  if (needed > fileBytes) {
    throw new ModelFileError(
      'model',
      `${file} is ${count(fileBytes)} of ${count(needed)} bytes long. Download it again.`,
    );
  }
  if (needed < fileBytes)
    throw broken(file)(`${count(fileBytes - needed)} bytes follow the last tensor`);
  return tensors.map((entry) => ({
    ...entry,
    from: dataStart + entry.from,
    to: dataStart + entry.to,
  }));
}

/**
 * The tensors of a safetensors file in memory, in file order. Nothing is copied.
 * @param file the name that errors carry
 * @throws ModelFileError that names the file, the tensor and the expected value
 */
export function readSafetensors(bytes: Uint8Array, file: string): Map<string, StoredTensor> {
  const length = headerLength(bytes, bytes.length, file);
  const entries = readHeader(
    bytes.subarray(LENGTH_BYTES, LENGTH_BYTES + length),
    bytes.length,
    file,
  );
  return new Map(
    entries.map(({ name, dtype, shape, from, to }) => [
      name,
      { dtype, shape, data: bytes.subarray(from, to) },
    ]),
  );
}

/** The header's tensors in order of their offsets; each entry is checked alone. */
function readEntries(header: Uint8Array, broken: (what: string) => Error) {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(header));
  } catch (error) {
    throw broken(`its header is not JSON (${text(error)})`);
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw broken('its header is not an object');
  const tensors = Object.entries(json as Record<string, unknown>).filter(
    ([name]) => name !== '__metadata__',
  );
  if (tensors.length > MAX_TENSORS)
    throw broken(
      `its header lists ${count(tensors.length)} tensors, at most ${count(MAX_TENSORS)} are read`,
    );
  const isSize = (value: unknown): value is number =>
    Number.isSafeInteger(value) && (value as number) >= 0;
  return tensors
    .map(([name, entry]) => {
      const tensor = `tensor ${excerpt(name)}`;
      const { dtype, shape, data_offsets: offsets } = (entry ?? {}) as Record<string, unknown>;
      if (typeof dtype !== 'string' || !Object.hasOwn(BYTES, dtype)) {
        const readable = Object.keys(BYTES).join(', ');
        throw broken(`${tensor} has type ${shownJson(dtype)}; readable are ${readable}`);
      }
      if (!Array.isArray(shape) || !shape.every(isSize))
        throw broken(`${tensor} has shape ${shownJson(shape)}`);
      if (
        !Array.isArray(offsets) ||
        offsets.length !== 2 ||
        !offsets.every(isSize) ||
        offsets[0] > offsets[1]
      ) {
        throw broken(`${tensor} has data_offsets ${shownJson(offsets)}; expected [begin, end]`);
      }
      const [from, to] = offsets as [number, number];
      const size = shape.reduce(
        (product, extent) => product * extent,
        BYTES[dtype as SafetensorsType],
      );
      if (to - from !== size) {
        const stored = `${count(to - from)} bytes`;
        throw broken(
          `${tensor} has ${stored}; ` +
            `${dtype} of shape ${shownSizes(shape)} takes ${count(size)}`,
        );
      }
      return { name, dtype: dtype as SafetensorsType, shape: shape as number[], from, to };
    })
    .sort((a, b) => a.from - b.from || a.to - b.to);
}

/**
 * A safetensors file. Wider types come first, so that every tensor is aligned; within a type the
 * map's order is kept.
 * @throws Error if a tensor's bytes do not fit its shape
 */
export function writeSafetensors(
  tensors: ReadonlyMap<
    string,
    { dtype: SafetensorsType; shape: readonly number[]; data: ArrayBufferView }
  >,
  metadata: Record<string, string> = {},
): Uint8Array<ArrayBuffer> {
  const ordered = [...tensors].sort(([, a], [, b]) => BYTES[b.dtype] - BYTES[a.dtype]);
  for (const [name, { dtype, shape, data }] of ordered) {
    const size = sizeOf(dtype, shape);
    if (data.byteLength === size) continue;
    const actual = `${count(data.byteLength)} bytes`;
    throw new Error(
      `writing tensor ${name}: got ${actual}; ` +
        `${dtype} of shape [${shape.join(', ')}] takes ${count(size)}.`,
    );
  }
  const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView) =>
    new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
  const pieces = [headerOf(ordered, metadata), ...ordered.map(([, { data }]) => bytesOf(data))];
  return joinPieces(pieces, new Map());
}

/** Bytes of a tensor. */
export const sizeOf = (dtype: SafetensorsType, shape: readonly number[]) =>
  shape.reduce((product, extent) => product * extent, BYTES[dtype]);

/** The header's length and the header, for a file with the tensors in this order. */
export function headerOf(
  tensors: Iterable<readonly [string, { dtype: SafetensorsType; shape: readonly number[] }]>,
  metadata: Record<string, string>,
): Uint8Array<ArrayBuffer> {
  const entries: [string, unknown][] =
    Object.keys(metadata).length > 0 ? [['__metadata__', metadata]] : [];
  let offset = 0;
  for (const [name, { dtype, shape }] of tensors) {
    entries.push([
      name,
      { dtype, shape, data_offsets: [offset, (offset += sizeOf(dtype, shape))] },
    ]);
  }
  const text = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)));
  // Padded with spaces, so that the tensors are aligned.
  const length = Math.ceil(text.length / 8) * 8;
  const header = new Uint8Array(LENGTH_BYTES + length).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(text, LENGTH_BYTES);
  return header;
}

/** The values as float32, always a copy. I64 and I32 beyond 2^24 are rounded. */
export function toFloat32({ dtype, data }: StoredTensor): Float32Array<ArrayBuffer> {
  // The copy is aligned, where the file may have any offset. `new Uint8Array`, because slice() of a
  // Node Buffer is only a view.
  const { buffer } = new Uint8Array(data);
  switch (dtype) {
    case 'F32':
      return new Float32Array(buffer);
    case 'F16':
      return fromHalf(new Uint16Array(buffer));
    case 'BF16':
      // The upper half of a float32's bits.
      return new Float32Array(
        Uint32Array.from(new Uint16Array(buffer), (bits) => bits << 16).buffer,
      );
    case 'I32':
      return Float32Array.from(new Int32Array(buffer));
    case 'I64':
      return Float32Array.from(new BigInt64Array(buffer), Number);
    default:
      return Float32Array.from(data);
  }
}
