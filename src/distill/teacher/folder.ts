// A teacher from a model's folder: its sizes, which are known before anything large is read, its
// tokenizer, and the teacher itself.

import type { Config } from '../../config';
import { readBytePairs, tokenizerFiles } from '../../data/bpe';
import { loadTokenizer, makeTokenizer, type Tokenizer, TokenizerError } from '../../data/tokenizer';
import { ModelFileError } from '../../files/download';
import { type ModelSource, readJson } from '../../files/source';
import { familyTitles, isSupported, parseConfig, parseSizes } from '../../model/families';
import { planArena } from '../../model/parameters';
import { openWeights, streamWeights } from '../../model/weights';
import { teacherFromWeights } from './engine';
import { OnnxModel } from './onnx-model';
import { teacherFromOnnx } from './onnx-teacher';
import type { MakeTeacher, TeacherSizes } from './teacher';

/** What runs the teacher: our own kernels, or onnxruntime. */
export interface EngineChoice {
  name: 'stillhouse' | 'onnxruntime';
  /** Half a sentence that people read, such as "its kernels support GPT-2". */
  reason: string;
}

/** Identifies a teacher in its cache: two engines round a model's logits differently. */
export const inEngine = (model: string, { name }: EngineChoice): string => `${model} in ${name}`;

export interface TeacherFolder {
  sizes: TeacherSizes;
  /** Undefined if only the ONNX graph knows. */
  parameters: number | undefined;
  /** Bytes of weights that `make` reads. */
  bytes(): Promise<number>;
  engine: EngineChoice;
  make: MakeTeacher;
  /**
   * The same without weights, for a device that only counts memory. Of onnxruntime's memory it
   * counts weights and logits only.
   */
  plan: MakeTeacher;
}

const HALF = 'onnx/model_fp16.onnx';
const SINGLE = 'onnx/model.onnx';

export interface TeacherChoice {
  /** `auto` unless given. */
  engine?: Config['teacher_engine'];
  /** Whether the adapter has float16. */
  f16: boolean;
  /** The run's. */
  dtype: 'f16' | 'f32';
}

/**
 * Reads config.json and headers. `auto` runs a supported family's safetensors in our own kernels,
 * and any other model in onnxruntime: where both can run a model, our kernels need no second
 * compilation and no copy of the runtime, and train several times faster (tests/bench/RESULTS.md).
 * @throws ModelFileError if nothing in the folder can run in the chosen engine, with what would
 */
export async function openTeacher(
  source: ModelSource,
  choice: TeacherChoice,
): Promise<TeacherFolder> {
  const { engine = 'auto' } = choice;
  const file = `config.json of ${source.label}`;
  const json = await readJson(source, 'config.json');
  const chosen = `teacher_engine=${engine}`;
  if (engine === 'onnxruntime')
    return onnxTeacher(source, await findOnnx(source, choice, json), json, chosen);
  if (!isSupported(json)) {
    const type = modelTypeOf(json);
    if (engine === 'stillhouse') {
      throw new ModelFileError(
        'model',
        `${source.label} is of type ${type}, and ${chosen} runs ${familyTitles()} only. ` +
          'Use teacher_engine=auto, or choose another model.',
      );
    }
    const reason = `Stillhouse’s kernels do not support ${type}`;
    return onnxTeacher(source, await findOnnx(source, choice, json), json, reason);
  }
  const architecture = parseConfig(json, file);
  try {
    const files = await openWeights(source);
    return {
      sizes: architecture,
      parameters: planArena(architecture.parameters).parameters,
      engine: {
        name: 'stillhouse',
        reason: engine === 'auto' ? `its kernels support ${modelTypeOf(json)}` : chosen,
      },
      bytes: async () => files.bytes,
      make: (gpu, shape) =>
        teacherFromWeights(
          gpu,
          (sink) => streamWeights(files, architecture, sink),
          architecture,
          shape,
        ),
      plan: (gpu, shape) => teacherFromWeights(gpu, undefined, architecture, shape),
    };
  } catch (error) {
    // A folder without safetensors may have an ONNX file. Damaged safetensors are an error.
    const name =
      engine === 'auto' &&
      error instanceof ModelFileError &&
      error.missing &&
      (await findOnnx(source, choice));
    if (!name) throw error;
    return onnxTeacher(source, name, json, 'the folder has no safetensors');
  }
}

/**
 * The folder's ONNX file for this run; undefined if it has none.
 * @throws ModelFileError in place of undefined, if the parsed config.json is passed
 */
