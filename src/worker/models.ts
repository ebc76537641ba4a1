// Opens a run's models from the page's own folder, from Hugging Face, or from files dropped on the
// page. Nothing is loaded from anywhere else.

import type { Config } from '../config';
import { dtypeOf } from '../distill/run-setup';
import { openStudent, requireSameVocabulary, type StudentStart } from '../distill/student-start';
import {
  type FolderTokenizer,
  inEngine,
  mayTryBoth,
  openTeacher,
  openTokenizer,
} from '../distill/teacher/folder';
import type { EngineChoice, MakeTeacher, TeacherSizes } from '../distill/teacher/teacher';
import { openTwoVocabularies } from '../distill/vocabularies';
import { browserCache } from '../files/block-cache';
import { ModelFileError } from '../files/download';
import { fingerprinted } from '../files/fingerprint';
import { httpSource } from '../files/http';
import { hubSource } from '../files/hub';
import { filesSource, type ModelSource, type Progress, readJson } from '../files/source';
import { zipSource } from '../files/unzip';
import type { Gpu } from '../gpu/device';
import { parseSizes, tryConfig } from '../model/families';
import { planArena } from '../model/parameters';
import { openWeights } from '../model/weights';
import { modelReference } from '../model-reference';
import { identities, type ModelIdentities, type OpenedModel } from '../runs/identity';
import type { DroppedFiles, LoadingStage, ModelReport, Role } from './protocol';

interface Place {
  files: DroppedFiles;
  /** The page's folder. */
  base: URL;
  signal?: AbortSignal;
}

interface Report {
  /** `done` and `total` are bytes. */
  stage(stage: LoadingStage, detail: string, done?: number, total?: number): void;
  note(text: string): void;
}

/** The models of a run. `close` ends their connections once the run is built. */
export interface Models {
  /** The student's, and the teacher's if it has another vocabulary. */
  tokenizer: FolderTokenizer;
  teacherTokenizer?: FolderTokenizer;
  teacherConfig: TeacherSizes;
  student?: StudentStart;
  makeTeacher: MakeTeacher;
  teacherEngine: EngineChoice;
  /** Once the run is built. */
  identities(): Promise<ModelIdentities>;
  close(): void;
}

/** Progress is reported each time this share of a file has arrived: often enough for the eye. */
const PROGRESS_SHARE = 1 / 500;

/** The folder that a setting names. @throws ModelFileError for `files` if none were dropped */
function sourceOf(
  role: Role,
  text: string,
  { files, base, signal }: Place,
  onProgress?: Progress,
  note?: Report['note'],
) {
  const reference = modelReference(text);
  if (!reference)
    throw new Error(`${role}_model is ${JSON.stringify(text)}, which cannot name a model.`);
  if (reference.kind === 'files') {
    const dropped = files[role];
    const [single] = dropped?.size === 1 ? dropped : [];
    if (single && /\.zip$/i.test(single[0])) return zipSource(...single, onProgress, signal);
    if (dropped) return filesSource(dropped, onProgress, signal);
    throw new ModelFileError(
      'model',
      `${role}_model is files, but no files were dropped for the ${role}. ` +
        "Drop the model's folder or .zip on its field.",
    );
  }
  if (reference.kind === 'built-in') {
    const folder = new URL(`models/${reference.name}/`, base);
    const source = httpSource({
      label: text,
      address: (file) => new URL(file, folder).href,
      onProgress,
      signal,
    });
    // It has no graph, since onnxruntime's is made from its weights, and no chat template. To ask
    // for one would cost a request, and the browser's log would have an error.
    const lacks = (file: string) => file.startsWith('onnx/') || file.endsWith('.jinja');
    return { ...source, has: async (file: string) => !lacks(file) && source.has(file) };
  }
  const onRefused = (why: string) => note?.(`${text} cannot be kept for the next visit: ${why}.`);
  const cache = browserCache(onRefused);
  return hubSource({ id: reference.id, revision: reference.revision, cache, onProgress, signal });
}

