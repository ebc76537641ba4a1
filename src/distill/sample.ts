// Text from a model: the prompt continued token by token, each drawn from the most likely ones by a
// seeded stream. Our own models write a whole text on the GPU, and it is read back once; training
// waits for the work, and never for a word's way to the CPU.

import type { Tokenizer } from '../data/tokenizer';
import { CommandBatch } from '../gpu/command-batch';
import type { Gpu } from '../gpu/device';
import {
  bufferOf,
  type Pool,
  type Program,
  persistentTensor,
  Recorder,
  type Tensor,
} from '../gpu/program';
import { type Drawing, draw } from '../kernels/sample';
import type { LanguageModel } from '../model/family';
import { Layout } from '../tensor/layout';
import type { Random } from '../tensor/random';

/** Cool enough to stay on the subject, warm enough not to repeat itself. */
const DRAWING: Drawing = { k: 40, temperature: 0.8 };

/**
 * Continues `start`, one token or more, by one for each of `rolls`, 0 to 1, which decide between
 * the likeliest. A model sees its last T tokens.
 */
export type Write = (start: Uint32Array, rolls: Float32Array<ArrayBuffer>) => Promise<Uint32Array>;

/**
 * Continues the prompt by `count` tokens, or until the text ends. Returns the continuation alone.
 */
export async function sampleText(
  write: Write,
  tokenizer: Tokenizer,
  { prompt, count, random }: { prompt: string; count: number; random: Random },
): Promise<string> {
  if (count === 0) return '';
  // An empty prompt still needs a token to start from.
  const start = tokenizer.encode(prompt || '\n');
  const tokens = await write(
    start,
    Float32Array.from({ length: count }, () => random.uniform()),
  );
  const end = tokenizer.endOfText === undefined ? -1 : tokens.indexOf(tokenizer.endOfText);
  return tokenizer.decode(tokens.subarray(0, end < 0 ? count : end));
}

/** Writes with a model that others run: each word's logits (V) come to the CPU. */
export const writeByLogits =
  (next: (tokens: Uint32Array) => Promise<Float32Array>): Write =>
  async (start, rolls) => {
    const tokens = [...start];
    for (const roll of rolls) tokens.push(drawn(await next(Uint32Array.from(tokens)), roll));
    return Uint32Array.from(tokens.slice(start.length));
  };

/** What draw.wgsl draws. */
function drawn(logits: Float32Array, roll: number): number {
  const { k, temperature } = DRAWING;
  // The likeliest so far, in their order. Sorting a whole vocabulary takes far longer.
  const best: number[] = [];
  for (const [token, logit] of logits.entries()) {
    if (best.length === k && !(logit > logits[best[k - 1]])) continue;
    let place = best.length;
    while (place > 0 && logit > logits[best[place - 1]]) place--;
    best.splice(place, 0, token);
    best.length = Math.min(best.length, k);
  }
  const weights = best.map((token) => Math.exp((logits[token] - logits[best[0]]) / temperature));
  let left = roll * weights.reduce((a, b) => a + b);
  for (const [i, weight] of weights.entries()) {
    left -= weight;
    if (left < 0) return best[i];
  }
  return best[0];
}

/**
 * A model's forward pass for one sequence, recorded once; the head sees the last token's row alone.
 */
export class Sampler {
  /** (1, V): those of the word written last. */
  readonly logits: Tensor;
  readonly #tokens: Tensor;
  readonly #row: Tensor;
  readonly #roll: Tensor;
  readonly #token: Tensor;
  #body!: Program;
  #head!: Program;
  #hidden!: Tensor;

  private constructor(
    private readonly gpu: Gpu,
    { architecture: { width: C, vocabularySize: V }, weights }: LanguageModel,
    private readonly T: number,
  ) {
    this.#tokens = persistentTensor(gpu, 'data', 'sample tokens', Layout.contiguous([1, T]), 'u32');
    this.#row = persistentTensor(
      gpu,
      'activations',
      'sample row',
      Layout.contiguous([1, C]),
      weights.dtype,
    );
    this.logits = persistentTensor(
      gpu,
      'logits',
      'sample logits',
      Layout.contiguous([1, V]),
      'f32',
    );
    this.#roll = persistentTensor(gpu, 'data', 'sample roll', Layout.contiguous([1]), 'f32');
    this.#token = persistentTensor(gpu, 'data', 'sample token', Layout.contiguous([1]), 'u32');
  }

  static async create(gpu: Gpu, pool: Pool, model: LanguageModel, T: number): Promise<Sampler> {
    const sampler = new Sampler(gpu, model, T);
    const body = new Recorder(gpu, pool);
    sampler.#hidden = model.forward(body, sampler.#tokens).hidden;
    const top = new Recorder(gpu, pool);
    model.head(top, sampler.#row, sampler.logits);
    draw(top, { logits: sampler.logits, rolls: sampler.#roll, tokens: sampler.#token }, DRAWING);
    [sampler.#body, sampler.#head] = await Promise.all([
      body.build('sample'),
      top.build('sample head'),
    ]);
    return sampler;
  }

  write: Write = async (start, rolls) => {
    const { gpu, T } = this;
    const { memory, device } = gpu;
    const length = start.length + rolls.length;
    // Where the text is shorter than the window, zeros follow it: a causal model does not look
    // there.
    const text = memory.create('data', 'sample text', 4 * Math.max(T, length));
    const dice = memory.create('data', 'sample rolls', rolls.byteLength);
    device.queue.writeBuffer(text, 0, new Uint32Array(start));
    device.queue.writeBuffer(dice, 0, rolls);
    for (let at = start.length; at < length; at++) {
      const commands = new CommandBatch(gpu, 'sample');
      const copy = (from: GPUBuffer, offset: number, to: Tensor, bytes = to.place.bytes) =>
        commands.encoder.copyBufferToBuffer(from, offset, bufferOf(to), 0, bytes);
      copy(text, 4 * Math.max(0, at - T), this.#tokens);
      copy(dice, 4 * (at - start.length), this.#roll);
      commands.run(this.#body);
      copy(bufferOf(this.#hidden), (Math.min(at, T) - 1) * this.#row.place.bytes, this.#row);
      commands.run(this.#head);
      commands.encoder.copyBufferToBuffer(bufferOf(this.#token), 0, text, 4 * at, 4);
      await commands.submit();
    }
    try {
      return new Uint32Array(await gpu.read(text, 4 * start.length, 4 * rolls.length));
    } finally {
      memory.destroy(text);
      memory.destroy(dice);
    }
  };

  destroy(): void {
    for (const program of [this.#body, this.#head]) program.destroy();
    for (const tensor of [this.#tokens, this.#row, this.logits, this.#roll, this.#token])
      this.gpu.memory.destroy(bufferOf(tensor));
  }
}
