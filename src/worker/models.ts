// Where a run's models come from: the page's own folder, the hub, or files that were dropped on the page. Nowhere else.

import type { Config } from '../config';
import { dtypeOf } from '../distill/run';
import { openStudent, type StudentStart } from '../distill/student-start';
import type { Teacher } from '../distill/teacher';
import { type FolderTokenizer, openTeacher, openTokenizer } from '../distill/teacher-folder';
import type { TeacherSizes } from '../distill/teacher-onnx';
import type { Gpu } from '../gpu/device';
import { browserCache } from '../model/block-cache';
import { parseConfig, parseSizes } from '../model/config';
import { ModelFileError } from '../model/download';
import { httpSource, hubAddress } from '../model/http';
import { planArena } from '../model/parameters';
import { filesSource, type ModelSource, type Progress, readJson } from '../model/source';
import { zipSource } from '../model/unzip';
import { openWeights } from '../model/weights';
import { modelReference } from '../model-reference';
import type { DroppedFiles, LoadingStage, ModelReport, Role } from './protocol';

interface Place {
  files: DroppedFiles;
  /** The page's folder. */
  base: URL;
  signal?: AbortSignal;
}

interface Report {
  stage(stage: LoadingStage, detail: string, loaded?: number, total?: number): void;
  note(text: string): void;
}

/** What a run takes of its models. `close` ends the connections once the run is built. */
export interface Models {
  tokenizer: FolderTokenizer;
  teacherConfig: TeacherSizes;
  student?: StudentStart;
  makeTeacher(gpu: Gpu, shape: { B: number; T: number; dtype: 'f16' | 'f32' }): Promise<Teacher>;
  close(): void;
}

/** A file's progress is told each time so much of it has come: often enough for the eye. */
const TOLD_SHARE = 1 / 500;

/** The folder that a setting names. @throws ModelFileError for files that nobody dropped */
function sourceOf(
  role: Role,
  text: string,
  { files, base, signal }: Place,
  onProgress?: Progress,
  note?: Report['note'],
) {
  const reference = modelReference(text);
  if (!reference) throw new Error(`${role}_model is ${JSON.stringify(text)}, which names no model.`);
  if (reference.kind === 'files') {
    const dropped = files[role];
    const [alone] = dropped?.size === 1 ? dropped : [];
    if (alone && /\.zip$/i.test(alone[0])) return zipSource(...alone, onProgress, signal);
    if (dropped) return filesSource(dropped, onProgress, signal);
    throw new ModelFileError(
      'model',
      `${role}_model is files, and no files were dropped for the ${role}. Drop the model's folder or .zip on its field.`,
    );
  }
  if (reference.kind === 'built-in') {
    const folder = new URL(`models/${reference.name}/`, base);
    return httpSource({ label: text, address: (file) => new URL(file, folder).href, onProgress, signal });
  }
  const refused = (why: string) => note?.(`Nothing of ${text} is kept for the next visit: ${why}.`);
  const cache = browserCache(refused);
  return httpSource({ label: text, address: hubAddress(reference.id, reference.revision), cache, onProgress, signal });
}

/** Opens both models: reads what they say of themselves, and the tokenizer. Their weights are read when the run is built. */
export async function openModels(config: Config, gpu: Gpu, place: Place & Report): Promise<Models> {
  const open = (role: Role, text: string): ModelSource => {
    let told = { file: '', loaded: 0 };
    const onProgress: Progress = (file, loaded, total = 0) => {
      if (file === told.file && loaded < total && loaded - told.loaded < total * TOLD_SHARE) return;
      told = { file, loaded };
      place.stage(/\.(json|txt)$/.test(file) ? 'tokenizer' : role, `${file} of ${text}`, loaded, total || undefined);
    };
    return sourceOf(role, text, place, onProgress, place.note);
  };
  const dtype = dtypeOf(config, gpu);
  const teacherSource = open('teacher', config.teacher_model);
  const studentSource = ['', 'teacher'].includes(config.student_model)
    ? undefined
    : open('student', config.student_model);
  const close = () => {
    for (const source of [teacherSource, studentSource]) source?.close();
  };
  try {
    place.stage('tokenizer', `config.json of ${config.teacher_model}`);
    // The built-in folder has ONNX files of both precisions, which load sooner than our kernels compile.
    const builtIn = modelReference(config.teacher_model)?.kind === 'built-in';
    const onnx = builtIn ? `onnx/${dtype === 'f16' ? 'model_fp16' : 'model'}.onnx` : undefined;
    const teacher = await openTeacher(teacherSource, { onnx, f16: gpu.adapter.f16, dtype });
    const student = await openStudent(config, teacherSource, teacher.sizes, studentSource);
    const tokenizer = await openTokenizer(teacherSource, teacher.sizes.vocab_size);
    return {
      ...{ tokenizer, teacherConfig: teacher.sizes, student, close },
      makeTeacher: teacher.make,
    };
  } catch (error) {
    close();
    throw error;
  }
}

/** The tokenizer that a run with these settings would have. */
export async function openTokenizerOf({ teacher_model }: Config, place: Place): Promise<FolderTokenizer> {
  const source = sourceOf('teacher', teacher_model, place);
  try {
    const { vocab_size } = parseSizes(await readJson(source, 'config.json'), `config.json of ${source.label}`);
    return await openTokenizer(source, vocab_size);
  } finally {
    source.close();
  }
}

/** What a model's folder says of it: config.json and headers are read, nothing else. */
export async function inspectModel(role: Role, text: string, place: Place): Promise<ModelReport> {
  const source = sourceOf(role, text, place);
  try {
    const json = await readJson(source, 'config.json');
    const gpt2 = role === 'student' || (json as { model_type?: unknown } | null)?.model_type === 'gpt2';
    const config = gpt2 ? parseConfig(json, `config.json of ${source.label}`) : undefined;
    if (role === 'student' && config) {
      const { bytes } = await openWeights(source);
      const parameters = planArena(config).parameters;
      const sizes = { vocabularySize: config.vocab_size, positions: config.n_positions, layers: config.n_layer };
      return { label: source.label, engine: 'stillhouse', parameters, bytes, ...sizes };
    }
    const { sizes, parameters, engine, bytes } = await openTeacher(source, { f16: true, dtype: 'f16' });
    return {
      ...{ label: source.label, engine, parameters, bytes: await bytes(), layers: config?.n_layer },
      ...{ vocabularySize: sizes.vocab_size, positions: sizes.n_positions },
    };
  } finally {
    source.close();
  }
}
