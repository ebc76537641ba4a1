// A model's weights from its folder's safetensors, one file or several, read slice by slice: never
// a whole model in memory.

import { count, ModelFileError } from '../files/download';
import {
  gpt2Tensors,
  headerLength,
  LENGTH_BYTES,
  readHeader,
  type StoredEntry,
  toFloat32,
  UNTIED,
} from '../files/safetensors';
import { type ModelSource, readJson } from '../files/source';
import type { Gpt2Config } from './gpt2/config';
import type { WeightSink } from './parameters';

const SINGLE = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';
/** Elements that are converted at once; even, as an f16 arena wants it. */
const SLICE = 2 ** 19;

/** What the headers of a folder's safetensors say. */
export interface WeightFiles {
  source: ModelSource;
  tensors: Map<string, StoredEntry & { file: string }>;
  /** Bytes of all files. */
  bytes: number;
}

/**
 * Reads the headers of a folder's weights, and nothing else of them.
 * @throws ModelFileError: `missing` where the folder has no safetensors at all
 */
export async function openWeights(source: ModelSource): Promise<WeightFiles> {
  const opened: WeightFiles = { source, tensors: new Map(), bytes: 0 };
  const sharded = !(await source.has(SINGLE));
  if (sharded && !(await source.has(INDEX))) {
    const converted = await source.converted?.();
    if (converted) return openWeights(converted);
    throw new ModelFileError(
      'model',
      `${source.label} has no ${SINGLE}. Choose a model or a revision that has one; a pytorch_model.bin cannot be read.`,
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
          `${name}: tensor ${entry.name} is in ${other} too. Use another copy.`,
        );
      opened.tensors.set(entry.name, { ...entry, file });
    }
    opened.bytes += size;
  }
  for (const [tensor, file] of listed ?? []) {
    if (opened.tensors.get(tensor)?.file === file) continue;
    throw new ModelFileError(
      'model',
      `${file} of ${source.label}: tensor ${tensor} is missing, which ${INDEX} names.`,
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
    // Beside the index, and nowhere else.
    if (typeof file === 'string' && /^[\w.-]+\.safetensors$/.test(file)) continue;
    const what = `${name} puts ${tensor} into ${JSON.stringify(file)}`;
    throw new ModelFileError(
      'model',
      `${what}, which is no safetensors file beside it. Use the model's own file.`,
    );
  }
  return new Map(listed as [string, string][]);
}

/**
 * Gives a GPT-2's parameters to `sink` as float32, in the order of the files.
 * @param config the stored model's
 * @param layers the layers to take, by the stored model's numbers: they become layers 0, 1, … All,
 * if not given.
 * @throws ModelFileError for a parameter that is missing, unknown, of another shape or type, or not
 * finite, and for a head that is not tied to the embedding
 */
export async function streamGpt2Weights(
  { source, tensors }: WeightFiles,
  config: Gpt2Config,
  sink: WeightSink,
  layers?: readonly number[],
): Promise<void> {
  const stored = [...new Set([...tensors.values()].map(({ file }) => file))];
  const { parameters, head, refuse } = gpt2Tensors(
    tensors,
    config,
    `${stored[0]} of ${source.label}`,
  );
  const wanted = [...parameters].flatMap(([name, entry]) => {
    const [, layer, rest] = /^h\.(\d+)\.(.+)$/.exec(name) ?? [];
    if (!layers || layer === undefined) return { entry, name, as: [name] };
    const places = layers.flatMap((taken, place) =>
      taken === Number(layer) ? `h.${place}.${rest}` : [],
    );
    return places.length > 0 ? { entry, name, as: places } : [];
  });
  if (head) wanted.push({ entry: head, name: 'lm_head.weight', as: [] });
  const place = ({ file, from }: { file: string; from: number }) =>
    stored.indexOf(file) * 2 ** 45 + from;
  wanted.sort((a, b) => place(a.entry) - place(b.entry));

  const marks = new Map<string, string>();
  for (const { entry, name, as } of wanted) {
    const mark = new Fingerprint();
    const bytes = (entry.to - entry.from) / entry.shape.reduce((a, b) => a * b);
    for (let from = entry.from; from < entry.to; from += SLICE * bytes) {
      const data = await source.range(entry.file, from, Math.min(from + SLICE * bytes, entry.to));
      const values = toFloat32({ dtype: entry.dtype, shape: entry.shape, data });
      const first = (from - entry.from) / bytes;
      const bad = values.findIndex((value) => !Number.isFinite(value));
      if (bad >= 0) throw refuse(`${name} holds ${values[bad]} at element ${count(first + bad)}`);
      if (head) mark.add(values);
      for (const parameter of as) await sink(parameter, first, values);
    }
    marks.set(name, mark.text);
  }
  if (head && marks.get('lm_head.weight') !== marks.get('wte.weight')) throw refuse(UNTIED);
}

/**
 * Tells two tensors apart that are not in memory together: two sums of FNV's kind over the values'
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
