// Text from a model: the prompt, continued token by token, each sampled from the k likeliest with
// seeded random numbers. Our own models generate a whole text on the GPU, which is read back once,
// so training does not wait for a round trip per token.

import type { Tokenizer } from '../data/tokenizer';
import { CommandBatch } from '../gpu/command-batch';
import type { Gpu } from '../gpu/device';
import type { Purpose } from '../gpu/memory';
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
import type { DType } from '../tensor/dtype';
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

/** A pass of the model, recorded once. */
interface Pass {
  program: PendingProgram;
  /** (1 or T, C) */
  hidden: Tensor;
}

/**
 * A model that continues one text. A pass over the text keeps the keys and values of its tokens, so
 * that each further token needs a pass over itself alone. Once the text is longer than T, all that
 * is kept changes with each token, since the model sees the last T as if they were a text's first:
 * then each needs a pass over all T.
 */
export class Sampler {
  /** (1, V), of the last token generated. */
  readonly logits: Tensor;
  readonly #T: number;
  readonly #tokens: Tensor;
  readonly #keyValues: Tensor[];
  readonly #position: Tensor;
  readonly #row: Tensor;
  readonly #roll: Tensor;
  /** (1, 1): the last token of the text. */
  readonly #token: Tensor;
  #text!: Pass;
  #next!: Pass;
  #head!: PendingProgram;
  /** Tokens whose keys and values `next` kept. */
  #kept = new Uint32Array();

  private constructor(
    private readonly gpu: Gpu,
    pool: Pool,
    { architecture, weights: { dtype } }: LanguageModel,
    T: number,
  ) {
    const { width: C, vocabularySize: V, layers, keyValueWidth } = architecture;
    const own = (purpose: Purpose, label: string, shape: number[], type: DType) =>
      persistentTensor(gpu, purpose, `sample ${label}`, Layout.contiguous(shape), type);
    const activations = pool.purpose ?? 'activations';
    this.#T = T;
    this.#tokens = own('data', 'tokens', [1, T], 'u32');
    this.#keyValues = Array.from({ length: layers }, (_, layer) =>
      own(activations, `keys and values ${layer}`, [T, keyValueWidth], dtype),
    );
    this.#position = own('data', 'position', [1, 1], 'u32');
    this.#row = own('activations', 'row', [1, C], dtype);
    this.logits = own('logits', 'logits', [1, V], 'f32');
    this.#roll = own('data', 'roll', [1], 'f32');
    this.#token = own('data', 'token', [1, 1], 'u32');
  }

  /** Its kernels go on compiling; `generate` waits for them. */
  static create(gpu: Gpu, pool: Pool, model: LanguageModel, T: number): Sampler {
    const sampler = new Sampler(gpu, pool, model, T);
    const pass = (label: string, tokens: Tensor, position?: Tensor): Pass => {
      const recorder = new Recorder(gpu, pool);
      const keyValues = { layers: sampler.#keyValues, position };
      const { hidden } = model.forward(recorder, tokens, { keyValues });
      return { hidden, program: recorder.begin(label) };
    };
    const top = new Recorder(gpu, pool);
    model.head(top, sampler.#row, sampler.logits);
    sampleTokens(
      top,
      { logits: sampler.logits, rolls: sampler.#roll, tokens: sampler.#token },
      { k: SAMPLING.top_k, temperature: SAMPLING.temperature },
    );
    sampler.#text = pass('sample text', sampler.#tokens);
    sampler.#head = top.begin('sample head');
    sampler.#next = pass('sample next', sampler.#token, sampler.#position);
    return sampler;
  }

  generate: Generate = async (start, rolls) => {
    const { gpu } = this;
    const T = this.#T;
    const { memory, device } = gpu;
    const length = start.length + rolls.length;
    // A text shorter than the window is followed by zeros, which a causal model does not look at.
    const text = memory.create('data', 'sample text', 4 * Math.max(T, length));
    const allRolls = memory.create('data', 'sample rolls', rolls.byteLength);
    device.queue.writeBuffer(text, 0, new Uint32Array(start));
    device.queue.writeBuffer(allRolls, 0, rolls);
    this.#kept = new Uint32Array();
    try {
      for (let at = start.length; at < length; at++) {
        const commands = new CommandBatch(gpu, 'sample');
        const { encoder } = commands;
        encoder.copyBufferToBuffer(allRolls, 4 * (at - start.length), bufferOf(this.#roll), 0, 4);
        if (at === start.length || at > T) {
          const first = Math.max(0, at - T);
          encoder.copyBufferToBuffer(text, 4 * first, bufferOf(this.#tokens), 0, 4 * T);
          await this.#run(commands, this.#text, Math.min(at, T) - 1);
        } else {
          device.queue.writeBuffer(bufferOf(this.#position), 0, Uint32Array.of(at - 1));
          await this.#run(commands, this.#next, 0);
        }
        commands.encoder.copyBufferToBuffer(bufferOf(this.#token), 0, text, 4 * at, 4);
        await commands.submit();
      }
      return new Uint32Array(await gpu.read(text, 4 * start.length, 4 * rolls.length));
    } finally {
      memory.destroy(text);
      memory.destroy(allRolls);
    }
  };

  /**
   * Logits of next tokens, with the weights as they are now. Once they have changed, ask for a new
   * voice: an earlier one speaks from the keys and values that it kept.
   */
  voice(): NextLogits {
    this.#kept = new Uint32Array();
    return async (tokens) => {
      const { gpu } = this;
      const { queue } = gpu.device;
      const seen = tokens.slice(-this.#T);
      const last = seen.length - 1;
      const commands = new CommandBatch(gpu, 'sample');
      if (seen.subarray(0, last).every((token, i) => token === this.#kept[i])) {
        queue.writeBuffer(bufferOf(this.#token), 0, seen, last, 1);
        queue.writeBuffer(bufferOf(this.#position), 0, Uint32Array.of(last));
        await this.#run(commands, this.#next, 0);
      } else {
        queue.writeBuffer(bufferOf(this.#tokens), 0, seen);
        await this.#run(commands, this.#text, last);
      }
      await commands.submit();
      this.#kept = seen;
      return new Float32Array(await gpu.read(bufferOf(this.logits)));
    };
  }

  /** Runs a pass, and the head on one of its rows. */
  async #run(commands: CommandBatch, { program, hidden }: Pass, row: number): Promise<void> {
    const head = await this.#head.ready;
    commands.run(await program.ready);
    const { bytes } = this.#row.place;
    const [from, to] = [bufferOf(hidden), bufferOf(this.#row)];
    commands.encoder.copyBufferToBuffer(from, row * bytes, to, 0, bytes);
    commands.run(head);
  }

  destroy(): void {
    for (const program of [this.#text.program, this.#next.program, this.#head]) program.destroy();
    const { logits } = this;
    const tensors = [this.#tokens, this.#position, this.#row, this.#roll, this.#token, logits];
    for (const tensor of [...this.#keyValues, ...tensors])
      this.gpu.memory.destroy(bufferOf(tensor));
  }
}
