// What the page knows of the models that its fields name: files that were dropped for them, and
// what their folders say of themselves.

import { create } from 'zustand';
import type { Config } from '../../config';
import { modelReference } from '../../model-reference';
import type {
  DroppedFiles,
  Failure,
  FromWorker,
  MemoryPlan,
  ModelReport,
  Role,
} from '../../worker/protocol';
import { listen, send } from '../shared/client';

/**
 * The state of a question about one model. It belongs to the reference, and for dropped files to
 * those files.
 */
export interface LookUp {
  id: number;
  reference: string;
  report?: ModelReport;
  failure?: Failure;
}

/** What a run of these settings will take, or why that is not known. */
export interface Planned {
  id: number;
  /** A plan is of the settings that it was made for. */
  config: Config;
  plan?: MemoryPlan;
  failure?: Failure;
}

interface ModelStore {
  planned?: Planned;
  dropped: DroppedFiles;
  lookUps: Partial<Record<Role, LookUp>>;
  /** Takes a folder's files for a model, and asks what they are. */
  drop(role: Role, files: ReadonlyMap<string, Blob>): void;
  /** Asks the folder what it is: config.json and headers are read, nothing else. */
  lookUp(role: Role, reference: string): void;
  /** Asks what a run of these settings will take of the GPU. */
  plan(config: Config): void;
}

let questions = 0;

export const useModels = create<ModelStore>()((set, get) => {
  const answer = (message: FromWorker) => {
    const { lookUps } = get();
    if (message.type === 'inspected') {
      const { type: _, role, ...found } = message;
      const asked = lookUps[role];
      if (asked?.id === found.id) set({ lookUps: { ...lookUps, [role]: { ...asked, ...found } } });
    }
    const { planned } = get();
    if (message.type === 'planned' && planned?.id === message.id)
      set({ planned: { ...planned, ...message } });
    if (message.type === 'failed') {
      if (planned && !planned.plan && !planned.failure)
        set({ planned: { ...planned, failure: message.failure } });
      // A worker that ended takes its questions with it.
      for (const role of ['teacher', 'student'] as const) {
        const asked = get().lookUps[role];
        if (!asked || asked.report || asked.failure) continue;
        set({ lookUps: { ...get().lookUps, [role]: { ...asked, failure: message.failure } } });
      }
    }
  };
  listen(answer);
  return {
    dropped: {},
    lookUps: {},
    drop(role, files) {
      set({ dropped: { ...get().dropped, [role]: files }, planned: undefined });
      get().lookUp(role, 'files');
    },
    lookUp(role, reference) {
      const id = ++questions;
      const { dropped, lookUps } = get();
      set({ lookUps: { ...lookUps, [role]: { id, reference } } });
      send({
        type: 'inspect',
        id,
        role,
        reference,
        ...(reference === 'files' && { files: dropped }),
      });
    },
    plan(config) {
      const id = ++questions;
      set({ planned: { id, config } });
      send({ type: 'plan', id, config, files: get().dropped });
    },
  };
});

/** Why a run cannot load this model yet. */
export function missingFiles(
  role: Role,
  reference: string,
  dropped: DroppedFiles,
): string | undefined {
  return modelReference(reference)?.kind === 'files' && !dropped[role]
    ? `Drop the ${role}’s folder or .zip on its field first.`
    : undefined;
}

/**
 * The files of a model among those dropped, by their path in its folder: the one where config.json
 * lies. Or a .zip alone.
 */
export function modelFolder(
  files: readonly { path: string; file: File }[],
): Map<string, File> | string {
  const [first] = files;
  // The worker reads it: what is in it is known there.
  if (files.length === 1 && /\.zip$/i.test(first.path))
    return new Map([[first.file.name, first.file]]);
  const configs = files
    .filter(({ path }) => /(^|\/)config\.json$/.test(path))
    .map(({ path }) => path);
  if (configs.length === 0)
    return `There is no config.json among these ${files.length} files. Drop the model’s whole folder, or its .zip.`;
  const depth = (path: string) => path.split('/').length;
  const [config] = configs.sort((a, b) => depth(a) - depth(b));
  const folder = config.slice(0, -'config.json'.length);
  const own = files.filter(
    ({ path }) => path.startsWith(folder) && /\.(json|txt|safetensors|onnx)$/.test(path),
  );
  return new Map(own.map(({ path, file }) => [path.slice(folder.length), file]));
}
