// A model folder inside a .zip, read without unpacking it first: stored entries are slices of the
// file, deflated ones are unpacked when they are needed. A .zip may come from anywhere, so every
// size and offset in it is checked.

import { shownJson } from '../quote';
import { crc32 } from './crc32';
import { count, ModelFileError, text } from './download';
import { type Folder, folderSource, type ModelSource, type Progress } from './source';
import { HEADER, SIGNATURE, ZIP64 } from './zip';

/** Far more than any model has. */
const MOST_ENTRIES = 1000;
/** The comment after the end record has a 16-bit length. */
const LONGEST_COMMENT = 65535;
/** In bytes. A longer directory of so few entries is damaged or an attack. */
const LONGEST_DIRECTORY = 2 ** 20;
const METHOD = { stored: 0, deflated: 8 } as const;
/** Flag: the sizes follow the entry's bytes, instead of standing in its header. */
const SIZES_LATER = 1 << 3;
/** Flag. */
const ENCRYPTED = 1;
/** Deflate cannot compress by more than this factor. */
const MOST_DEFLATED = 1032;
/** Weights and texts are far from it. Only a bomb is packed like that and large. */
const BOMB = { bytes: 2 ** 26, factor: 50 };

interface Entry {
  name: string;
  flags: number;
  method: number;
  crc: number;
  /** Packed and unpacked size, in bytes. */
  stored: number;
  size: number;
  /** Offsets of its header and of the next entry's. */
  offset: number;
  end: number;
}

/**
 * The model folder in a .zip: the folder of the config.json nearest to the top. Everything is read
 * when it is needed. A file's CRC-32 is checked when it is first read.
 */
export function zipSource(
  name: string,
  zip: Blob,
  onProgress?: Progress,
  signal?: AbortSignal,
): ModelSource {
  const contents = new Map<string, Promise<Blob>>();
  let opening: Promise<Map<string, Entry>> | undefined;
  const entries = () => {
    opening ??= readDirectory(name, zip).then((all) => modelFolder(name, all));
    return opening;
  };
  const content = async (file: string) => {
    const entry = (await entries()).get(file) as Entry;
    const unpacked = contents.get(file) ?? unpack(name, zip, entry, signal);
    contents.set(file, unpacked);
    return unpacked;
  };
  const folder: Folder = {
    size: async (file) => (await entries()).get(file)?.size,
    range: async (file, from, to) =>
      new Uint8Array(await (await content(file)).slice(from, to).arrayBuffer()),
  };
  return folderSource(name, folder, onProgress, signal);
}

/**
 * Every file of a .zip, by its path. Each is read, and its CRC-32 checked, when it is called for.
 * @throws ModelFileError
 */
export async function zipFiles(name: string, zip: Blob): Promise<Map<string, () => Promise<Blob>>> {
  const entries = (await readDirectory(name, zip)).filter((entry) => !entry.name.endsWith('/'));
  return new Map(entries.map((entry) => [entry.name, () => unpack(name, zip, entry)]));
}

const refuse = (zip: string, what: string) =>
  new ModelFileError('model', `${zip}: ${what}. Pack the folder again, or drop the folder itself.`);

