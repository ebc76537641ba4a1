// What the page knows of the models that its fields name: files that were dropped for them, what
// their folders say of themselves, and what a run with them would need.

import { create } from 'zustand';
import { modelReference } from '../../model-reference';
import type { DroppedFiles, ModelReport, Requests, Role, RunPlan } from '../../worker/protocol';
import { request } from '../shared/client';
import { requestStore } from '../shared/request';

interface ModelStore {
  dropped: DroppedFiles;
  /** Takes a folder's files for a model, and looks up what they are. */
  drop(role: Role, files: ReadonlyMap<string, Blob>, teacher?: string): void;
}

/** A model to look up: its reference, and for a student its teacher's, which it must fit. */
export interface LookedUp {
  reference: string;
  teacher?: string;
}

export const useModels = create<ModelStore>()((set, get) => ({
  dropped: {},
  drop(role, files, teacher) {
    set({ dropped: { ...get().dropped, [role]: files } });
    usePlan.getState().drop();
    lookUps[role].getState().start({ reference: 'files', teacher });
  },
}));

/** Reads the config.json and headers of the model that a reference names, and compares. */
const lookUpStore = (role: Role) =>
  requestStore<LookedUp, ModelReport>(({ reference, teacher }) => {
    const { dropped } = useModels.getState();
    const files = [reference, teacher].includes('files') ? { files: dropped } : {};
    // A teacher whose files are still missing cannot be compared.
    const missing = teacher === undefined || missingFiles('teacher', teacher, dropped);
    return request('inspect', { role, reference, ...(!missing && { teacher }), ...files });
  });

export const lookUps = { teacher: lookUpStore('teacher'), student: lookUpStore('student') };

/** Estimates what a run with these settings needs. */
export const usePlan = requestStore<Omit<Requests['plan']['input'], 'files'>, RunPlan>((input) =>
  request('plan', { ...input, files: useModels.getState().dropped }),
);

/** Why a run cannot load this model yet. */
export function missingFiles(
  role: Role,
  reference: string,
  dropped: DroppedFiles,
): string | undefined {
  return modelReference(reference)?.kind === 'files' && !dropped[role]
    ? `Drop the ${role}’s folder or .zip on the ${role} field first.`
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
  // Only the worker reads what is in it.
  if (files.length === 1 && /\.zip$/i.test(first.path))
    return new Map([[first.file.name, first.file]]);
  const configs = files
    .filter(({ path }) => /(^|\/)config\.json$/.test(path))
    .map(({ path }) => path);
  if (configs.length === 0)
    return (
      `There is no config.json among these ${files.length} files. ` +
      'Drop the model’s whole folder, or its .zip.'
    );
  const depth = (path: string) => path.split('/').length;
  const [config] = configs.sort((a, b) => depth(a) - depth(b));
  const folder = config.slice(0, -'config.json'.length);
  const inFolder = files.filter(
    ({ path }) => path.startsWith(folder) && /\.(json|jinja|txt|safetensors|onnx)$/.test(path),
  );
  return new Map(inFolder.map(({ path, file }) => [path.slice(folder.length), file]));
}
