// Writes a .zip with uncompressed entries, because weights do not compress. Each chunk of an entry
// becomes a Blob at once, which a browser may keep on disk, so that a large model is never in
// memory as a whole.

import { crc32 } from './crc32';
import { ExportError } from './pieces';

/** An entry whose length is known before its bytes. */
export interface ZipEntry {
  name: string;
  bytes: number;
  chunks(): AsyncIterable<Uint8Array<ArrayBuffer>>;
}

export interface ZipOptions {
  /** What the file holds, and what to do if that is too large for a .zip. */
  what: string;
  instead: string;
  /** Modification date of all entries. */
  date: Date;
  /** Called for each chunk, with the bytes of all entries so far and their total. */
  onProgress?: (name: string, written: number, total: number) => void;
}

/** Signatures of the parts of a .zip. */
export const SIGNATURE = { entry: 0x04034b50, directory: 0x02014b50, end: 0x06054b50 } as const;
/** Length of each part in bytes, without its fields of variable length. */
export const HEADER = { entry: 30, directory: 46, end: 22 } as const;
/** As a 32-bit size or offset: "a 64-bit one follows". Neither written nor read here. */
export const ZIP64 = 0xffffffff;
/** Version 2.0 of the format, which introduced folders. */
const VERSION = 20;
/** Flag: names are UTF-8. */
const UTF8 = 0x0800;

/**
 * Writes the entries in order.
 * @throws ExportError if the file would exceed 4 GiB
 * @throws Error if an entry's chunks do not add up to its length; and whatever its chunks throw
 */
export async function writeZip(
  entries: readonly ZipEntry[],
  { what, instead, date, onProgress }: ZipOptions,
): Promise<Blob> {
  const names = entries.map(({ name }) => new TextEncoder().encode(name));
  const total = entries.reduce((sum, { bytes }) => sum + bytes, 0);
  const overhead = names.reduce<number>(
    (sum, { length }) => sum + HEADER.entry + HEADER.directory + 2 * length,
    HEADER.end,
  );
  requireFit(total + overhead, { what, instead });
  const blobs: BlobPart[] = [];
  const directory: Uint8Array<ArrayBuffer>[] = [];
  let offset = 0;
  let written = 0;
  for (const [i, { name, bytes, chunks }] of entries.entries()) {
    const at = blobs.push('') - 1;
    let crc = 0;
    const before = written;
    for await (const chunk of chunks()) {
      crc = crc32(chunk, crc);
      blobs.push(new Blob([chunk]));
      written += chunk.length;
      onProgress?.(name, written, total);
    }
    if (written - before !== bytes) {
      throw new Error(
        `write the .zip: ${name} has ${written - before} bytes, but ${bytes} were announced.`,
      );
    }
    const fields = commonFields({ crc, bytes, nameBytes: names[i].length, date });
    const header = [...u32(SIGNATURE.entry), ...u16(VERSION), ...fields, ...u16(0), ...names[i]];
    blobs[at] = Uint8Array.from(header);
    directory.push(
      Uint8Array.from([
        ...[...u32(SIGNATURE.directory), ...u16(VERSION), ...u16(VERSION), ...fields],
        // No extra field, no comment, disk 0, no internal or external attributes.
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
  return new Blob([...blobs, ...directory, Uint8Array.from(end)], { type: 'application/zip' });
}

/** @throws ExportError if so many bytes are more than a .zip holds */
export function requireFit(
  bytes: number,
  { what, instead }: Pick<ZipOptions, 'what' | 'instead'>,
): void {
  if (bytes < ZIP64) return;
  const gib = (bytes / 2 ** 30).toFixed(2);
  throw new ExportError(`${what} has ${gib} GiB, but a .zip holds 4. ${instead}`);
}

const u16 = (value: number) => [value & 255, (value >>> 8) & 255];
const u32 = (value: number) => [...u16(value), ...u16(value >>> 16)];

/**
 * The fields that an entry's two headers share: flags, method 0 (stored), time, date, CRC, both
 * sizes, length of the name.
 */
function commonFields({
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
  // MS-DOS time: units of two seconds, years from 1980.
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
