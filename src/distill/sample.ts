// Text from a model: the prompt, continued token by token, each sampled from the k likeliest with
// seeded random numbers. Our own models generate a whole text on the GPU, which is read back once,
// so training does not wait for a round trip per token.

import type { Tokenizer } from '../data/tokenizer';
import { CommandBatch } from '../gpu/command-batch';
import type { Gpu } from '../gpu/device';
import {
  bufferOf,
  type PendingProgram,
  type Pool,
  persistentTensor,
  Recorder,
  type Tensor,
} from '../gpu/program';
import { sampleTokens } from '../kernels/sample';
import type { LanguageModel } from '../model/family';
import { Layout } from '../tensor/layout';
import type { Random } from '../tensor/random';
import { chooseToken, SAMPLING } from './sampling';

/**
 * Continues `start`, at least one token, by one token for each of `rolls`: random numbers in [0, 1)
 * that choose among the likeliest. The model sees the last T tokens.
 */
export type Generate = (
  start: Uint32Array,
  rolls: Float32Array<ArrayBuffer>,
) => Promise<Uint32Array>;

/**
 * Logits (V) of the token that follows `tokens`, at least one. The model sees the last T of them.
 * One call at a time.
 */
export type NextLogits = (tokens: Uint32Array) => Promise<Float32Array>;

/** Continues the prompt by `count` tokens, or until the text ends. Returns the continuation. */
export async function sampleText(
  generate: Generate,
  tokenizer: Tokenizer,
  { prompt, count, random }: { prompt: string; count: number; random: Random },
): Promise<string> {
  if (count === 0) return '';
  // An empty prompt still needs a token to start from.
  const start = tokenizer.encode(prompt || '\n');
  const tokens = await generate(
    start,
    Float32Array.from({ length: count }, () => random.uniform()),
  );
  const end = tokenizer.endOfText === undefined ? -1 : tokens.indexOf(tokenizer.endOfText);
  return tokenizer.decode(tokens.subarray(0, end < 0 ? count : end));
}

/** Generates with a model whose logits of each next token are read back to the CPU. */
export const generateByLogits =
  (next: NextLogits): Generate =>
  async (start, rolls) => {
    const tokens = [...start];
    for (const roll of rolls)
      tokens.push(chooseToken(await next(Uint32Array.from(tokens)), SAMPLING, roll));
    return Uint32Array.from(tokens.slice(start.length));
  };

/** A model's forward pass for one sequence, recorded once. The head sees the last token's row. */
export class Sampler {
  /** (1, V), of the last token generated. */
  readonly logits: Tensor;
  readonly #T: number;
  readonly #tokens: Tensor;
  readonly #row: Tensor;
  readonly #roll: Tensor;
  readonly #token: Tensor;
  #body!: PendingProgram;
  #head!: PendingProgram;
  #hidden!: Tensor;

  private constructor(
    private readonly gpu: Gpu,
    { architecture: { width: C, vocabularySize: V }, weights }: LanguageModel,
    T: number,
  ) {
    this.#T = T;
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

  /** Its kernels go on compiling; `generate` waits for them. */
  static create(gpu: Gpu, pool: Pool, model: LanguageModel, T: number): Sampler {
    const sampler = new Sampler(gpu, model, T);
    const body = new Recorder(gpu, pool);
    sampler.#hidden = model.forward(body, sampler.#tokens).hidden;
    const top = new Recorder(gpu, pool);
    model.head(top, sampler.#row, sampler.logits);
    sampleTokens(
      top,
      { logits: sampler.logits, rolls: sampler.#roll, tokens: sampler.#token },
      { k: SAMPLING.top_k, temperature: SAMPLING.temperature },
    );
    sampler.#body = body.begin('sample');
    sampler.#head = top.begin('sample head');
    return sampler;
  }

  generate: Generate = async (start, rolls) => {
    const { gpu } = this;
    const T = this.#T;
    const [body, head] = await Promise.all([this.#body.ready, this.#head.ready]);
    const { memory, device } = gpu;
    const length = start.length + rolls.length;
    // A text shorter than the window is followed by zeros, which a causal model does not look at.
    const text = memory.create('data', 'sample text', 4 * Math.max(T, length));
    const allRolls = memory.create('data', 'sample rolls', rolls.byteLength);
    device.queue.writeBuffer(text, 0, new Uint32Array(start));
    device.queue.writeBuffer(allRolls, 0, rolls);
    for (let at = start.length; at < length; at++) {
      const commands = new CommandBatch(gpu, 'sample');
      const copy = (from: GPUBuffer, offset: number, to: Tensor, bytes = to.place.bytes) =>
        commands.encoder.copyBufferToBuffer(from, offset, bufferOf(to), 0, bytes);
      copy(text, 4 * Math.max(0, at - T), this.#tokens);
      copy(allRolls, 4 * (at - start.length), this.#roll);
      commands.run(body);
      copy(bufferOf(this.#hidden), (Math.min(at, T) - 1) * this.#row.place.bytes, this.#row);
      commands.run(head);
      commands.encoder.copyBufferToBuffer(bufferOf(this.#token), 0, text, 4 * at, 4);
      await commands.submit();
    }
    try {
      return new Uint32Array(await gpu.read(text, 4 * start.length, 4 * rolls.length));
    } finally {
      memory.destroy(text);
      memory.destroy(allRolls);
    }
  };

  next: NextLogits = async (tokens) => {
    const { gpu } = this;
    const seen = tokens.slice(-this.#T);
    gpu.device.queue.writeBuffer(bufferOf(this.#tokens), 0, seen);
    const commands = new CommandBatch(gpu, 'sample');
    commands.run(await this.#body.ready);
    const row = this.#row.place.bytes;
    const [from, to] = [bufferOf(this.#hidden), bufferOf(this.#row)];
    commands.encoder.copyBufferToBuffer(from, (seen.length - 1) * row, to, 0, row);
    commands.run(await this.#head.ready);
    await commands.submit();
    return new Float32Array(await gpu.read(bufferOf(this.logits)));
  };

  destroy(): void {
    for (const program of [this.#body, this.#head]) program.destroy();
    for (const tensor of [this.#tokens, this.#row, this.logits, this.#roll, this.#token])
      this.gpu.memory.destroy(bufferOf(tensor));
  }
}
