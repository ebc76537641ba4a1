// A decoder that onnxruntime-web runs on our own GPUDevice: token ids in, logits into a buffer of
// ours, which never leave the GPU. The only file that imports onnxruntime-web, whose interface for
// a device is new and may change.

import * as ort from 'onnxruntime-web/webgpu';
import { ModelFileError } from '../../files/download';
import { fromHalf } from '../../tensor/dtype';
import type { OnnxData } from './onnx-file';
import type { TeacherSizes } from './teacher';

export interface OnnxModelOptions {
  device: GPUDevice;
  /**
   * The bytes of the .onnx file: input_ids (B, T) int64 -> logits (B, T, V). If it also takes
   * attention_mask, position_ids and past_key_values, they get ones, 0 to T − 1, and nothing.
   */
  model: Uint8Array;
  /** Files of weights that it names. */
  data?: readonly OnnxData[];
  config: TeacherSizes;
  /** Required element type of the logits; any by default. `f16` needs a device with shader-f16. */
  dtype?: 'f32' | 'f16';
  /** The name in error messages. */
  file?: string;
}

const TYPES = { f32: { name: 'float32', bytes: 4 }, f16: { name: 'float16', bytes: 2 } } as const;

/** Log level of the runtime: it throws errors, too, so they need no line in the log. */
const FATAL = 4;

// The runtime is one WebAssembly module, and two calls at once corrupt its memory. So all models
// share a queue.
let queue: Promise<unknown> = Promise.resolve();
function serially<T>(work: () => Promise<T>): Promise<T> {
  const result = queue.then(work);
  queue = result.catch(() => {});
  return result;
}

/** Makes one input of the graph for (batch, length) tokens. */
type Feed = (batch: number, length: number) => ort.Tensor;

export class OnnxModel {
  readonly dtype: 'f32' | 'f16';
  readonly #session: ort.InferenceSession;
  readonly #sizes: TeacherSizes;
  readonly #file: string;
  #disposed = false;
  #lost?: GPUDeviceLostInfo;

  /** The graph's inputs beside input_ids, by name. */
  readonly #feeds: Map<string, Feed>;

  private constructor(
    session: ort.InferenceSession,
    { device, config }: OnnxModelOptions,
    { dtype, feeds }: ReturnType<typeof checkInterface>,
    file: string,
  ) {
    this.#session = session;
    this.#sizes = config;
    this.#file = file;
    this.#feeds = feeds;
    this.dtype = dtype;
    void device.lost.then((info) => {
      this.#lost = info;
    });
  }

  /**
   * @throws ModelFileError if the file is no model that we can run, or its logits are not `dtype`
   */
  static create(options: OnnxModelOptions): Promise<OnnxModel> {
    const { device, model, data, config, dtype, file = 'model.onnx' } = options;
    if (dtype === 'f16' && !device.features.has('shader-f16')) {
      return Promise.reject(needsF16(file));
    }
    return serially(async () => {
      // With more threads and cross-origin isolation, creating a session hangs without an error.
      ort.env.wasm.numThreads = 1;
      // Other libraries set this to their own server; the bundler knows where the file is.
      ort.env.wasm.wasmPaths = undefined;
      let session: ort.InferenceSession;
      try {
        session = await ort.InferenceSession.create(model, {
          executionProviders: [
            { name: 'webgpu', device } as ort.InferenceSession.WebGpuExecutionProviderOption,
          ],
          externalData: data,
          preferredOutputLocation: 'gpu-buffer',
          logSeverityLevel: FATAL,
        });
      } catch (error) {
        throw refused(
          file,
          `onnxruntime cannot load its ${model.length.toLocaleString('en-US')} bytes`,
          error,
        );
      }
      try {
        const graph = checkInterface(session, config, dtype, file);
        if (graph.dtype === 'f16' && !device.features.has('shader-f16')) throw needsF16(file);
        return new OnnxModel(session, options, graph, file);
      } catch (error) {
        await session.release();
        throw error;
      }
    });
  }

