// A .zip as other programs write it, or as no program should.

import { deflateRawSync, gzipSync } from 'node:zlib';
import { HEADER, SIGNATURE } from '../src/files/zip';

/** Node's own CRC-32: gzip writes it before the length at the end. */
export const zlibCrc32 = (bytes: Uint8Array) =>
  gzipSync(bytes).readUInt32LE(gzipSync(bytes).length - 8);

export interface PackedEntry {
  name: string;
  content: Uint8Array;
  deflate?: boolean;
  /** Sizes follow the bytes, as in programs that do not know them beforehand. */
  sizesLater?: boolean;
  /** Wrong values, to put into the directory and into the entry's own header. */
  directory?: Partial<Record<'flags' | 'method' | 'crc' | 'stored' | 'size' | 'offset', number>>;
  header?: Partial<Record<'method' | 'crc' | 'stored' | 'size', number>> & { name?: string };
}

/** A .zip as other programs write it, or as no program should. */
export function pack(
  entries: PackedEntry[],
  end: { count?: number; comment?: string; bytes?: number } = {},
): Blob {
  const buffers: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const { name, content, deflate, sizesLater, directory: listed, header } of entries) {
    const data = deflate ? deflateRawSync(content) : Buffer.from(content);
    const truth = {
      flags: sizesLater ? 8 : 0,
      method: deflate ? 8 : 0,
      crc: zlibCrc32(content),
      stored: data.length,
      size: content.length,
      offset,
    };
    const there = { ...truth, ...listed };
    const here = { ...truth, ...(sizesLater ? { crc: 0, stored: 0, size: 0 } : {}), ...header };
    const bytes = Buffer.from(name);
    const headerName = Buffer.from(header?.name ?? name);
    const head = Buffer.alloc(HEADER.entry);
    head.writeUInt32LE(SIGNATURE.entry);
    head.writeUInt16LE(there.flags, 6);
    head.writeUInt16LE(here.method, 8);
    for (const [at, value] of [here.crc, here.stored, here.size].entries())
      head.writeUInt32LE(value, 14 + 4 * at);
    head.writeUInt16LE(headerName.length, 26);
    const tail = sizesLater ? Buffer.alloc(16) : Buffer.alloc(0);
    const row = Buffer.alloc(HEADER.directory);
    row.writeUInt32LE(SIGNATURE.directory);
    row.writeUInt16LE(there.flags, 8);
    row.writeUInt16LE(there.method, 10);
    for (const [at, value] of [there.crc, there.stored, there.size].entries())
      row.writeUInt32LE(value, 16 + 4 * at);
    row.writeUInt16LE(bytes.length, 28);
    row.writeUInt32LE(there.offset, 42);
    directory.push(row, bytes);
    buffers.push(head, headerName, data, tail);
    offset += head.length + headerName.length + data.length + tail.length;
  }
  const list = Buffer.concat(directory);
  const last = Buffer.alloc(HEADER.end);
  last.writeUInt32LE(SIGNATURE.end);
  for (const at of [8, 10]) last.writeUInt16LE(end.count ?? entries.length, at);
  last.writeUInt32LE(end.bytes ?? list.length, 12);
  last.writeUInt32LE(offset, 16);
  last.writeUInt16LE(end.comment?.length ?? 0, 20);
  return new Blob([Buffer.concat([...buffers, list, last, Buffer.from(end.comment ?? '')])]);
}
