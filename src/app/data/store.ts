// The user's data before a run. New data is proposed first, and replaces the data in use only once
// the worker has read all of it.

import { create } from 'zustand';
import { textOf } from '../../built-in';
import type { Config } from '../../config';
import type { DataPreview, FileReport, Reading, UserCorpus } from '../../worker/protocol';
import { useRun } from '../run/store';
import { request } from '../shared/client';
import { formatBytes } from '../shared/format';
import { latestRequest } from '../shared/request';

/** The worker's limit for one file (data/corpus.ts), applied to all of them together. */
const MAX_BYTES = 20_000_000;
/** The most common name of a field or column with text. */
const USUAL_COLUMN = 'text';

interface PreviewSettings {
  /** As previewSettings() has them. */
  settings: string;
  contextLength: number;
}

/** A preview of the data in use, with the settings that it was made with. */
type ShownPreview = DataPreview & PreviewSettings & { files: FileReport[] };

export interface DataStore {
  /** How the next files are read. */
  reading: Reading;
  /** Files that the worker reads or has refused. */
  proposed?: UserCorpus;
  busy: boolean;
  /** What the files hold that were read last. */
  files: FileReport[];
  problem?: string;
  /** The longest context that the proposed text is enough for, if it is too short for this one. */
  longestContext?: number;
  preview?: ShownPreview;
  /** Text that is being pasted and not yet read; undefined while nothing is. */
  draft?: string;

  /** Reads files from disk, in place of the present ones. */
  addFiles(files: readonly File[]): Promise<void>;
  /** Opens, changes or, with undefined, closes the text that is being pasted. */
  setDraft(text: string | undefined): void;
  paste(text: string): void;
  setReading(reading: Reading): void;
  /** Previews what a run with the current settings would read. */
  show(): void;
  /** Shortens the context to what the proposed text is enough for, and reads it again. */
  fitContext(): void;
  /** Drops the proposed files; the data in use stays. */
  discard(): void;
  /** Back to the built-in text. */
  clear(): void;
}

const NOTHING_PROPOSED = { proposed: undefined, problem: undefined, longestContext: undefined };

/** "talk.csv", "3 files" */
export const nameOf = ({ files }: UserCorpus) =>
  files.length === 1 ? files[0].name : `${files.length} files`;

/** What the next run would read. */
export const nameInUse = (corpus: UserCorpus | undefined, config: Config) =>
  corpus ? nameOf(corpus) : textOf(config).label;

/** Why no run may start: it would train on something else than the data that was chosen. */
export function dataObstacle(
  { proposed, busy }: DataStore,
  used: UserCorpus | undefined,
): string | undefined {
  if (!proposed) return undefined;
  if (busy) return `${nameOf(proposed)} is being read.`;
  const name = proposed.files === used?.files ? 'The data' : nameOf(proposed);
  return `${name} cannot be used yet. See Data.`;
}

/** The settings that a preview depends on. */
export function previewSettings(): string {
  const { config } = useRun.getState();
  const { teacher_model, batch_size, max_length, seed, packing, assistant_only_loss } = config;
  return JSON.stringify([
    teacher_model,
    batch_size,
    max_length,
    seed,
    packing,
    assistant_only_loss,
  ]);
}

export const useData = create<DataStore>()((set, get) => {
  /** The settings of the newest reading. */
  let readWith: PreviewSettings = { settings: '', contextLength: 0 };

  const latest = latestRequest<DataPreview | undefined, FileReport[]>((state) => {
    const files = state.progress ?? get().files;
    if (state.status === 'failed') {
      const { message, hint = '', longestContext } = state.failure;
      set({ busy: false, files, problem: `${message} ${hint}`.trim(), longestContext });
    } else if (state.status === 'done' && state.value) {
      const { proposed } = get();
      useRun.getState().setCorpus(proposed);
      const preview = { ...state.value, ...readWith, files };
      set({ busy: false, files, proposed: undefined, preview });
    } else {
      set({ busy: state.status === 'running', files });
    }
  });

  function read(corpus: UserCorpus | undefined): void {
    const { config, corpus: used } = useRun.getState();
    const { proposed, files } = get();
    // The same files keep their columns while they are read in another way.
    const isSame = corpus?.files === (proposed ?? used)?.files;
    set({
      proposed: corpus,
      files: isSame ? files : [],
      problem: undefined,
      longestContext: undefined,
    });
    readWith = { settings: previewSettings(), contextLength: config.max_length };
    latest.start((report) => request('preview', { config, ...(corpus && { corpus }) }, report));
  }

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
        const what = files.length === 1 ? `${files[0].name} is` : `These ${files.length} files are`;
        const limit = formatBytes(MAX_BYTES);
        return set({
          problem: `${what} ${formatBytes(bytes)}. The limit is ${limit}. Choose less text.`,
        });
      }
      try {
        const contents = files.map(async (file) => ({
          name: file.name,
          bytes: await file.arrayBuffer(),
        }));
        read({ files: await Promise.all(contents), reading: get().reading });
      } catch (error) {
        const names = files.map(({ name }) => name).join(', ');
        const reason = error instanceof Error ? error.message : error;
        set({ problem: `${names} could not be read: ${reason}. Choose again.` });
      }
    },

    setDraft: (draft) => set({ draft }),

    paste(text) {
      const bytes = new TextEncoder().encode(text);
      if (bytes.length > MAX_BYTES) {
        return set({
          problem:
            `The pasted text is ${formatBytes(bytes.length)}. ` +
            `The limit is ${formatBytes(MAX_BYTES)}.`,
        });
      }
      read({ files: [{ name: 'pasted.txt', bytes }], reading: get().reading });
    },

    setReading(reading) {
      set({ reading });
      const corpus = get().proposed ?? useRun.getState().corpus;
      if (corpus) read({ ...corpus, reading });
    },

    show: () => read(get().proposed ?? useRun.getState().corpus),

    fitContext() {
      const { longestContext } = get();
      if (longestContext === undefined) return;
      useRun.getState().setField('max_length', String(longestContext));
      get().show();
    },

    discard() {
      latest.drop();
      const { preview, reading } = get();
      set({
        ...NOTHING_PROPOSED,
        files: preview?.files ?? [],
        reading: useRun.getState().corpus?.reading ?? reading,
      });
    },

    clear() {
      latest.drop();
      useRun.getState().setCorpus(undefined);
      set({ ...NOTHING_PROPOSED, files: [], preview: undefined });
    },
  };
});