  /**
   * Writes the logits of `inputIds` (batch, length) to the start of `output`: (batch, length, V),
   * contiguous. Resolves when the work is on the device's queue: later submissions see the logits.
   * @throws RangeError if a size, a token or the buffer does not fit; ModelFileError if the model
   * fails while running; Error if the device is lost
   */
  async run(
    inputIds: Uint32Array,
    batch: number,
    length: number,
    output: GPUBuffer,
  ): Promise<void> {
    const { vocabularySize: V, contextWindow: P } = this.#sizes;
    if (inputIds.length !== batch * length || length < 1 || length > P) {
      throw new RangeError(
        `teacher: ${inputIds.length} tokens for batch ${batch} × length ${length}; ` +
          `a length may be 1 to ${P}.`,
      );
    }
    const unknown = inputIds.findIndex((id) => id >= V);
    if (unknown >= 0) {
      throw new RangeError(
        `teacher: token ${inputIds[unknown]} at ${unknown} is outside the vocabulary of ${V}. ` +
          'Use its tokenizer.',
      );
    }
    const { name: dataType, bytes } = TYPES[this.dtype];
    const needed = batch * length * V * bytes;
    if (output.size < needed) {
      throw new RangeError(
        `teacher: logits take ${needed} bytes, the output buffer has ${output.size}. ` +
          'Make it larger.',
      );
    }
    const ids = new ort.Tensor('int64', BigInt64Array.from(inputIds, BigInt), [batch, length]);
    // The runtime writes into our buffer, and does not own it.
    const logits = ort.Tensor.fromGpuBuffer(output, { dataType, dims: [batch, length, V] });
    await serially(async () => {
      if (this.#disposed) throw new Error('teacher: run after dispose. Create it again.');
      this.#checkDevice();
      try {
        const others = [...this.#feeds].map(([name, feed]) => [name, feed(batch, length)]);
        await this.#session.run(
          { input_ids: ids, ...Object.fromEntries(others) },
          { logits },
          { logSeverityLevel: FATAL },
        );
      } catch (error) {
        // A lost device would explain the failure; its promise settles first.
        await new Promise((resolve) => setTimeout(resolve));
        this.#checkDevice();
        if (/requires f16/.test(String(error))) throw needsF16(this.#file);
        throw refused(this.#file, `onnxruntime failed on a batch of ${batch} × ${length}`, error);
      }
    });
  }

  #checkDevice(): void {
    if (this.#lost) {
      throw new Error(
        `teacher: the GPU device was lost (${this.#lost.message}). ` +
          'Create device and teacher again.',
      );
    }
  }

  /** Frees the runtime's memory once running work is done. A second call does nothing. */
  dispose(): Promise<void> {
    return serially(async () => {
      if (this.#disposed) return;
      this.#disposed = true;
      await this.#session.release();
    });
  }
}

/**
 * The logits (tokens, V) of one sequence on the CPU, where the runtime computes in float32 even if
 * the file is float16.
 * @throws ModelFileError if the file is no model that we can run there
 */
export function logitsOnCpu(
  { model, data, config, file = 'model.onnx' }: Omit<OnnxModelOptions, 'device' | 'dtype'>,
  tokens: Uint32Array,
): Promise<Float32Array> {
  return serially(async () => {
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmPaths = undefined;
    let session: ort.InferenceSession | undefined;
    try {
      session = await ort.InferenceSession.create(model, {
        executionProviders: ['wasm'],
        externalData: data,
        logSeverityLevel: FATAL,
      });
      const { feeds } = checkInterface(session, config, undefined, file);
      const ids = BigInt64Array.from(tokens, BigInt);
      const inputs: Record<string, ort.Tensor> = {
        input_ids: new ort.Tensor('int64', ids, [1, tokens.length]),
      };
      for (const [name, feed] of feeds) inputs[name] = feed(1, tokens.length);
      const { logits } = await session.run(inputs, ['logits'], { logSeverityLevel: FATAL });
      const values = logits.data as Float32Array | Uint16Array;
      return values instanceof Float32Array ? values : fromHalf(new Uint16Array(values.buffer));
    } catch (error) {
      if (error instanceof ModelFileError) throw error;
      throw refused(file, 'onnxruntime failed on the CPU', error);
    } finally {
      await session?.release();
    }
  });
}

function needsF16(file: string): ModelFileError {
  return new ModelFileError(
    'model',
    `${file} computes in float16, and this device has no shader-f16. Use the float32 file.`,
  );
}

/** Checks the graph's inputs and outputs, which the runtime would do at the first run only. */
function checkInterface(
  { inputMetadata, outputMetadata }: ort.InferenceSession,
  { vocabularySize: V }: TeacherSizes,
  dtype: 'f32' | 'f16' | undefined,
  file: string,
): { dtype: 'f32' | 'f16'; feeds: Map<string, Feed> } {
  const refusal = (what: string) =>
    new ModelFileError('model', `${file}: ${what}. Choose another export of this model.`);
  const names = (metadata: readonly ort.InferenceSession.ValueMetadata[]) =>
    metadata.map(({ name }) => name).join(', ');
  const feeds = new Map<string, Feed>();
  const unsupported: string[] = [];
  for (const input of inputMetadata) {
    if (input.name === 'input_ids') continue;
    const feed = feedOf(input);
    if (feed) feeds.set(input.name, feed);
    else unsupported.push(input.name);
  }
  const ids = inputMetadata.find(({ name }) => name === 'input_ids');
  if (!ids || unsupported.length > 0) {
    const supported =
      'supported are input_ids, which is required, attention_mask, position_ids and ' +
      'past_key_values';
    const which = ids ? `; not supported: ${unsupported.join(', ')}` : '';
    throw refusal(`its inputs are ${names(inputMetadata)}${which}; ${supported}`);
  }
  if (!ids.isTensor || ids.type !== 'int64') throw refusal('its input_ids are not int64');
  const output = outputMetadata.find(({ name }) => name === 'logits');
  if (!output?.isTensor) throw refusal(`its outputs are ${names(outputMetadata)}, without logits`);
  const type = (['f32', 'f16'] as const).find((name) => TYPES[name].name === output.type);
  if (!type || (dtype && dtype !== type)) {
    const expected = dtype ? TYPES[dtype].name : 'float32 or float16';
    throw refusal(`its logits are ${output.type}, expected ${expected}`);
  }
  const last = output.shape.at(-1);
  if (output.shape.length !== 3 || (typeof last === 'number' && last !== V)) {
    throw refusal(
      `its logits have shape [${output.shape.join(', ')}]; ` +
        `config.json requires [batch, sequence, ${V}]`,
    );
  }
  return { dtype: type, feeds };
}

/** How to make an input beside input_ids; undefined if it is unsupported. */
function feedOf(input: ort.InferenceSession.ValueMetadata): Feed | undefined {
  if (!input.isTensor) return undefined;
  const { name, type, shape } = input;
  const integers = (batch: number, length: number, value: (position: number) => bigint) =>
    new ort.Tensor(
      'int64',
      BigInt64Array.from({ length: batch * length }, (_, i) => value(i % length)),
      [batch, length],
    );
  if (type === 'int64' && name === 'attention_mask')
    return (batch, length) => integers(batch, length, () => 1n);
  if (type === 'int64' && name === 'position_ids')
    return (batch, length) => integers(batch, length, BigInt);
  // (batch, heads, 0, head size): no earlier tokens. Named extents are the batch, first, and the
  // number of earlier tokens.
  if (
    /^past_key_values[._]/.test(name) &&
    (type === 'float32' || type === 'float16') &&
    shape.length >= 3
  ) {
    return (batch) => {
      const dims = shape.map((extent, axis) =>
        axis === 0 ? batch : typeof extent === 'number' ? extent : 0,
      );
      return type === 'float32'
        ? new ort.Tensor('float32', new Float32Array(), dims)
        : new ort.Tensor('float16', new Uint16Array(), dims);
    };
  }
  return undefined;
}

function refused(file: string, what: string, cause: unknown): ModelFileError {
  // The runtime's message, without its codes and the final full stop.
  const reason = (cause instanceof Error ? cause.message : String(cause))
    .replace(/^.*ERROR_MESSAGE: /s, '')
    .replace(/[\s.]+$/, '');
  // Its WebAssembly could not be loaded, and it does not try again.
  if (/no available backend/.test(reason)) {
    return new ModelFileError(
      'network',
      `onnxruntime could not start: ${reason}. Reload the page.`,
      {
        cause,
      },
    );
  }
  return new ModelFileError(
    'model',
    `${file}: ${what}: ${reason}. Download it again, or choose another.`,
    { cause },
  );
}
