// A teacher from a model's folder: its sizes, which are known before anything large is read, its
// tokenizer, and the teacher itself.

import type { Config } from '../../config';
import { readBytePairs, tokenizerFiles } from '../../data/bpe';
import {
  isPadded,
  loadTokenizer,
  makeTokenizer,
  type Tokenizer,
  TokenizerError,
} from '../../data/tokenizer';
import { ModelFileError } from '../../files/download';
import { type ModelSource, readJson } from '../../files/source';
import { familyTitles, isSupported, parseSizes, tryConfig } from '../../model/families';
import { planArena } from '../../model/parameters';
import { openWeights, streamWeights, type WeightFiles } from '../../model/weights';
import { modelReference } from '../../model-reference';
import { shownJson } from '../../quote';
import { teacherFromWeights } from './engine';
import { tryHalf } from './half-trial';
import {
  exactNames,
  findOnnx,
  namedOnnx,
  type OnnxFile,
  onnxFromWeights,
  type Precision,
} from './onnx-file';
import { logitsOnCpu, OnnxModel } from './onnx-model';
import { teacherFromOnnx } from './onnx-teacher';
import type { EngineChoice, MakeTeacher, TeacherShape, TeacherSizes } from './teacher';
import { tryBoth } from './try-both';

/** Identifies a teacher in its cache: engines and files round a model's logits differently. */
export function inEngine(
  model: string,
  { name }: EngineChoice,
  { teacher_dtype: file }: Pick<Config, 'teacher_dtype'>,
): string {
  return `${model} in ${name}${file === 'auto' ? '' : ` from ${file}`}`;
}

export interface TeacherFolder {
  sizes: TeacherSizes;
  /** Undefined if only the ONNX graph knows. */
  parameters: number | undefined;
  /** Bytes of weights that `make` reads. */
  bytes(): Promise<number>;
  /** The one that `make` takes, unless the teacher that it makes says otherwise. */
  engine: EngineChoice;
  make: MakeTeacher;
  /**
   * The same without weights, for a device that only counts memory. Of onnxruntime's memory it
   * counts weights and logits only.
   */
  plan: MakeTeacher;
}

export interface TeacherChoice extends Precision {
  /** `auto` unless given. */
  engine?: Config['teacher_engine'];
  /** Which ONNX file; `auto` unless given. */
  file?: Config['teacher_dtype'];
  /** With `auto`: whether `make` may try both engines; see `mayTryBoth`. */
  tryBoth?: boolean;
}

/**
 * The largest ONNX file that is read only to try it: beside it, the folder's safetensors are read.
 */
const MOST_TRIED_BYTES = 2 ** 26;

/**
 * Whether a run of these settings may try both engines on a teacher that both can run. A built-in
 * teacher's graph is made from its weights, and the tests compare the engines on it. A cache must
 * know its engine before the teacher is made, and onnxruntime knows no documents inside a row.
 */
export const mayTryBoth = (config: Config): boolean =>
  config.teacher_engine === 'auto' &&
  config.teacher_cache === 'off' &&
  config.packing !== 'masked' &&
  modelReference(config.teacher_model)?.kind !== 'built-in';

/**
 * Reads config.json and headers. `auto` runs a supported family's safetensors in our own kernels,
 * and any other model in onnxruntime. Our kernels need no second compilation and no copy of the
 * runtime, and train several times faster (tests/bench/RESULTS.md). Only an ONNX file that somebody
 * else made, and that is small, is tried beside them (try-both.ts).
 * @throws ModelFileError if nothing in the folder can run in the chosen engine, with what would
 */
export async function openTeacher(
  source: ModelSource,
  choice: TeacherChoice,
): Promise<TeacherFolder> {
  const { engine = 'auto', file: named = 'auto' } = choice;
  const json = await readJson(source, 'config.json');
  const chosen = `teacher_engine=${engine}`;
  const inOnnxruntime = (file: OnnxFile, reason: string) => onnxTeacher(source, file, json, reason);
  if (named !== 'auto')
    return inOnnxruntime(await namedOnnx(source, choice, named), `teacher_dtype=${named}`);
  // Compared with our own kernels, it is not compared with the CPU.
  const onTrial = (file: OnnxFile) => ({ ...file, ours: async () => true });
  const architecture = tryConfig(json, `config.json of ${source.label}`);
  if (architecture instanceof ModelFileError) {
    const type = modelTypeOf(json);
    // Of a supported type: a field says what is not.
    const known = isSupported(json);
    if (engine === 'stillhouse') {
      if (known) throw architecture;
      throw new ModelFileError(
        'model',
        `${source.label} is of type ${type}, and ${chosen} runs ${familyTitles()} only. ` +
          'Use teacher_engine=auto, or choose another model.',
      );
    }
    const file = await findOnnx(source, choice, { rounded: true });
    if (!file) throw known ? architecture : noOnnx(source, choice, json);
    const why = known ? `this ${type}: ${architecture.message}` : type;
    const reason = engine === 'auto' ? `Stillhouse’s kernels do not support ${why}` : chosen;
    return inOnnxruntime(file, reason);
  }
  const file = engine === 'onnxruntime' ? await findOnnx(source, choice) : undefined;
  if (file) return inOnnxruntime(file, chosen);
  let files: WeightFiles;
  try {
    files = await openWeights(source);
  } catch (error) {
    // A folder without safetensors may have an ONNX file. Damaged safetensors are an error.
    const missing = error instanceof ModelFileError && error.missing;
    if (!missing || engine === 'stillhouse') throw error;
    const other = await findOnnx(source, choice, { rounded: true });
    if (!other && engine === 'auto') throw error;
    if (!other) throw noOnnx(source, choice, json);
    return inOnnxruntime(other, engine === 'auto' ? 'the folder has no safetensors' : chosen);
  }
  if (engine === 'onnxruntime')
    return inOnnxruntime(onnxFromWeights(files, architecture, choice.dtype), chosen);
  const stillhouse: MakeTeacher = (gpu, shape) =>
    teacherFromWeights(
      gpu,
      (sink) => streamWeights(files, architecture, sink),
      architecture,
      shape,
    );
  const other = engine === 'auto' && choice.tryBoth ? await foreignOnnx(source, choice) : undefined;
  return {
    sizes: architecture,
    parameters: planArena(architecture.parameters).parameters,
    engine: {
      name: 'stillhouse',
      reason: engine === 'auto' ? `its kernels support ${modelTypeOf(json)}` : chosen,
    },
    bytes: async () => files.bytes,
    make: other
      ? tryBoth({
          stillhouse,
          onnxruntime: inOnnxruntime(onTrial(other), 'tried').make,
          vocabularySize: architecture.vocabularySize,
          onnxDtype: other.dtype,
        })
      : stillhouse,
    plan: (gpu, shape) => teacherFromWeights(gpu, undefined, architecture, shape),
  };
}

