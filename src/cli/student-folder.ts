// The trained student as a Hugging Face folder, which transformers, transformers.js and Stillhouse itself read.

import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { formatConfig, type Gpt2Config } from '../model/config';
import { exportOnnx } from '../model/onnx';
import { saveGpt2Weights } from '../model/safetensors';
import type { ModelSource } from '../model/source';

/** The files of a tokenizer; a folder has some of them. */
const TOKENIZER_FILES = [
  ...['tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json'],
  ...['vocab.json', 'merges.txt'],
];

export interface TrainedStudent {
  config: Gpt2Config;
  /** f32, by Hugging Face name. */
  weights: ReadonlyMap<string, Float32Array>;
  /** The teacher's folder: the student has its tokenizer. */
  tokenizer: ModelSource;
  endOfText?: number;
}

/** Writes config.json, the tokenizer, model.safetensors and both ONNX files; returns their names. */
export async function writeStudent(folder: string, student: TrainedStudent): Promise<string[]> {
  const { config, weights, tokenizer, endOfText } = student;
  const written: string[] = [];
  const write = async (name: string, bytes: string | Uint8Array) => {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), bytes);
    written.push(name);
  };
  await write('config.json', `${JSON.stringify(formatConfig(config, 'float32', endOfText), null, 2)}\n`);
  for (const name of TOKENIZER_FILES) if (await tokenizer.has(name)) await write(name, await tokenizer.read(name));
  await write('model.safetensors', saveGpt2Weights(config, weights));
  await write('onnx/model.onnx', exportOnnx(config, weights, 'f32'));
  await write('onnx/model_fp16.onnx', exportOnnx(config, weights, 'f16'));
  return written;
}

/** The first parameter that is not finite, with its value; undefined if all are. */
export function firstBadWeight(weights: ReadonlyMap<string, Float32Array>): string | undefined {
  for (const [name, values] of weights) {
    const bad = values.findIndex((value) => !Number.isFinite(value));
    if (bad >= 0) return `${name} holds ${values[bad]} at element ${bad}`;
  }
  return undefined;
}
