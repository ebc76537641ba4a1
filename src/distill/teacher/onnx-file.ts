// The ONNX file that onnxruntime runs: one of the folder's, or one that is made from the folder's
// safetensors, as the export makes it.

import { ModelFileError } from '../../files/download';
import { joinPieces, lengthOf } from '../../files/pieces';
import type { ModelSource } from '../../files/source';
import type { Architecture } from '../../model/family';
import { LONGEST_ONNX, PRODUCER } from '../../model/onnx-graph';
import { streamWeights, type WeightFiles } from '../../model/weights';

export interface OnnxFile {
  /** What messages call it. */
  name: string;
  dtype: 'f16' | 'f32';
  size(): Promise<number>;
  read(): Promise<Uint8Array<ArrayBuffer>>;
  /** Files beside it that hold its weights, by the names that it has for them. */
  readData?(): Promise<OnnxData[]>;
  /** Whether Stillhouse made it from the weights, so that both are the same model. */
  ours(): Promise<boolean>;
}

/** A file of weights that an .onnx file names: its external data. */
export interface OnnxData {
  path: string;
  data: Uint8Array<ArrayBuffer>;
}

export interface Precision {
  /** Whether the adapter has float16. */
  f16: boolean;
  /** The run's. */
  dtype: 'f16' | 'f32';
}

/** A folder's files, by transformers.js's names of what they hold. */
const FILES = {
  fp32: 'onnx/model.onnx',
  fp16: 'onnx/model_fp16.onnx',
  /** Weights of 8 bits; the graph computes in float32. */
  q8: 'onnx/model_quantized.onnx',
  /** Weights of 4 bits, in a graph that computes in float32 or in float16. */
  q4: 'onnx/model_q4.onnx',
  q4f16: 'onnx/model_q4f16.onnx',
} as const;
type Stored = keyof typeof FILES;

const computesInHalf = (stored: Stored) => stored.endsWith('16');

/** What a folder may hold for this run, the best one first. */
const exact = ({ f16, dtype }: Precision): Stored[] =>
  dtype === 'f16' ? ['fp16', 'fp32'] : f16 ? ['fp32', 'fp16'] : ['fp32'];

/** The names of the files with exact weights that this run can use, the best one first. */
export const exactNames = (precision: Precision): string[] =>
  exact(precision).map((stored) => FILES[stored]);

/** The same with rounded weights last. */
function all(precision: Precision): Stored[] {
  const { f16, dtype } = precision;
  const inFour: Stored[] = dtype === 'f16' ? ['q4f16', 'q4'] : f16 ? ['q4', 'q4f16'] : ['q4'];
  return [...exact(precision), ...inFour, 'q8'];
}

/** A file's first fields, the producer's name among them. */
const FIRST_BYTES = 64;

/** A graph whose weights are in other files has at most so many bytes: it is nodes alone. */
const MOST_GRAPH = 2 ** 22;

/** Each costs requests. Exporters write files of about 2 GB, so that these would hold 64 GB. */
const MOST_DATA = 32;

/**
 * The external data of a graph, `model.onnx_data`, `model.onnx_data_1`, …, as it names them.
 * @throws ModelFileError if it names too many
 */
