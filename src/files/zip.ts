// Writes a .zip whose entries are stored as they are: weights do not compress. Entries come in
// chunks, each handed to a Blob at once, which a browser may keep on disk, so a large model is
// never in memory whole.

import { ExportError } from './pieces';

/** An entry of a length that is known before its bytes are. */
export interface ZipEntry {
  name: string;
  bytes: number;
  chunks(): AsyncIterable<Uint8Array<ArrayBuffer>>;
}

export interface ZipOptions {
  /** When the entries were last changed. */
  date: Date;
  /** Called for each chunk: bytes of all entries so far, of how many. */
  onProgress?: (name: string, written: number, total: number) => void;
}

/** Signatures of the parts of a .zip. */
export const SIGNATURE = { entry: 0x04034b50, directory: 0x02014b50, end: 0x06054b50 } as const;
/** Bytes of each part, without what varies in length. */
export const HEADER = { entry: 30, directory: 46, end: 22 } as const;
/**
 * Sizes and offsets are 32 bits wide; this one says that a 64-bit one follows, which we neither
 * write nor read.
 */
export const ZIP64 = 0xffffffff;
/** 2.0: the version of the format that has folders. */
const VERSION = 20;
/** Names are UTF-8. */
const UTF8 = 0x0800;

/**
 * The file, in the entries' order.
 * @throws ExportError if it would exceed 4 GiB
 * @throws Error if an entry's bytes are not as many as it said, or whatever its chunks throw
 */
export async function writeZip(
  entries: readonly ZipEntry[],
  { date, onProgress }: ZipOptions,
): Promise<Blob> {
  const names = entries.map(({ name }) => new TextEncoder().encode(name));
  const total = entries.reduce((sum, { bytes }) => sum + bytes, 0);
  const around = names.reduce<number>(
    (sum, { length }) => sum + HEADER.entry + HEADER.directory + 2 * length,
    HEADER.end,
  );
  if (total + around >= ZIP64) {
    const gib = (total / 2 ** 30).toFixed(2);
    throw new ExportError(
      `write the .zip: its files have ${gib} GiB, and a .zip holds 4. Take the weights in float16.`,
    );
  }
  const parts: BlobPart[] = [];
  const directory: Uint8Array<ArrayBuffer>[] = [];
  let offset = 0;
  let written = 0;
  for (const [i, { name, bytes, chunks }] of entries.entries()) {
    const at = parts.push('') - 1;
    let crc = 0;
    const before = written;
    for await (const chunk of chunks()) {
      crc = crc32(chunk, crc);
      parts.push(new Blob([chunk]));
      written += chunk.length;
      onProgress?.(name, written, total);
    }
    if (written - before !== bytes) {
      throw new Error(
        `write the .zip: ${name} has ${written - before} bytes, and ${bytes} were announced.`,
      );
    }
    const facts = factsOf({ crc, bytes, nameBytes: names[i].length, date });
    const header = [...u32(SIGNATURE.entry), ...u16(VERSION), ...facts, ...u16(0), ...names[i]];
    parts[at] = Uint8Array.from(header);
    directory.push(
      Uint8Array.from([
        ...[...u32(SIGNATURE.directory), ...u16(VERSION), ...u16(VERSION), ...facts],
        // No extra field, no comment, on disk 0, nothing about its kind.
        ...[...u16(0), ...u16(0), ...u16(0), ...u16(0), ...u32(0), ...u32(offset), ...names[i]],
      ]),
    );
    offset += header.length + bytes;
  }
  const directoryBytes = directory.reduce((sum, { length }) => sum + length, 0);
  const [number, size] = [u16(entries.length), u32(directoryBytes)];
  const end = [
    ...u32(SIGNATURE.end),
    ...u16(0),
    ...u16(0),
    ...number,
    ...number,
    ...size,
    ...u32(offset),
    ...u16(0),
  ];
  return new Blob([...parts, ...directory, Uint8Array.from(end)], { type: 'application/zip' });
}

const u16 = (value: number) => [value & 255, (value >>> 8) & 255];
const u32 = (value: number) => [...u16(value), ...u16(value >>> 16)];

/**
 * What an entry's two headers have in common: flags, method 0 (stored), time, date, CRC, both
 * sizes, length of the name.
 */
function factsOf({
  crc,
  bytes,
  nameBytes,
  date,
}: {
  crc: number;
  bytes: number;
  nameBytes: number;
  date: Date;
}) {
  // Two seconds are the clock's unit, and 1980 its first year.
  const time = (date.getHours() << 11) | (date.getMinutes() << 5) | (date.getSeconds() >> 1);
  const day =
    (Math.max(0, date.getFullYear() - 1980) << 9) | ((date.getMonth() + 1) << 5) | date.getDate();
  const stored = [...u32(bytes), ...u32(bytes)];
  return [
    ...u16(UTF8),
    ...u16(0),
    ...u16(time),
    ...u16(day),
    ...u32(crc),
    ...stored,
    ...u16(nameBytes),
  ];
}

/** For each byte, what it does to the sum: the polynomial is 0xEDB88320, lowest bit first. */
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let sum = byte;
  for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ 0xedb88320 : sum >>> 1;
  return sum;
});

/** The CRC-32 of `bytes`, after those whose CRC-32 was `before`. */
export function crc32(bytes: Uint8Array, before = 0): number {
  let sum = ~before;
  for (let i = 0; i < bytes.length; i++) sum = (sum >>> 8) ^ TABLE[(sum ^ bytes[i]) & 255];
  return ~sum >>> 0;
}
