// A teacher from a model's folder: what is known of it before anything large is read, its tokenizer, and the teacher itself.

import { readBytePairs, tokenizerFiles } from '../data/bpe';
import { loadTokenizer, makeTokenizer, type Tokenizer, TokenizerError } from '../data/tokenizer';
import type { Gpu } from '../gpu/device';
import { parseConfig, parseSizes } from '../model/config';
import { ModelFileError } from '../model/download';
import { planArena } from '../model/parameters';
import { type ModelSource, readJson } from '../model/source';
import { openWeights, streamGpt2Weights } from '../model/weights';
import { type Teacher, teacherFromOnnx, teacherFromWeights } from './teacher';
import { OnnxTeacher, type TeacherSizes } from './teacher-onnx';

export interface TeacherFolder {
  sizes: TeacherSizes;
  /** Undefined where config.json describes no GPT-2. */
  parameters: number | undefined;
  /** What will be downloaded of the weights. */
  bytes: number;
  /** Our own kernels, or onnxruntime. */
  engine: 'stillhouse' | 'onnxruntime';
  make(gpu: Gpu, shape: { B: number; T: number; dtype: 'f16' | 'f32' }): Promise<Teacher>;
}

const HALF = 'onnx/model_fp16.onnx';
const SINGLE = 'onnx/model.onnx';

/**
 * Reads config.json and headers. A GPT-2 with safetensors runs in our own kernels, everything else in onnxruntime.
 * @param preferOnnx take the ONNX file where the folder has both
 * @param f16 whether float16 files can be run
 * @throws ModelFileError if the folder has nothing that can be run, with what would work
 */
export async function openTeacher(
  source: ModelSource,
  { preferOnnx = false, f16 }: { preferOnnx?: boolean; f16: boolean },
): Promise<TeacherFolder> {
  const file = `config.json of ${source.label}`;
  const json = await readJson(source, 'config.json');
  const gpt2 = (json as { model_type?: unknown } | null)?.model_type === 'gpt2';
  const onnx = async () => {
    for (const name of f16 ? [HALF, SINGLE] : [SINGLE]) if (await source.has(name)) return name;
    return undefined;
  };
  if (gpt2 && !preferOnnx) {
    try {
      const config = parseConfig(json, file);
      const files = await openWeights(source);
      return {
        ...{ sizes: config, parameters: planArena(config).parameters, bytes: files.bytes, engine: 'stillhouse' },
        make: (gpu, shape) => teacherFromWeights(gpu, (sink) => streamGpt2Weights(files, config, sink), config, shape),
      };
    } catch (error) {
      // No safetensors: an ONNX file may be there. A damaged one is told as it is.
      if (!(error instanceof ModelFileError && error.missing)) throw error;
      if ((await onnx()) === undefined) throw error;
    }
  }
  const name = await onnx();
  if (name === undefined) {
    const refusal = gpt2 ? undefined : configRefusal(json, file);
    const what = `${source.label} has no ${SINGLE}`;
    throw new ModelFileError(
      'model',
      `${refusal ?? what}${refusal ? ` This one has no ${SINGLE}.` : '. Use another copy.'}`,
    );
  }
  const sizes = parseSizes(json, file);
  const parameters = gpt2 ? planArena(parseConfig(json, file)).parameters : undefined;
  return {
    ...{ sizes, parameters, bytes: await source.size(name), engine: 'onnxruntime' },
    async make(gpu, { B, T, dtype }) {
      const chosen = dtype === 'f32' && (await source.has(SINGLE)) ? SINGLE : name;
      const model = await source.read(chosen);
      const label = `${chosen} of ${source.label}`;
      const running = await OnnxTeacher.create({ device: gpu.device, model, config: sizes, file: label });
      return teacherFromOnnx(gpu, running, { ...sizes, parameters }, B, T);
    },
  };
}

/** Why our own kernels cannot run the model. */
function configRefusal(json: unknown, file: string): string | undefined {
  try {
    parseConfig(json, file);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** The folder's tokenizer: tokenizer.json, or GPT-2's own two files. @throws TokenizerError, ModelFileError */
export async function openTokenizer(source: ModelSource, vocabularySize: number): Promise<Tokenizer> {
  const text = async (name: string) => new TextDecoder().decode(await source.read(name));
  if (await source.has('tokenizer.json')) {
    const read = async (path: string) => {
      const name = path.slice(path.lastIndexOf('/') + 1);
      // Only tokenizer.json is always there; the other says which token ends a text.
      if (name !== 'tokenizer.json' && !(await source.has(name))) return '{}';
      return text(name);
    };
    return loadTokenizer(source.label, { read, vocabularySize });
  }
  if (!((await source.has('vocab.json')) && (await source.has('merges.txt')))) {
    throw new TokenizerError(
      `${source.label} has no tokenizer.json.`,
      'Choose a model with a tokenizer.json, or with vocab.json and merges.txt as GPT-2 has them.',
    );
  }
  const pairs = readBytePairs(await readJson(source, 'vocab.json'), await text('merges.txt'));
  const { tokenizerJson, tokenizerConfig } = tokenizerFiles(pairs, vocabularySize);
  const tokenizer = makeTokenizer(tokenizerJson, tokenizerConfig);
  if (tokenizer.vocabularySize === vocabularySize) return tokenizer;
  throw new TokenizerError(
    `${source.label}: vocab.json has ${tokenizer.vocabularySize} tokens, the model ${vocabularySize}.`,
    'Use the tokenizer that came with the model.',
  );
}
