// Text from a model: the prompt continued token by token, each drawn from the most likely ones by a seeded stream.

import type { Tokenizer } from '../data/tokenizer';
import type { Gpu } from '../gpu/device';
import { bufferOf, type Pool, type Program, persistentTensor, Recorder, type Tensor } from '../gpu/program';
import { Work } from '../gpu/work';
import type { Gpt2Config } from '../model/config';
import { forward, head } from '../model/gpt2';
import type { Arena } from '../model/parameters';
import { BYTES, fromHalf } from '../tensor/dtype';
import { Layout } from '../tensor/layout';
import type { Random } from '../tensor/random';

/** Cool enough to stay on the subject, warm enough not to repeat itself. */
const TEMPERATURE = 0.8;
const TOP_K = 40;

/** Logits (V) of the token that follows `tokens`; at most the last T of them are seen. */
export type NextLogits = (tokens: Uint32Array) => Promise<Float32Array>;

/** Continues the prompt by `count` tokens, or until the text ends. Returns the continuation alone. */
export async function sampleText(
  next: NextLogits,
  tokenizer: Tokenizer,
  { prompt, count, random }: { prompt: string; count: number; random: Random },
): Promise<string> {
  // An empty prompt still needs a token to start from.
  const start = tokenizer.encode(prompt || '\n');
  const tokens = [...start];
  for (let i = 0; i < count; i++) {
    const token = draw(await next(Uint32Array.from(tokens)), random);
    if (token === tokenizer.endOfText) break;
    tokens.push(token);
  }
  return tokenizer.decode(tokens.slice(start.length));
}

/** One token of the TOP_K most likely. */
function draw(logits: Float32Array, random: Random): number {
  const best = [...logits.keys()].sort((a, b) => logits[b] - logits[a]).slice(0, TOP_K);
  const weights = best.map((token) => Math.exp((logits[token] - logits[best[0]]) / TEMPERATURE));
  let left = random.uniform() * weights.reduce((a, b) => a + b);
  for (const [i, weight] of weights.entries()) {
    left -= weight;
    if (left < 0) return best[i];
  }
  return best[0];
}

/** A model's forward pass for one sequence, recorded once; the head sees the last token's row alone. */
export class Sampler {
  readonly #tokens: Tensor;
  readonly #row: Tensor;
  readonly #logits: Tensor;
  #body!: Program;
  #head!: Program;
  #hidden!: Tensor;

  private constructor(
    private readonly gpu: Gpu,
    { n_embd: C, vocab_size: V }: Gpt2Config,
    weights: Arena,
    private readonly T: number,
  ) {
    this.#tokens = persistentTensor(gpu, 'data', 'sample tokens', Layout.contiguous([1, T]), 'u32');
    this.#row = persistentTensor(gpu, 'activations', 'sample row', Layout.contiguous([1, C]), weights.dtype);
    this.#logits = persistentTensor(gpu, 'logits', 'sample logits', Layout.contiguous([1, V]), 'f32');
  }

  static async create(gpu: Gpu, pool: Pool, config: Gpt2Config, weights: Arena, T: number): Promise<Sampler> {
    const sampler = new Sampler(gpu, config, weights, T);
    const body = new Recorder(gpu, pool);
    sampler.#hidden = forward(body, config, weights, sampler.#tokens).hidden;
    sampler.#body = await body.build('sample');
    const top = new Recorder(gpu, pool);
    head(top, weights, sampler.#row, sampler.#logits);
    sampler.#head = await top.build('sample head');
    return sampler;
  }

  next: NextLogits = async (tokens) => {
    const { inputs, last } = padded(tokens, this.T);
    this.gpu.device.queue.writeBuffer(bufferOf(this.#tokens), 0, inputs);
    const work = new Work(this.gpu, 'sample');
    work.run(this.#body);
    const bytes = this.#row.place.bytes;
    work.encoder.copyBufferToBuffer(bufferOf(this.#hidden), last * bytes, bufferOf(this.#row), 0, bytes);
    work.run(this.#head);
    work.submit();
    return readRow(this.gpu, this.#logits, 0, this.#logits.layout.numel);
  };

  destroy(): void {
    for (const program of [this.#body, this.#head]) program.destroy();
    for (const tensor of [this.#tokens, this.#row, this.#logits]) this.gpu.memory.destroy(bufferOf(tensor));
  }
}

/** The last T tokens as one row of T, and the index of the last. Padding comes behind, where a causal model does not look. */
export function padded(tokens: Uint32Array, T: number): { inputs: Uint32Array<ArrayBuffer>; last: number } {
  const seen = tokens.slice(-T);
  const inputs = new Uint32Array(T);
  inputs.set(seen);
  return { inputs, last: seen.length - 1 };
}

/** `count` elements from `first` on, as f32. Copies are of whole words, so an odd range of halves is read a little wider. */
export async function readRow(gpu: Gpu, tensor: Tensor, first: number, count: number): Promise<Float32Array> {
  const size = BYTES[tensor.dtype];
  const start = Math.floor((first * size) / 4) * 4;
  const end = Math.ceil(((first + count) * size) / 4) * 4;
  const bytes = await gpu.read(bufferOf(tensor), start, end - start);
  const skip = first - start / size;
  const all = tensor.dtype === 'f16' ? fromHalf(new Uint16Array(bytes)) : new Float32Array(bytes);
  return all.slice(skip, skip + count);
}
