// A model's weights from and to safetensors. A folder's weights, in one file or several, are read
// slice by slice, so that a model is never in memory as a whole.

import { count, ModelFileError } from '../files/download';
import { encodeValues, joinPieces, type Piece } from '../files/pieces';
import {
  headerLength,
  headerOf,
  LENGTH_BYTES,
  readHeader,
  type SafetensorsType,
  type StoredEntry,
  type StoredTensor,
  sizeOf,
  toFloat32,
} from '../files/safetensors';
import { type ModelSource, readJson } from '../files/source';
import { excerpt, shownJson, shownSizes } from '../quote';
import type { Architecture } from './family';
import type { Parameter, WeightSink } from './parameters';

const SINGLE = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';
/** Elements that are converted at a time; even, as an f16 arena needs. */
const SLICE = 2 ** 19;

/** A folder's safetensors files with their headers read. */
export interface WeightFiles {
  source: ModelSource;
  tensors: Map<string, StoredEntry & { file: string }>;
  /** Bytes of all files. */
  bytes: number;
}

/**
 * Reads the headers of a folder's safetensors files, and no weights.
 * @throws ModelFileError; its `missing` is true if the folder has no safetensors at all
 */
export async function openWeights(source: ModelSource): Promise<WeightFiles> {
  const opened: WeightFiles = { source, tensors: new Map(), bytes: 0 };
  const sharded = !(await source.has(SINGLE));
  if (sharded && !(await source.has(INDEX))) {
    const converted = await source.converted?.();
    if (converted) return openWeights(converted);
    throw new ModelFileError(
      'model',
      `${source.label} has no ${SINGLE}. Choose a model or a revision that has one; ` +
        'a pytorch_model.bin cannot be read.',
      { missing: true },
    );
  }
  const listed = sharded
    ? shardsOf(await readJson(source, INDEX), `${INDEX} of ${source.label}`)
    : undefined;
  for (const file of listed ? new Set(listed.values()) : [SINGLE]) {
    const name = `${file} of ${source.label}`;
    const size = await source.size(file);
    const length = headerLength(
      await source.range(file, 0, Math.min(LENGTH_BYTES, size)),
      size,
      name,
    );
    const header = await source.range(file, LENGTH_BYTES, LENGTH_BYTES + length);
    for (const entry of readHeader(header, size, name)) {
      const other = opened.tensors.get(entry.name)?.file;
      if (other)
        throw new ModelFileError(
          'model',
          `${name}: tensor ${excerpt(entry.name)} is in ${other} too. Use another copy.`,
        );
      opened.tensors.set(entry.name, { ...entry, file });
    }
    opened.bytes += size;
  }
  for (const [tensor, file] of listed ?? []) {
    if (opened.tensors.get(tensor)?.file === file) continue;
    throw new ModelFileError(
      'model',
      `${file} of ${source.label}: tensor ${excerpt(tensor)} is missing, ` +
        `although ${INDEX} lists it.`,
    );
  }
  return opened;
}

/** The file of each tensor. */
function shardsOf(json: unknown, name: string): Map<string, string> {
  const listed = Object.entries(
    (json as { weight_map?: Record<string, unknown> } | null)?.weight_map ?? {},
  );
  if (listed.length === 0)
    throw new ModelFileError('model', `${name} has no weight_map. Use the model's own file.`);
  for (const [tensor, file] of listed) {
    // Only a file beside the index: a path could lead anywhere.
    if (typeof file === 'string' && /^[\w.-]+\.safetensors$/.test(file)) continue;
    throw new ModelFileError(
      'model',
      `${name} puts ${excerpt(tensor)} into ${shownJson(file)}, which is not a safetensors file ` +
        "beside it. Use the model's own file.",
    );
  }
  return new Map(listed as [string, string][]);
}

/** A stored tensor as its header describes it. */
interface TensorHeader {
  dtype: SafetensorsType;
  shape: readonly number[];
}

/** The tensors of a file, matched with a model's parameters. */
interface MatchedTensors<T> {
  /** By parameter name, in the architecture's order. */
  parameters: Map<string, T>;
  /**
   * The head's tensor where a tied model's file has it beside the embedding: it must hold the same
   * values.
   */
  head?: T;
  refuse(what: string): ModelFileError;
  /** @throws ModelFileError unless the head's values are the embedding's */
  requireTied(same: (embedding: string) => boolean): void;
}

/**
 * Matches a file's tensors with a model's parameters.
 * @throws ModelFileError for a parameter that is missing, unknown, or of another shape or type
 */
