// The user's files as documents, with a report for each: a file that cannot be read does not keep the others from being told.

import { CorpusError } from '../data/corpus';
import { ColumnsError, type Document, readDocuments } from '../data/documents';
import type { FileReport, UserCorpus } from './protocol';

export function inspectFiles({ files, reading }: UserCorpus): { files: FileReport[]; documents: Document[] } {
  const documents: Document[] = [];
  const reports = files.map((file): FileReport => {
    try {
      const { documents: found, columns, empty } = readDocuments(file, reading);
      for (const document of found) documents.push(document);
      return { name: file.name, documents: found.length, empty, columns };
    } catch (error) {
      if (!(error instanceof CorpusError)) throw error;
      const columns = error instanceof ColumnsError ? error.columns : [];
      return { name: file.name, documents: 0, empty: 0, columns, problem: `${error.message} ${error.hint}` };
    }
  });
  return { files: reports, documents };
}