async function findOnnx(source: ModelSource, choice: TeacherChoice): Promise<string | undefined>;
async function findOnnx(source: ModelSource, choice: TeacherChoice, json: unknown): Promise<string>;
async function findOnnx(source: ModelSource, { f16, dtype }: TeacherChoice, json?: unknown) {
  const names = dtype === 'f16' ? [HALF, SINGLE] : f16 ? [SINGLE, HALF] : [SINGLE];
  for (const name of names) if (await source.has(name)) return name;
  if (json === undefined) return undefined;
  throw new ModelFileError(
    'model',
    `${source.label} is of type ${modelTypeOf(json)} and has no ${names.join(' or ')}. ` +
      `Stillhouse runs ${familyTitles()} from safetensors, and other decoders from ONNX. ` +
      'Choose a model that has one of them.',
  );
}

const modelTypeOf = (json: unknown) =>
  JSON.stringify((json as { model_type?: unknown } | null)?.model_type);

function onnxTeacher(
  source: ModelSource,
  name: string,
  json: unknown,
  reason: string,
): TeacherFolder {
  const file = `config.json of ${source.label}`;
  const sizes = parseSizes(json, file);
  const parameters = isSupported(json)
    ? planArena(parseConfig(json, file).parameters).parameters
    : undefined;
  return {
    sizes,
    parameters,
    engine: { name: 'onnxruntime', reason },
    bytes: () => source.size(name),
    async make(gpu, { B, T }) {
      const model = await source.read(name);
      const label = `${name} of ${source.label}`;
      const onnx = await OnnxModel.create({
        device: gpu.device,
        model,
        config: sizes,
        file: label,
      });
      return teacherFromOnnx(gpu, onnx, { ...sizes, parameters }, B, T);
    },
    async plan(gpu, { B, T, dtype }) {
      gpu.memory.create('teacher', name, await source.size(name));
      const uncomputed = { dtype, run: async () => {}, dispose: async () => {} };
      return teacherFromOnnx(gpu, uncomputed, { ...sizes, parameters }, B, T);
    },
  };
}

/** Whether a folder has a tokenizer's files; a folder of weights alone has none. */
export async function hasTokenizer(source: ModelSource): Promise<boolean> {
  return (
    (await source.has('tokenizer.json')) ||
    ((await source.has('vocab.json')) && (await source.has('merges.txt')))
  );
}

/** A folder's tokenizer, and the files that a model with the same vocabulary needs. */
export interface FolderTokenizer extends Tokenizer {
  files: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
}

/**
 * Reads the folder's tokenizer.json, or GPT-2's vocab.json and merges.txt.
 * @throws TokenizerError, ModelFileError
 */
export async function openTokenizer(
  source: ModelSource,
  vocabularySize: number,
): Promise<FolderTokenizer> {
  // Unchanged, byte by byte.
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  const read = async (name: string) => {
    const bytes = await source.read(name);
    files.set(name, bytes);
    return bytes;
  };
  const text = async (name: string) => new TextDecoder().decode(await read(name));
  if (await source.has('tokenizer.json')) {
    const readText = async (path: string) => {
      const name = path.slice(path.lastIndexOf('/') + 1);
      // Only tokenizer.json is required; the other file names the token that ends a text.
      if (name !== 'tokenizer.json' && !(await source.has(name))) return '{}';
      return text(name);
    };
    return { ...(await loadTokenizer(source.label, { read: readText, vocabularySize })), files };
  }
  if (!(await hasTokenizer(source))) {
    throw new TokenizerError(
      `There is no tokenizer.json in ${source.label}.`,
      'Choose a model with a tokenizer.json, or with vocab.json and merges.txt as GPT-2 has them.',
    );
  }
  const vocabulary = await readJson({ ...source, read }, 'vocab.json');
  const pairs = readBytePairs(vocabulary, await text('merges.txt'));
  const { tokenizerJson, tokenizerConfig } = tokenizerFiles(pairs);
  const tokenizer = makeTokenizer(tokenizerJson, tokenizerConfig);
  if (tokenizer.vocabularySize !== vocabularySize) {
    throw new TokenizerError(
      `${source.label}: vocab.json has ${tokenizer.vocabularySize} tokens, ` +
        `but the model has ${vocabularySize}.`,
      'Use the tokenizer that came with the model.',
    );
  }
  // For programs that read only the newer two files.
  const json = (value: object) => new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`);
  files
    .set('tokenizer.json', json(tokenizerJson))
    .set('tokenizer_config.json', json(tokenizerConfig));
  return { ...tokenizer, files };
}
