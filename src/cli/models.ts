// Opens the command line's models: from the built-in folder, from a folder on this machine, or from
// Hugging Face through a cache on disk.

import { open, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Config } from '../config';
import { dtypeOf } from '../distill/run-setup';
import { openStudent, requireSameVocabulary, type StudentStart } from '../distill/student-start';
import {
  type FolderTokenizer,
  mayTryBoth,
  openTeacher,
  openTokenizer,
  type TeacherFolder,
} from '../distill/teacher/folder';
import { openTwoVocabularies } from '../distill/vocabularies';
import { fingerprinted } from '../files/fingerprint';
import { hubSource } from '../files/hub';
import { type Folder, folderSource, type ModelSource, type Progress } from '../files/source';
import type { Gpu } from '../gpu/device';
import { modelReference } from '../model-reference';
import { identities, type ModelIdentities, type OpenedModel } from '../runs/identity';
import { diskCache } from './disk-cache';
import type { Places } from './flags';
import { loadedText } from './progress';

const BUILT_IN = 'public/models';
/** Where models are kept by default, and which adapters passed the check of the kernels. */
export const CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'stillhouse');
/** How often a long download is reported. */
const PROGRESS_MILLISECONDS = 5000;

export interface OpenModels {
  /** The student's, and the teacher's if it has another vocabulary. */
  tokenizer: FolderTokenizer;
  teacherTokenizer?: FolderTokenizer;
  teacher: TeacherFolder;
  /** The teacher's folder. */
  source: ModelSource;
  student?: StudentStart;
  /** Once the run is built. */
  identities(): Promise<ModelIdentities>;
  /** Closes the connections. */
  close(): void;
}

export interface ModelPlaces extends Omit<Places, 'data' | 'reading'> {
  cacheDir?: string;
  /** Once aborted, loading throws its reason. */
  signal: AbortSignal;
  say(line: string): void;
}

/**
 * Reads both models' config and headers, and the tokenizer. Weights are read when the run is built.
 */
export async function openModels(
  config: Config,
  gpu: Gpu,
  places: ModelPlaces,
): Promise<OpenModels> {
  const open = (role: 'teacher' | 'student', reference: string): OpenedModel => {
    const [watched, fingerprint] = fingerprinted(sourceOf(role, reference, places));
    return { reference, source: watched, fingerprint };
  };
  const opened = {
    teacher: open('teacher', config.teacher_model),
    student: ['', 'teacher'].includes(config.student_model)
      ? undefined
      : open('student', config.student_model),
  };
  const { source } = opened.teacher;
  const other = opened.student?.source;
  const close = () => {
    for (const each of [source, other]) each?.close();
  };
  try {
    const teacher = await openTeacher(source, {
      engine: config.teacher_engine,
      file: config.teacher_dtype,
      tryBoth: mayTryBoth(config),
      f16: gpu.adapter.f16,
      dtype: dtypeOf(config, gpu),
    });
    const { sizes } = teacher;
    const two = await openTwoVocabularies(config, source, sizes.vocabularySize, other);
    const student = await openStudent(config, source, sizes, other, two !== undefined);
    const tokenizer = two?.tokenizer ?? (await openTokenizer(source, sizes.vocabularySize));
    if (other && !two) await requireSameVocabulary(tokenizer, source, other, places.say);
    return {
      tokenizer,
      teacherTokenizer: two?.teacherTokenizer,
      teacher,
      source,
      student,
      identities: () => identities(opened.teacher, opened.student),
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

/** The folder that a setting names. */
export function sourceOf(
  role: 'teacher' | 'student',
  text: string,
  places: ModelPlaces,
): ModelSource {
  const { hub, cacheDir = CACHE, signal, say } = places;
  const onProgress = progressLines(text, say);
  const reference = modelReference(text);
  if (!reference)
    throw new Error(`${role}_model is ${JSON.stringify(text)}, which cannot name a model.`);
  if (reference.kind === 'hub') {
    const cache = diskCache(cacheDir, (why) =>
      say(`${text} cannot be kept for the next run: ${why}.`),
    );
    return hubSource({
      id: reference.id,
      revision: reference.revision,
      host: hub,
      cache,
      onProgress,
      signal,
    });
  }
  const folder =
    reference.kind === 'built-in' ? `${BUILT_IN}/${reference.name}` : places[`${role}Dir`];
  if (folder === undefined)
    throw new Error(`${role}_model is ${text}, but no folder was given. Use --${role}_dir FOLDER.`);
  return folderSource(folder, folderOnDisk(folder), undefined, signal);
}

function folderOnDisk(folder: string): Folder {
  return {
    async size(file) {
      try {
        const stats = await stat(join(folder, file));
        return stats.isFile() ? stats.size : undefined;
      } catch (error) {
        if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? ''))
          return undefined;
        throw error;
      }
    },
    async range(file, from, to) {
      const opened = await open(join(folder, file));
      try {
        const bytes = new Uint8Array(to - from);
        for (let done = 0; done < bytes.length; ) {
          const { bytesRead } = await opened.read(bytes, done, bytes.length - done, from + done);
          if (bytesRead === 0)
            throw new Error(`${join(folder, file)} became shorter while it was read. Try again.`);
          done += bytesRead;
        }
        return bytes;
      } finally {
        await opened.close();
      }
    },
  };
}

/** Prints the progress of a long download every few seconds, and its end. */
function progressLines(label: string, say: ModelPlaces['say']): Progress {
  let last = { file: '', at: 0, printed: false };
  return (file, loaded, total) => {
    const now = performance.now();
    if (file !== last.file) last = { file, at: now, printed: false };
    const done = loaded === total;
    if (now - last.at < PROGRESS_MILLISECONDS && !(done && last.printed)) return;
    last = { file, at: now, printed: !done };
    say(loadedText(file, label, loaded, total));
  };
}