function matchTensors<T extends TensorHeader>(
  tensors: ReadonlyMap<string, T>,
  { parameters, tensorNames, family }: Architecture,
  file: string,
): MatchedTensors<T> {
  const refuse = (what: string) =>
    new ModelFileError(
      'model',
      `${file}: ${what}. Check that it and config.json belong to the same ${family.title} model.`,
    );
  const left = new Map<string, T>();
  const storedNames = new Map<string, string>();
  for (const [stored, tensor] of tensors) {
    const name = tensorNames.parameter(stored);
    if (name === undefined) continue;
    const other = storedNames.get(name);
    if (other !== undefined)
      throw refuse(`${name} is stored twice, as ${excerpt(other)} and as ${excerpt(stored)}`);
    left.set(name, tensor);
    storedNames.set(name, stored);
  }
  const { tied } = tensorNames;
  let head: T | undefined;
  if (tied) {
    head = left.get(tied.head);
    left.delete(tied.head);
    if (head && !left.has(tied.embedding)) {
      left.set(tied.embedding, head);
      head = undefined;
    }
  }
  const missing = parameters.filter(({ name }) => !left.has(name)).map(({ name }) => name);
  if (missing.length > 0) throw refuse(`${list(missing)} missing`);
  const matched = new Map<string, T>();
  for (const { name, shape: expected } of parameters) {
    const tensor = left.get(name) as T;
    left.delete(name);
    for (const { dtype, shape } of name === tied?.embedding && head ? [tensor, head] : [tensor]) {
      if (shape.join() !== expected.join()) {
        const wanted = expected.join(', ');
        throw refuse(`${name} has shape ${shownSizes(shape)}, config.json asks for [${wanted}]`);
      }
      if (!['F32', 'F16', 'BF16'].includes(dtype))
        throw refuse(`${name} has type ${dtype}; weights are F32, F16 or BF16`);
    }
    matched.set(name, tensor);
  }
  if (left.size > 0) throw refuse(`${list([...left.keys()])} unknown`);
  return {
    parameters: matched,
    head,
    refuse,
    requireTied(same) {
      if (!head || !tied || same(tied.embedding)) return;
      const differs = `${tied.head} differs from ${tied.embedding}`;
      throw refuse(`${differs}, and config.json does not say "tie_word_embeddings": false`);
    },
  };
}

function list(names: string[]): string {
  const shown = names
    .slice(0, 3)
    .map((name) => excerpt(name))
    .join(', ');
  return names.length === 1
    ? `${shown} is`
    : `${shown}${names.length > 3 ? ` and ${names.length - 3} more` : ''} are`;
}

/**
 * Passes a stored model's parameters to `sink` as float32, in the order of the files.
 * @param layers the stored model's layers to take, which become layers 0, 1, …; all by default
 * @throws ModelFileError for a parameter that is missing, unknown, of another shape or type, or not
 * finite, and for a head that should be tied to the embedding and is not
 */
export async function streamWeights(
  { source, tensors }: WeightFiles,
  architecture: Architecture,
  sink: WeightSink,
  layers?: readonly number[],
): Promise<void> {
  const files = [...new Set([...tensors.values()].map(({ file }) => file))];
  const matched = matchTensors(tensors, architecture, `${files[0]} of ${source.label}`);
  const { parameters, head, refuse } = matched;
  const targets = layers && targetsOf(architecture, layers);
  const reads = [...parameters].flatMap(([name, entry]) => {
    const names = targets ? (targets.get(name) ?? []) : [name];
    return names.length > 0 ? [{ entry, name, targets: names }] : [];
  });
  const headName = architecture.tensorNames.tied?.head ?? '';
  if (head) reads.push({ entry: head, name: headName, targets: [] });
  const position = ({ file, from }: { file: string; from: number }) =>
    files.indexOf(file) * 2 ** 45 + from;
  reads.sort((a, b) => position(a.entry) - position(b.entry));

  const fingerprints = new Map<string, string>();
  for (const { entry, name, targets } of reads) {
    const fingerprint = new Fingerprint();
    const bytes = (entry.to - entry.from) / entry.shape.reduce((a, b) => a * b);
    for (let from = entry.from; from < entry.to; from += SLICE * bytes) {
      const data = await source.range(entry.file, from, Math.min(from + SLICE * bytes, entry.to));
      const values = toFloat32({ dtype: entry.dtype, shape: entry.shape, data });
      const first = (from - entry.from) / bytes;
      requireFinite(values, first, name, refuse);
      if (head) fingerprint.add(values);
      for (const target of targets) await sink(target, first, values);
    }
    fingerprints.set(name, fingerprint.text);
  }
  for (const file of files) await source.verify?.(file);
  matched.requireTied((embedding) => fingerprints.get(headName) === fingerprints.get(embedding));
}

