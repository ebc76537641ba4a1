// The user's data before a run: what was proposed, what the worker found in it, and the data that
// is in use until then. New data takes the place of the old only once the worker has read all of
// it.

import { create } from 'zustand';
import type { DataPreview, FileReport, Reading, UserCorpus } from '../../worker/protocol';
import { useRun } from '../run/store';
import { listen, send } from '../shared/client';
import { formatBytes } from '../shared/format';

/** As many as the worker takes (data/corpus.ts) a file, and here in all; more are not even read. */
const MAX_BYTES = 20_000_000;
/** How a field or column with text is most often called. */
const USUAL_COLUMN = 'text';

/** A preview of the data in use, with the settings that it was made with. */
type Shown = DataPreview & { files: FileReport[]; contextLength: number; settings: string };

export interface DataStore {
  /** How the next files are read. */
  reading: Reading;
  /** Files that the worker reads or has refused. */
  proposed?: UserCorpus;
  busy: boolean;
  /** The worker's word on the files that it read last. */
  files: FileReport[];
  problem?: string;
  preview?: Shown;

  /** Files from disk, in place of those there are. */
  addFiles(files: readonly File[]): Promise<void>;
  paste(text: string): void;
  setReading(reading: Reading): void;
  /** Counts and shows what a run with the present settings would read. */
  show(): void;
  /** Drops what was proposed; the data in use stays. */
  discard(): void;
  /** The built-in book again. */
  clear(): void;
}

/** The settings that a preview depends on. */
export function previewSettings(): string {
  const { teacher_model, batch_size, max_length, seed } = useRun.getState().config;
  return JSON.stringify({ teacher_model, batch_size, max_length, seed });
}

export const useData = create<DataStore>()((set, get) => {
  let asked = 0;
  let settings = '';
  let contextLength = 0;

  function ask(corpus: UserCorpus | undefined): void {
    const { config } = useRun.getState();
    settings = previewSettings();
    contextLength = config.max_length;
    asked += 1;
    const { proposed, files } = get();
    // Read in another way, the same files have the same columns to choose from.
    const isSame = corpus?.files === (proposed ?? useRun.getState().corpus)?.files;
    set({ proposed: corpus, busy: true, files: isSame ? files : [], problem: undefined });
    send({ type: 'preview', id: asked, config, ...(corpus && { corpus }) });
  }

  listen((message) => {
    if (message.type === 'failed' && get().busy) {
      // A worker that could not start, or that died, answers no more.
      if (message.failure.operation === 'run the worker')
        set({ busy: false, problem: message.failure.message });
    }
    if (message.type !== 'preview' || message.id !== asked) return;
    const { files, preview, failure } = message;
    if (!preview) {
      return set({
        busy: false,
        files,
        problem: failure && `${failure.message} ${failure.hint ?? ''}`.trim(),
      });
    }
    useRun.getState().setCorpus(get().proposed);
    set({
      busy: false,
      files,
      proposed: undefined,
      preview: { ...preview, files, settings, contextLength },
    });
  });

  return {
    reading: { format: 'text', columns: [USUAL_COLUMN] },
    busy: false,
    files: [],

    async addFiles(files) {
      const bytes = files.reduce((sum, { size }) => sum + size, 0);
      const empty = files.find(({ size }) => size === 0);
      if (empty)
        return set({ problem: `${empty.name} is empty. Choose a text of a few thousand words.` });
      if (bytes > MAX_BYTES) {
        const what =
          files.length === 1 ? `${files[0].name} has` : `These ${files.length} files have`;
        const allowed = formatBytes(MAX_BYTES);
        return set({
          problem: `${what} ${formatBytes(bytes)}. A text may have ${allowed}. Cut it and choose it again.`,
        });
      }
      try {
        const read = files.map(async (file) => ({
          name: file.name,
          bytes: await file.arrayBuffer(),
        }));
        ask({ files: await Promise.all(read), reading: get().reading });
      } catch (error) {
        const names = files.map(({ name }) => name).join(', ');
        set({
          problem: `${names}: not read, ${error instanceof Error ? error.message : error}. Choose it again.`,
        });
      }
    },

    paste(text) {
      const bytes = new TextEncoder().encode(text);
      if (bytes.length > MAX_BYTES) {
        return set({
          problem: `The pasted text has ${formatBytes(bytes.length)}. It may have ${formatBytes(MAX_BYTES)}.`,
        });
      }
      ask({ files: [{ name: 'pasted.txt', bytes }], reading: get().reading });
    },

    setReading(reading) {
      set({ reading });
      const corpus = get().proposed ?? useRun.getState().corpus;
      if (corpus) ask({ ...corpus, reading });
    },

    show: () => ask(get().proposed ?? useRun.getState().corpus),

    discard() {
      asked += 1;
      const { preview, reading } = get();
      const kept = useRun.getState().corpus?.reading ?? reading;
      set({
        proposed: undefined,
        busy: false,
        files: preview?.files ?? [],
        problem: undefined,
        reading: kept,
      });
    },

    clear() {
      asked += 1;
      useRun.getState().setCorpus(undefined);
      set({ proposed: undefined, busy: false, files: [], problem: undefined, preview: undefined });
    },
  };
});