/** The folder's ONNX file if it is worth trying: small, and not made from the same weights. */
async function foreignOnnx(source: ModelSource, precision: Precision) {
  const file = await findOnnx(source, precision);
  return file && (await file.size()) <= MOST_TRIED_BYTES && !(await file.ours()) ? file : undefined;
}

const noOnnx = (source: ModelSource, precision: Precision, json: unknown) =>
  new ModelFileError(
    'model',
    `${source.label} is of type ${modelTypeOf(json)} and has no ` +
      `${exactNames(precision).join(' or ')}. Stillhouse runs ${familyTitles()} from ` +
      'safetensors, and other decoders from ONNX, also with weights of 4 or 8 bits ' +
      '(model_q4f16.onnx, model_q4.onnx, model_quantized.onnx). ' +
      'Choose a model that has one of them.',
  );

const modelTypeOf = (json: unknown) =>
  shownJson((json as { model_type?: unknown } | null)?.model_type);

function onnxTeacher(
  source: ModelSource,
  file: OnnxFile,
  json: unknown,
  reason: string,
): TeacherFolder {
  const config = `config.json of ${source.label}`;
  const sizes = parseSizes(json, config);
  const architecture = tryConfig(json);
  const parameters =
    architecture instanceof ModelFileError
      ? undefined
      : planArena(architecture.parameters).parameters;
  return {
    sizes,
    parameters,
    engine: { name: 'onnxruntime', reason },
    bytes: file.size,
    async make(gpu, shape) {
      requireWholeRows(shape, file);
      const open = async (from: OnnxFile) => {
        const [model, data] = [await from.read(), await from.readData?.()];
        const file = { model, data, config: sizes, file: from.name };
        const onnx = await OnnxModel.create({ device: gpu.device, ...file });
        const teacher = teacherFromOnnx(gpu, onnx, { ...sizes, parameters }, shape.B, shape.T);
        return { file, teacher };
      };
      const opened = await open(file);
      const { teacher } = opened;
      if (file.dtype === 'f32' || (await file.ours())) return teacher;
      const single = await findOnnx(source, { f16: false, dtype: 'f32' });
      return tryHalf(gpu, teacher, shape, sizes.vocabularySize, {
        name: file.name,
        bytes: opened.file.model.length,
        onCpu: (tokens) => logitsOnCpu(opened.file, tokens),
        single: single && (async () => (await open(single)).teacher),
      });
    },
    async plan(gpu, shape) {
      requireWholeRows(shape, file);
      const { B, T, dtype } = shape;
      gpu.memory.create('teacher', file.name, await file.size());
      const uncomputed = { dtype, run: async () => {}, dispose: async () => {} };
      return teacherFromOnnx(gpu, uncomputed, { ...sizes, parameters }, B, T);
    },
  };
}

/**
 * A graph's attention_mask (B, T) says which tokens exist, not which ones see each other.
 * @throws ModelFileError if attention is to stay inside each document of a row
 */
function requireWholeRows({ masked }: TeacherShape, { name }: OnnxFile): void {
  if (!masked) return;
  throw new ModelFileError(
    'model',
    `packing=masked keeps attention inside each document, and ${name} takes no such mask. ` +
      'Use packing=on or off, or teacher_engine=stillhouse for a teacher with safetensors.',
  );
}

/** Whether a folder has a tokenizer's files; a folder of weights alone has none. */
export async function hasTokenizer(source: ModelSource): Promise<boolean> {
  return (
    (await source.has('tokenizer.json')) ||
    ((await source.has('vocab.json')) && (await source.has('merges.txt')))
  );
}

/** Where transformers writes a model's chat template, unless it is in tokenizer_config.json. */
const TEMPLATE = 'chat_template.jinja';

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
    const chatTemplate = (await source.has(TEMPLATE)) ? await text(TEMPLATE) : undefined;
    const options = { read: readText, vocabularySize, chatTemplate };
    return { ...(await loadTokenizer(source.label, options)), files };
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
  const tokenizer = makeTokenizer(tokenizerJson, tokenizerConfig, vocabularySize);
  if (!isPadded(tokenizer.vocabularySize, vocabularySize)) {
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