async function dataNames(source: ModelSource, name: string): Promise<string[]> {
  if ((await source.size(name)) > MOST_GRAPH) return [];
  const graph = new TextDecoder('latin1').decode(await source.read(name));
  const base = name.replace(/^onnx\//, '').replaceAll('.', '\\.');
  const names = [...new Set(graph.match(new RegExp(`${base}_data(_\\d+)?`, 'g')))].sort();
  if (names.length <= MOST_DATA) return names;
  throw new ModelFileError(
    'model',
    `${name} of ${source.label} names ${names.length} files of weights, but at most ${MOST_DATA} ` +
      'are read. Export it with fewer and larger ones.',
  );
}

/**
 * The folder's file for this run; undefined if it has none.
 * @param rounded whether a file with weights of 4 or 8 bits will do
 */
export async function findOnnx(
  source: ModelSource,
  precision: Precision,
  { rounded = false } = {},
): Promise<OnnxFile | undefined> {
  for (const stored of rounded ? all(precision) : exact(precision)) {
    if (await source.has(FILES[stored])) return fileIn(source, stored);
  }
  return undefined;
}

/**
 * The file that `teacher_dtype` names.
 * @throws ModelFileError if the folder does not have it, or the adapter lacks the float16 that it
 * computes in
 */
export async function namedOnnx(
  source: ModelSource,
  { f16 }: Pick<Precision, 'f16'>,
  stored: Stored,
): Promise<OnnxFile> {
  if (await source.has(FILES[stored])) {
    if (f16 || !computesInHalf(stored)) return fileIn(source, stored);
    throw new ModelFileError(
      'model',
      `teacher_dtype is ${stored}, which computes in float16, and this adapter has no ` +
        'shader-f16. Use teacher_dtype=fp32, q4, q8 or auto.',
    );
  }
  const others = Object.keys(FILES) as Stored[];
  const present: string[] = [];
  for (const other of others) if (await source.has(FILES[other])) present.push(other);
  const instead = present.length > 0 ? `It has ${present.join(', ')}` : 'It has no other';
  throw new ModelFileError(
    'model',
    `teacher_dtype is ${stored}, and there is no ${FILES[stored]} in ${source.label}. ` +
      `${instead}; auto chooses by itself.`,
  );
}

function fileIn(source: ModelSource, stored: Stored): OnnxFile {
  const name = FILES[stored];
  let named: Promise<string[]> | undefined;
  const beside = () => {
    named ??= dataNames(source, name);
    return named;
  };
  return {
    name: `${name} of ${source.label}`,
    dtype: computesInHalf(stored) ? 'f16' : 'f32',
    async size() {
      const files = [name, ...(await beside()).map((path) => `onnx/${path}`)];
      const sizes = await Promise.all(files.map((file) => source.size(file)));
      return sizes.reduce((sum, bytes) => sum + bytes, 0);
    },
    read: () => source.read(name, LONGEST_ONNX),
    async readData() {
      const read: OnnxData[] = [];
      for (const path of await beside())
        read.push({ path, data: await source.read(`onnx/${path}`, LONGEST_ONNX) });
      return read;
    },
    async ours() {
      const start = await source.range(name, 0, Math.min(FIRST_BYTES, await source.size(name)));
      return new TextDecoder('latin1').decode(start).includes(PRODUCER);
    },
  };
}

/**
 * The file that the export would write for these weights.
 * @throws ModelFileError if it would be too large; ExportError from `read`, for a weight that f16
 * cannot hold
 */
export function onnxFromWeights(
  files: WeightFiles,
  architecture: Architecture,
  dtype: 'f16' | 'f32',
): OnnxFile {
  const pieces = architecture.onnxPieces(dtype, false);
  const { label } = files.source;
  const bytes = lengthOf(pieces);
  if (bytes > LONGEST_ONNX) {
    throw new ModelFileError(
      'model',
      `${label} as an ONNX file would have ${bytes.toLocaleString('en')} bytes, and such a file ` +
        `has at most ${LONGEST_ONNX.toLocaleString('en')}. Use teacher_engine=stillhouse.`,
    );
  }
  return {
    name: `the ONNX graph made from the safetensors of ${label}`,
    dtype,
    size: async () => bytes,
    async read() {
      const weights = new Map(
        architecture.parameters.map(({ name, shape }) => [
          name,
          new Float32Array(shape.reduce((product, extent) => product * extent, 1)),
        ]),
      );
      await streamWeights(files, architecture, (name, first, values) =>
        weights.get(name)?.set(values, first),
      );
      return joinPieces(pieces, weights);
    },
    ours: async () => true,
  };
}
