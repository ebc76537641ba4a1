// A model's folder in a .zip, read where it lies: stored entries as slices of the file, deflated
// ones unpacked when they are asked for. A .zip comes from anywhere, so whatever it says is checked
// against what it is.

import { count, ModelFileError, text } from './download';
import { type Folder, folderSource, type ModelSource, type Progress } from './source';
import { crc32, HEADER, SIGNATURE, ZIP64 } from './zip';

/** Far more than a model has. */
const MOST_ENTRIES = 1000;
/** A comment's length is 16 bits wide, and the end of the directory stands before it. */
const LONGEST_COMMENT = 65535;
/** A longer list of so few entries is damage or an attack. */
const LONGEST_DIRECTORY = 2 ** 20;
const METHOD = { stored: 0, deflated: 8 } as const;
/** Sizes follow the entry's bytes; the directory has them too. */
const SIZES_LATER = 1 << 3;
const ENCRYPTED = 1;
/** Deflate makes nothing smaller than by this factor. */
const MOST_DEFLATED = 1032;

interface Entry {
  name: string;
  flags: number;
  method: number;
  crc: number;
  /** Bytes in the file, and bytes unpacked. */
  stored: number;
  size: number;
  /** Where its own header begins, and where the next entry's does. */
  offset: number;
  end: number;
}