/** All entries. @throws ModelFileError that names the .zip and the entry */
async function readDirectory(name: string, zip: Blob): Promise<Entry[]> {
  const invalid = (what: string) => refuse(name, what);
  const read = async (from: number, bytes: number) => {
    try {
      return new DataView(await zip.slice(from, from + bytes).arrayBuffer());
    } catch (error) {
      throw invalid(`it can no longer be read (${text(error)})`);
    }
  };
  const tailFrom = Math.max(0, zip.size - HEADER.end - LONGEST_COMMENT);
  const tail = await read(tailFrom, zip.size - tailFrom);
  let at = tail.byteLength - HEADER.end;
  const isEnd = () =>
    tail.getUint32(at, true) === SIGNATURE.end &&
    tail.getUint16(at + 20, true) === tail.byteLength - at - HEADER.end;
  while (at >= 0 && !isEnd()) at--;
  if (at < 0)
    throw invalid(`${count(zip.size)} bytes without the end of a .zip: incomplete, or not a .zip`);
  const [disk, firstDisk, here, total] = [4, 6, 8, 10].map((field) =>
    tail.getUint16(at + field, true),
  );
  const [bytes, from] = [12, 16].map((field) => tail.getUint32(at + field, true));
  if (disk !== 0 || firstDisk !== 0 || here !== total)
    throw invalid('it is one part of a .zip in several parts');
  if (bytes === ZIP64 || from === ZIP64)
    throw invalid('it is in the format for more than 4 GiB, which is not supported');
  if (total > MOST_ENTRIES)
    throw invalid(`it has ${count(total)} entries; at most ${MOST_ENTRIES} are supported`);
  if (from + bytes !== tailFrom + at)
    throw invalid('its directory is not where its end record says');
  if (bytes > LONGEST_DIRECTORY)
    throw invalid(`its directory of ${total} entries has ${count(bytes)} bytes`);
  const entries = readEntries(await read(from, bytes), total, invalid);

  // Every entry must end before the next one begins, so that none overlap.
  const ordered = [...entries].sort((a, b) => a.offset - b.offset);
  for (const [i, entry] of ordered.entries()) {
    entry.end = ordered[i + 1]?.offset ?? from;
    if (entry.offset + HEADER.entry + entry.stored <= entry.end) continue;
    throw invalid(
      `${entry.name} has ${count(entry.stored)} bytes in the directory, and no room for them`,
    );
  }
  return entries;
}

function readEntries(
  directory: DataView<ArrayBuffer>,
  total: number,
  invalid: (what: string) => Error,
): Entry[] {
  const entries = new Map<string, Entry>();
  let at = 0;
  for (let i = 0; i < total; i++) {
    if (
      at + HEADER.directory > directory.byteLength ||
      directory.getUint32(at, true) !== SIGNATURE.directory
    )
      throw invalid(`entry ${i + 1} of ${total} is missing from its directory`);
    const [flags, method] = [8, 10].map((field) => directory.getUint16(at + field, true));
    const [crc, stored, size] = [16, 20, 24].map((field) => directory.getUint32(at + field, true));
    const lengths = [28, 30, 32].map((field) => directory.getUint16(at + field, true));
    const offset = directory.getUint32(at + 42, true);
    const next = at + HEADER.directory + lengths[0] + lengths[1] + lengths[2];
    if (next > directory.byteLength)
      throw invalid(`entry ${i + 1} of ${total} goes beyond its directory`);
    const bytes = new Uint8Array(directory.buffer, at + HEADER.directory, lengths[0]);
    const name = new TextDecoder().decode(bytes);
    at = next;
    const problem = problemOf({ name, flags, method, stored, size, offset });
    if (problem) throw invalid(`${shownJson(name, 100)} ${problem}`);
    if (entries.has(name)) throw invalid(`${JSON.stringify(name)} is in it twice`);
    entries.set(name, { name, flags, method, crc, stored, size, offset, end: 0 });
  }
  if (at !== directory.byteLength)
    throw invalid(`${count(directory.byteLength - at)} bytes follow its last entry`);
  return [...entries.values()];
}

function problemOf({
  name,
  flags,
  method,
  stored,
  size,
  offset,
}: Omit<Entry, 'crc' | 'end'>): string | undefined {
  const hasBadCharacter = [...name].some(
    (character) => character < ' ' || character === '\\' || character === '\uFFFD',
  );
  if (name === '' || hasBadCharacter || /^\/|^[A-Za-z]:|(^|\/)\.\.?(\/|$)/.test(name))
    return 'is not a path inside a folder';
  if (flags & ENCRYPTED) return 'is encrypted';
  if (method !== METHOD.stored && method !== METHOD.deflated)
    return `is packed with method ${method}; only 0 (stored) and 8 (deflated) are supported`;
  if ([stored, size, offset].includes(ZIP64))
    return 'is in the format for more than 4 GiB, which is not supported';
  if (method === METHOD.stored && stored !== size)
    return `has ${count(stored)} bytes, but claims to unpack to ${count(size)}`;
  if (size > stored * MOST_DEFLATED)
    return `claims that ${count(stored)} bytes unpack to ${count(size)}, which is impossible`;
  if (size > BOMB.bytes && size > stored * BOMB.factor)
    return `would unpack from ${count(stored)} to ${count(size)} bytes, which no model does`;
  return undefined;
}

