// The texts of a run: the built-in one, the user's files, or those that a resumed run has kept.

import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { textOf } from '../built-in';
import type { Config } from '../config';
import { decodeCorpus } from '../data/corpus';
import { type CorpusFile, type Document, type Reading, readDocuments } from '../data/documents';
import type { RunSettings } from '../runs/journal';
import type { RunStorage } from '../runs/storage';
import { readTexts } from '../runs/texts';
import type { Places } from './flags';

/** The user's own files. */
export interface OwnTexts {
  files: CorpusFile[];
  reading: Reading;
}

/** The kept texts of a resumed run, else the files that are named. Undefined for the built-in. */
export async function openTexts(
  { data, reading }: Places,
  storage: RunStorage,
  kept: RunSettings['texts'],
): Promise<OwnTexts | undefined> {
  const files = await readTexts(storage, '', kept);
  if (files) return { files, reading: kept?.reading as Reading };
  if (data.length === 0) return undefined;
  const read = async (path: string) => ({ name: basename(path), bytes: await readFile(path) });
  return { files: await Promise.all(data.map(read)), reading };
}

/** The user's documents, or the built-in text as a single one. */
export async function readDocumentsOf(
  config: Config,
  own: OwnTexts | undefined,
  say: (line: string) => void,
): Promise<Document[]> {
  if (!own) {
    const file = `public/${textOf(config).file}`;
    return [[decodeCorpus(file, await readFile(file))]];
  }
  const all: Document[] = [];
  for (const file of own.files) {
    const { documents, empty } = readDocuments(file, own.reading);
    const skipped = empty > 0 ? `, ${empty} empty values left out` : '';
    say(`${file.name}: ${documents.length} documents${skipped}`);
    for (const document of documents) all.push(document);
  }
  return all;
}

/** What records and the model card call the texts. */
export const corpusOf = (config: Config, own: OwnTexts | undefined) => ({
  name: own?.files.map(({ name }) => name).join(', ') ?? textOf(config).file,
  own: own !== undefined,
});