/** The names under which each stored parameter is passed on when only some layers are taken. */
function targetsOf(architecture: Architecture, layers: readonly number[]): Map<string, string[]> {
  const ofLayer = ({ parameters }: Architecture, layer?: number) =>
    parameters.filter((parameter) => parameter.layer === layer);
  const targets = new Map(ofLayer(architecture).map(({ name }) => [name, [name]]));
  const target = architecture.withLayers(layers);
  for (const [place, layer] of layers.entries()) {
    // Layers have the same parameters in the same order.
    const names = ofLayer(target, place).map(({ name }) => name);
    for (const [i, { name }] of ofLayer(architecture, layer).entries())
      targets.set(name, [...(targets.get(name) ?? []), names[i]]);
  }
  return targets;
}

/**
 * A model's parameters as float32, from the tensors of a file in memory, in the architecture's
 * order.
 * @throws ModelFileError as `streamWeights` does
 */
export function loadWeights(
  tensors: ReadonlyMap<string, StoredTensor>,
  architecture: Architecture,
  file: string,
): Map<string, Float32Array<ArrayBuffer>> {
  const matched = matchTensors(tensors, architecture, file);
  const weights = new Map<string, Float32Array<ArrayBuffer>>();
  for (const [name, tensor] of matched.parameters) {
    const values = toFloat32(tensor);
    requireFinite(values, 0, name, matched.refuse);
    weights.set(name, values);
  }
  const head = matched.head && toFloat32(matched.head);
  matched.requireTied((embedding) => {
    const values = weights.get(embedding) as Float32Array;
    return head?.every((value, i) => value === values[i]) === true;
  });
  return weights;
}

function requireFinite(
  values: Float32Array,
  first: number,
  name: string,
  refuse: (what: string) => Error,
): void {
  const bad = values.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw refuse(`${name} holds ${values[bad]} at element ${count(first + bad)}`);
}

/**
 * model.safetensors, with the tensors named as transformers names them.
 * @throws Error if a parameter is missing, of another size, or not finite in that type
 */
export function saveWeights(
  architecture: Architecture,
  weights: ReadonlyMap<string, Float32Array>,
  dtype: 'F32' | 'F16' = 'F32',
): Uint8Array<ArrayBuffer> {
  return joinPieces(safetensorsPieces(architecture, dtype), weights);
}

/** `saveWeights`, before the weights are there. */
export const safetensorsPieces = (
  { parameters, tensorNames }: Architecture,
  dtype: 'F32' | 'F16',
): Piece[] =>
  tensorPieces(
    parameters.map((parameter) => ({ ...parameter, stored: tensorNames.stored(parameter.name) })),
    dtype,
  );

/** A safetensors file of these parameters. `stored`: the tensor's name in it. */
export function tensorPieces(
  parameters: readonly (Pick<Parameter, 'name' | 'shape'> & { stored: string })[],
  dtype: 'F32' | 'F16',
): Piece[] {
  // transformers refuses a file that does not say which framework's layout it has.
  const header = headerOf(
    parameters.map(({ stored, shape }) => [stored, { dtype, shape }]),
    { format: 'pt' },
  );
  const type = dtype === 'F16' ? 'f16' : 'f32';
  const pieces = parameters.map(({ name, shape }) => {
    const encode = (values: Float32Array) => encodeValues(name, type, values);
    return { parameter: name, shape, byteLength: sizeOf(dtype, shape), encode };
  });
  return [header, ...pieces];
}

/**
 * Compares two tensors that are never in memory together: two sums like FNV's over the values'
 * bits.
 */
class Fingerprint {
  #sums = [0x811c9dc5, 0x01234567];

  add(values: Float32Array): void {
    let [a, b] = this.#sums;
    for (const bits of new Uint32Array(values.buffer, values.byteOffset, values.length)) {
      a = Math.imul(a ^ bits, 0x01000193);
      b = Math.imul(b + bits, 0x85ebca6b) ^ (b >>> 15);
    }
    this.#sums = [a, b];
  }

  get text(): string {
    return this.#sums.join();
  }
}