/** The files of the folder with config.json, by path in that folder. */
function modelFolder(zip: string, entries: readonly Entry[]): Map<string, Entry> {
  const depth = ({ name }: Entry) => name.split('/').length;
  const [config] = entries
    .filter(({ name }) => /(^|\/)config\.json$/.test(name))
    .sort((a, b) => depth(a) - depth(b));
  if (!config)
    throw refuse(zip, `there is no config.json among its ${count(entries.length)} entries`);
  const folder = config.name.slice(0, -'config.json'.length);
  const files = entries.filter(({ name }) => name.startsWith(folder) && !name.endsWith('/'));
  return new Map(files.map((entry) => [entry.name.slice(folder.length), entry]));
}

/** An entry's bytes, read once in full and checked against the directory. */
async function unpack(zip: string, file: Blob, entry: Entry, signal?: AbortSignal): Promise<Blob> {
  const invalid = (what: string) => refuse(zip, `${entry.name} ${what}`);
  const header = new DataView(
    await file.slice(entry.offset, entry.offset + HEADER.entry).arrayBuffer(),
  );
  const differs = () => {
    const sizes = (entry.flags & SIZES_LATER) === 0;
    const fields: [number, number][] = [
      [14, entry.crc],
      [18, entry.stored],
      [22, entry.size],
    ];
    return (
      header.getUint32(0, true) !== SIGNATURE.entry ||
      header.getUint16(8, true) !== entry.method ||
      (sizes && fields.some(([field, value]) => header.getUint32(field, true) !== value))
    );
  };
  if (differs()) throw invalid('has a header that contradicts the directory');
  const [nameBytes, extraBytes] = [26, 28].map((field) => header.getUint16(field, true));
  const from = entry.offset + HEADER.entry;
  const name = new TextDecoder().decode(await file.slice(from, from + nameBytes).arrayBuffer());
  if (name !== entry.name) throw invalid(`is named ${shownJson(name, 100)} in its header`);
  const begin = from + nameBytes + extraBytes;
  if (begin + entry.stored > entry.end)
    throw invalid(`has ${count(entry.stored)} bytes, and no room for them`);
  const packed = file.slice(begin, begin + entry.stored);
  const deflated = entry.method === METHOD.deflated;
  const stream = deflated
    ? packed.stream().pipeThrough(new DecompressionStream('deflate-raw'))
    : packed.stream();

  const pieces: BlobPart[] = [];
  let [size, crc] = [0, 0];
  const reader = stream.getReader();
  try {
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      signal?.throwIfAborted();
      size += piece.value.length;
      // Stop at the first byte too many: the rest may unpack to anything.
      if (size > entry.size) break;
      crc = crc32(piece.value, crc);
      if (deflated) pieces.push(new Blob([piece.value]));
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw invalid(
      `cannot be unpacked after ${count(size)} of ${count(entry.size)} bytes (${text(error)})`,
    );
  } finally {
    await reader.cancel().catch(() => {});
  }
  if (size !== entry.size) {
    const amount = size > entry.size ? 'more than' : `${count(size)} of`;
    throw invalid(`unpacks to ${amount} ${count(entry.size)} bytes`);
  }
  if (crc !== entry.crc) throw invalid('is damaged: its CRC-32 does not match');
  return deflated ? new Blob(pieces) : packed;
}