/** Reads both models' config and headers. Weights are read when the run is built. */
export async function openFolders(config: Config, gpu: Gpu, place: Place & Report) {
  const open = (role: Role, text: string): OpenedModel => {
    let reported = { file: '', loaded: 0 };
    const onProgress: Progress = (file, loaded, total = 0) => {
      const step = loaded - reported.loaded;
      if (file === reported.file && loaded < total && step < total * PROGRESS_SHARE) return;
      reported = { file, loaded };
      place.stage(
        /\.(json|txt)$/.test(file) ? 'tokenizer' : role,
        `${file} of ${text}`,
        loaded,
        total || undefined,
      );
    };
    const [watched, fingerprint] = fingerprinted(
      sourceOf(role, text, place, onProgress, place.note),
    );
    return { reference: teacherName(text, place.files[role]), source: watched, fingerprint };
  };
  const dtype = dtypeOf(config, gpu);
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
    place.stage('tokenizer', `config.json of ${config.teacher_model}`);
    const teacher = await openTeacher(source, {
      engine: config.teacher_engine,
      file: config.teacher_dtype,
      tryBoth: mayTryBoth(config),
      f16: gpu.adapter.f16,
      dtype,
    });
    const { sizes } = teacher;
    const two = await openTwoVocabularies(config, source, sizes.vocabularySize, other);
    const student = await openStudent(config, source, sizes, other, two !== undefined);
    return {
      source,
      other,
      two,
      teacher,
      student,
      dtype,
      identities: () => identities(opened.teacher, opened.student),
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

/** What identifies a run's teacher in its cache. */
export const cachedName = (config: Config, engine: EngineChoice, files?: DroppedFiles): string =>
  inEngine(teacherName(config.teacher_model, files?.teacher), engine, config);

/** A teacher's model: the setting; for dropped files, names, sizes and dates. */
function teacherName(text: string, files?: ReadonlyMap<string, Blob>): string {
  if (modelReference(text)?.kind !== 'files') return text;
  const each = [...(files ?? [])].map(([path, blob]) => {
    const date = blob instanceof File ? ` ${blob.lastModified}` : '';
    return `${path} ${blob.size}${date}`;
  });
  return `files: ${each.sort().join(', ')}`;
}

/** The folder of a run's teacher. */
export const teacherSource = ({ teacher_model }: Config, place: Place) =>
  sourceOf('teacher', teacher_model, place);

/** The tokenizer of a run with these settings, and the teacher's if it has another vocabulary. */
export async function openTokenizerOf(
  config: Config,
  place: Place,
): Promise<Pick<Models, 'tokenizer' | 'teacherTokenizer'>> {
  const source = teacherSource(config, place);
  const { student_model: model } = config;
  const other = ['', 'teacher'].includes(model) ? undefined : sourceOf('student', model, place);
  try {
    const { vocabularySize } = parseSizes(
      await readJson(source, 'config.json'),
      `config.json of ${source.label}`,
    );
    const two = await openTwoVocabularies(config, source, vocabularySize, other);
    return two ?? { tokenizer: await openTokenizer(source, vocabularySize) };
  } finally {
    for (const each of [source, other]) each?.close();
  }
}

/** @throws ModelFileError if the student has another vocabulary than the teacher */
async function requireTeachable(teacher: string, student: ModelSource, place: Place) {
  const source = sourceOf('teacher', teacher, place);
  try {
    const { vocabularySize } = parseSizes(
      await readJson(source, 'config.json'),
      `config.json of ${source.label}`,
    );
    const tokenizer = await openTokenizer(source, vocabularySize);
    await requireSameVocabulary(tokenizer, source, student, () => {});
  } finally {
    source.close();
  }
}

/** Opens both models and the tokenizer. */
export async function openModels(config: Config, gpu: Gpu, place: Place & Report): Promise<Models> {
  const opened = await openFolders(config, gpu, place);
  const { source, other, two, teacher, student, ...folders } = opened;
  const { close } = folders;
  try {
    const { vocabularySize } = teacher.sizes;
    const tokenizer = two?.tokenizer ?? (await openTokenizer(source, vocabularySize));
    if (other && !two) await requireSameVocabulary(tokenizer, source, other, place.note);
    return {
      tokenizer,
      teacherTokenizer: two?.teacherTokenizer,
      teacherConfig: teacher.sizes,
      student,
      close,
      identities: folders.identities,
      makeTeacher: teacher.make,
      teacherEngine: teacher.engine,
    };
  } catch (error) {
    close();
    throw error;
  }
}

/**
 * A report on a model, from its config.json and headers only.
 * @param teacher the teacher of a student, with whose tokenizer its own is compared
 * @throws ModelFileError for a student that cannot be trained, or not by that teacher
 */
export async function inspectModel(
  role: Role,
  text: string,
  place: Place,
  teacher?: string,
): Promise<ModelReport> {
  const source = sourceOf(role, text, place);
  try {
    const json = await readJson(source, 'config.json');
    const file = `config.json of ${source.label}`;
    const read = tryConfig(json, file);
    if (role === 'student' && read instanceof ModelFileError) throw read;
    const architecture = read instanceof ModelFileError ? undefined : read;
    if (role === 'student' && architecture) {
      if (teacher !== undefined) await requireTeachable(teacher, source, place);
      const { bytes } = await openWeights(source);
      const parameters = planArena(architecture.parameters).parameters;
      const sizes = {
        vocabularySize: architecture.vocabularySize,
        positions: architecture.contextWindow,
        layers: architecture.layers,
      };
      return { label: source.label, engine: 'stillhouse', parameters, bytes, ...sizes };
    }
    const { sizes, parameters, engine, bytes } = await openTeacher(source, {
      f16: true,
      dtype: 'f16',
    });
    return {
      label: source.label,
      engine: engine.name,
      parameters,
      bytes: await bytes(),
      layers: architecture?.layers,
      vocabularySize: sizes.vocabularySize,
      positions: sizes.contextWindow,
    };
  } finally {
    source.close();
  }
}
