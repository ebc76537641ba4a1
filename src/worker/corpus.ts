// The texts of a run, the built-in book or the user's files, and their preview before it starts.

import { textOf } from '../built-in';
import type { Config } from '../config';
import { CorpusError, decodeCorpus } from '../data/corpus';
import { ColumnsError, type Document, readDocuments } from '../data/documents';
import { encodeAligned, encodeDocuments } from '../data/split';
import type { Tokens } from '../data/tokenizer';
import { previewData } from '../distill/data';
import { type DownloadOptions, download } from '../files/download';
import { base } from './host';
import { type Models, openTokenizerOf } from './models';
import type { DataPreview, FileReport, Requests, UserCorpus } from './protocol';

/** What the page calls these texts. */
export const corpusName = (config: Config, corpus?: UserCorpus) =>
  corpus?.files.map(({ name }) => name).join(', ') ?? textOf(config).file;

/** The user's documents, or the built-in text as a single one. @throws CorpusError */
export async function readTexts(
  config: Config,
  corpus: UserCorpus | undefined,
  options: DownloadOptions,
): Promise<Document[]> {
  if (corpus) return corpus.files.flatMap((file) => readDocuments(file, corpus.reading).documents);
  const { file } = textOf(config);
  return [[decodeCorpus(file, await download(new URL(file, base), options))]];
}

/** The data encoded last: a run from the same start, or after a preview, encodes nothing. */
let last: { key: string; documents: Tokens[] } | undefined;

/** The tokens of each document. @throws CorpusError as `encodeDocuments`, `encodeAligned` do */
export function encodeTexts(
  documents: readonly Document[],
  { tokenizer, teacherTokenizer }: Pick<Models, 'tokenizer' | 'teacherTokenizer'>,
  config: Config,
): Tokens[] {
  const files = [tokenizer, teacherTokenizer].map((each) =>
    [...(each?.files.values() ?? [])].map((bytes) => new TextDecoder().decode(bytes)),
  );
  const assistantOnly = config.assistant_only_loss === 'on';
  const key = JSON.stringify([documents, files, assistantOnly]);
  if (last?.key !== key) {
    const encoded = teacherTokenizer
      ? encodeAligned(documents, tokenizer, teacherTokenizer, assistantOnly)
      : encodeDocuments(documents, tokenizer, assistantOnly);
    last = { key, documents: encoded };
  }
  return last.documents;
}

/**
 * Reads the data as a run would, and reports on the files. Undefined if one of them has a problem.
 * @throws CorpusError
 */
export async function preview(
  { config, corpus, files: dropped = {} }: Requests['preview']['input'],
  report: (files: FileReport[]) => void,
): Promise<DataPreview | undefined> {
  let texts: Document[];
  if (corpus) {
    const { files, documents } = inspectFiles(corpus);
    report(files);
    if (files.some(({ problem }) => problem !== undefined)) return undefined;
    texts = documents;
  } else texts = await readTexts(config, undefined, {});
  const models = await openTokenizerOf(config, { files: dropped, base });
  return previewData(encodeTexts(texts, models, config), config, models.tokenizer);
}

/** The user's documents, and a report for each file: one bad file does not hide the others. */
function inspectFiles({ files, reading }: UserCorpus): {
  files: FileReport[];
  documents: Document[];
} {
  const documents: Document[] = [];
  const reports = files.map((file): FileReport => {
    try {
      const { documents: ofFile, columns, empty } = readDocuments(file, reading);
      for (const document of ofFile) documents.push(document);
      return { name: file.name, documents: ofFile.length, empty, columns };
    } catch (error) {
      if (!(error instanceof CorpusError)) throw error;
      const columns = error instanceof ColumnsError ? error.columns : [];
      return {
        name: file.name,
        documents: 0,
        empty: 0,
        columns,
        problem: `${error.message} ${error.hint}`,
      };
    }
  });
  return { files: reports, documents };
}