/**
 * The model's folder in a .zip: where the config.json lies that is nearest to its top. Nothing is
 * read before it is asked for; a file is checked whole, by its CRC-32, when it is first read.
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
    const found = contents.get(file) ?? unpack(name, zip, entry, signal);
    contents.set(file, found);
    return found;
  };
  const folder: Folder = {
    size: async (file) => (await entries()).get(file)?.size,
    range: async (file, from, to) =>
      new Uint8Array(await (await content(file)).slice(from, to).arrayBuffer()),
  };
  return folderSource(name, folder, onProgress, signal);
}

const refuse = (zip: string, what: string) =>
  new ModelFileError('model', `${zip}: ${what}. Pack the folder again, or drop the folder itself.`);

/** The entries by their path. @throws ModelFileError that names the file and the entry */
async function readDirectory(name: string, zip: Blob): Promise<Entry[]> {
  const refused = (what: string) => refuse(name, what);
  const read = async (from: number, bytes: number) => {
    try {
      return new DataView(await zip.slice(from, from + bytes).arrayBuffer());
    } catch (error) {
      throw refused(`it cannot be read any more (${text(error)})`);
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
    throw refused(`${count(zip.size)} bytes without the end of a .zip: it is cut short, or none`);
  const [disk, firstDisk, here, total] = [4, 6, 8, 10].map((field) =>
    tail.getUint16(at + field, true),
  );
  const [bytes, from] = [12, 16].map((field) => tail.getUint32(at + field, true));
  if (disk !== 0 || firstDisk !== 0 || here !== total) throw refused('it is one part of several');
  if (bytes === ZIP64 || from === ZIP64)
    throw refused('it is in the format for more than 4 GiB, which is not read');
  if (total > MOST_ENTRIES)
    throw refused(`it has ${count(total)} entries, and a model has at most ${MOST_ENTRIES}`);
  if (from + bytes !== tailFrom + at)
    throw refused('its list of entries is not where its end says');
  if (bytes > LONGEST_DIRECTORY)
    throw refused(`its list of ${total} entries has ${count(bytes)} bytes`);
  const entries = readEntries(await read(from, bytes), total, refused);

  // Each ends where the next begins at the latest: none lies over another.
  const ordered = [...entries].sort((a, b) => a.offset - b.offset);
  for (const [i, entry] of ordered.entries()) {
    entry.end = ordered[i + 1]?.offset ?? from;
    if (entry.offset + HEADER.entry + entry.stored <= entry.end) continue;
    throw refused(
      `${entry.name} has ${count(entry.stored)} bytes by its list, and the .zip no room for them there`,
    );
  }
  return entries;
}

function readEntries(
  directory: DataView<ArrayBuffer>,
  total: number,
  refused: (what: string) => Error,
): Entry[] {
  const entries = new Map<string, Entry>();
  let at = 0;
  for (let i = 0; i < total; i++) {
    if (
      at + HEADER.directory > directory.byteLength ||
      directory.getUint32(at, true) !== SIGNATURE.directory
    )
      throw refused(`entry ${i + 1} of ${total} is not in its list`);
    const [flags, method] = [8, 10].map((field) => directory.getUint16(at + field, true));
    const [crc, stored, size] = [16, 20, 24].map((field) => directory.getUint32(at + field, true));
    const lengths = [28, 30, 32].map((field) => directory.getUint16(at + field, true));
    const offset = directory.getUint32(at + 42, true);
    const next = at + HEADER.directory + lengths[0] + lengths[1] + lengths[2];
    if (next > directory.byteLength)
      throw refused(`entry ${i + 1} of ${total} goes beyond its list`);
    const bytes = new Uint8Array(directory.buffer, at + HEADER.directory, lengths[0]);
    const name = new TextDecoder().decode(bytes);
    at = next;
    const wrong = problemOf({ name, flags, method, stored, size, offset });
    if (wrong) throw refused(`${JSON.stringify(name.slice(0, 100))} ${wrong}`);
    if (entries.has(name)) throw refused(`${JSON.stringify(name)} is in it twice`);
    entries.set(name, { name, flags, method, crc, stored, size, offset, end: 0 });
  }
  if (at !== directory.byteLength)
    throw refused(`${count(directory.byteLength - at)} bytes follow its list of entries`);
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
  const strange = [...name].some(
    (character) => character < ' ' || character === '\\' || character === '\uFFFD',
  );
  if (name === '' || strange || /^\/|^[A-Za-z]:|(^|\/)\.\.?(\/|$)/.test(name))
    return 'is no path inside a folder';
  if (flags & ENCRYPTED) return 'is encrypted';
  if (method !== METHOD.stored && method !== METHOD.deflated)
    return `is packed by method ${method}; readable are 0 (stored) and 8 (deflated)`;
  if ([stored, size, offset].includes(ZIP64))
    return 'is in the format for more than 4 GiB, which is not read';
  if (method === METHOD.stored && stored !== size)
    return `has ${count(stored)} bytes, and ${count(size)} where it says how long it is`;
  if (size > stored * MOST_DEFLATED)
    return `says that ${count(stored)} bytes unpack to ${count(size)}, which none can`;
  return undefined;
}

/** The files of the folder where config.json lies, by their path in it. */
function modelFolder(zip: string, entries: readonly Entry[]): Map<string, Entry> {
  const depth = ({ name }: Entry) => name.split('/').length;
  const [config] = entries
    .filter(({ name }) => /(^|\/)config\.json$/.test(name))
    .sort((a, b) => depth(a) - depth(b));
  if (!config)
    throw refuse(zip, `there is no config.json among its ${count(entries.length)} entries`);
  const folder = config.name.slice(0, -'config.json'.length);
  const own = entries.filter(({ name }) => name.startsWith(folder) && !name.endsWith('/'));
  return new Map(own.map((entry) => [entry.name.slice(folder.length), entry]));
}

/** An entry's bytes, all of which were read once and are what the directory says. */
async function unpack(zip: string, file: Blob, entry: Entry, signal?: AbortSignal): Promise<Blob> {
  const refused = (what: string) => refuse(zip, `${entry.name} ${what}`);
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
  if (differs()) throw refused('says something else of itself than the list of entries does');
  const [nameBytes, extraBytes] = [26, 28].map((field) => header.getUint16(field, true));
  const from = entry.offset + HEADER.entry;
  const name = new TextDecoder().decode(await file.slice(from, from + nameBytes).arrayBuffer());
  if (name !== entry.name) throw refused(`calls itself ${JSON.stringify(name.slice(0, 100))}`);
  const begin = from + nameBytes + extraBytes;
  if (begin + entry.stored > entry.end)
    throw refused(`has ${count(entry.stored)} bytes, and the .zip no room for them`);
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
      // Not one byte more than it said, whatever the rest may unpack to.
      if (size > entry.size) break;
      crc = crc32(piece.value, crc);
      if (deflated) pieces.push(new Blob([piece.value]));
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw refused(
      `cannot be unpacked after ${count(size)} of ${count(entry.size)} bytes (${text(error)})`,
    );
  } finally {
    await reader.cancel().catch(() => {});
  }
  if (size !== entry.size) {
    throw refused(
      `unpacks to ${size > entry.size ? 'more than' : `${count(size)} of`} ${count(entry.size)} bytes`,
    );
  }
  if (crc !== entry.crc) throw refused('is damaged: its CRC-32 is another');
  return deflated ? new Blob(pieces) : packed;
}
