// Weights read by ranges from the test hub: each stored form gives PyTorch's values, and damage is
// refused by name.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ModelFileError } from '../../src/files/download';
import { httpSource, hubAddress } from '../../src/files/http';
import { hubSource } from '../../src/files/hub';
import { readSafetensors, writeSafetensors } from '../../src/files/safetensors';
import type { Architecture } from '../../src/model/family';
import { type Gpt2Config, parametersOf } from '../../src/model/gpt2/config';
import { gpt2 } from '../../src/model/gpt2/gpt2';
import { loadWeights, openWeights, saveWeights, streamWeights } from '../../src/model/weights';
import { goldenModel, modelFiles, publish, type Variant } from '../hub-models';
import { type Hub, serveHub } from '../hub-server';

const golden = goldenModel('teacher');
const ID = 'org/tiny';
const SINGLE = 'model.safetensors';

let hub: Hub;
beforeAll(async () => {
  hub = await serveHub();
});
afterAll(() => hub.close());
beforeEach(() => {
  hub.files.clear();
  hub.faults.clear();
  hub.requests.length = 0;
});

const source = () => httpSource({ label: ID, address: hubAddress(ID, 'main', hub.url), pause: 1 });

/** All weights that the sink receives, joined from their slices. */
async function stream(architecture: Architecture = golden.architecture, layers?: number[]) {
  const weights = new Map<string, number[]>();
  const files = await openWeights(source());
  const sink = (name: string, first: number, values: Float32Array) => {
    const all = weights.get(name) ?? [];
    expect(first).toBe(all.length);
    expect(first % 2).toBe(0);
    for (const value of values) all.push(value);
    weights.set(name, all);
  };
  await streamWeights(files, architecture, sink, layers);
  return weights;
}

async function refusal(reading: Promise<unknown> = stream()): Promise<string> {
  const error = await reading.then(
    () => new Error('accepted'),
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(ModelFileError);
  return (error as Error).message;
}

/** Publishes the golden model with its one file rewritten. */
function damaged(change: (file: Uint8Array<ArrayBuffer>) => Uint8Array): Promise<string> {
  const files = modelFiles(golden);
  publish(hub, ID, new Map<string, Uint8Array>(files).set(SINGLE, change(files.get(SINGLE)!)));
  return refusal();
}
/** Publishes it with its header rewritten. */
const withHeader = (
  change: (header: Record<string, { data_offsets: number[]; shape: number[] }>) => void,
) =>
  damaged((file) => {
    const length = Number(new DataView(file.buffer).getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length)));
    change(header);
    const text = new TextEncoder().encode(JSON.stringify(header));
    const bytes = new Uint8Array(8 + text.length + file.length - 8 - length);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
    bytes.set(text, 8);
    bytes.set(file.subarray(8 + length), 8 + text.length);
    return bytes;
  });

/**
 * A type's largest error, relative (half a unit in the last place) and absolute (half of f16's
 * smallest step).
 */
const ROUNDING = { F32: [0, 0], F16: [2 ** -11, 2 ** -25], BF16: [2 ** -8, 0] };

const variants: [string, Variant][] = [
  ['f32', {}],
  ['f16', { dtype: 'F16' }],
  ['bf16, no prefix', { dtype: 'BF16', prefix: '' }],
  ['three shards', { shards: 3 }],
  [
    'f16 in two shards with masks and no prefix',
    { dtype: 'F16', shards: 2, masks: true, prefix: '' },
  ],
  ['a tied head beside the embedding', { head: 'tied', shards: 2 }],
  ['a head in the embedding’s place', { head: 'alone' }],
];
test.each(variants)('stored as %s, all weights are read', async (_, variant) => {
  publish(hub, ID, modelFiles(golden, variant));
  const weights = await stream();
  expect([...weights.keys()].sort()).toEqual([...golden.weights.keys()].sort());
  const [relative, absolute] = ROUNDING[variant.dtype ?? 'F32'];
  for (const [name, expected] of golden.weights) {
    const actual = weights.get(name)!;
    expect(actual.length).toBe(expected.length);
    const wrong = actual.findIndex(
      (value, i) => !(Math.abs(value - expected[i]) <= relative * Math.abs(expected[i]) + absolute),
    );
    expect(wrong, name).toBe(-1);
  }
});

test('tensors larger than a slice and a block are read completely', async () => {
  const config: Gpt2Config = {
    ...golden.config,
    vocab_size: 9_001,
    n_embd: 60,
    n_head: 3,
    n_layer: 1,
  };
  const weights = new Map(
    parametersOf(config).map(({ name, shape }, salt) => {
      const length = shape.reduce((a, b) => a * b);
      return [
        name,
        Float32Array.from({ length }, (_, i) => Math.fround(((i * 31 + salt) % 2048) / 512 - 2)),
      ] as const;
    }),
  );
  publish(hub, ID, modelFiles({ config, weights: new Map(weights) }, { dtype: 'F16' }));
  const actual = (await stream(gpt2(config))).get('wte.weight')!;
  const expected = new Map(weights).get('wte.weight')!;
  expect(actual.length).toBe(540_060);
  expect(actual.findIndex((value, i) => value !== expected[i])).toBe(-1);
});

test('opening reads headers alone', async () => {
  const files = modelFiles(golden, { shards: 2 });
  publish(hub, ID, files);
  const { tensors, bytes } = await openWeights(source());
  const stored = [...files].filter(([name]) => name.endsWith('.safetensors'));
  expect(bytes).toBe(stored.reduce((sum, [, file]) => sum + file.length, 0));
  expect(tensors.size).toBe(golden.weights.size);
});

test('each file is requested once, from its start to its end', async () => {
  publish(hub, ID, modelFiles(golden, { shards: 2 }));
  await stream();
  const shards = hub.requests.filter((line) => line.includes('model-0'));
  expect(shards.map((line) => line.slice(-8))).toEqual(['bytes=0-', 'bytes=0-']);
});

test('chosen layers become a smaller model’s layers, in their order', async () => {
  publish(hub, ID, modelFiles(golden));
  const last = golden.config.n_layer - 1;
  const weights = await stream(golden.architecture, [last, 0]);
  const of = (name: string) => [...golden.weights.get(name)!];
  expect(weights.get('h.0.mlp.c_fc.weight')).toEqual(of(`h.${last}.mlp.c_fc.weight`));
  expect(weights.get('h.1.ln_1.bias')).toEqual(of('h.0.ln_1.bias'));
  expect(weights.get('wte.weight')).toEqual(of('wte.weight'));
  expect([...weights.keys()].filter((name) => /^h\.[^01]\./.test(name))).toEqual([]);
});

describe('a model whose weights are a pickle', () => {
  const at = (revision?: string) => hubSource({ id: ID, revision, host: hub.url, pause: 1 });
  const files = modelFiles(golden);
  const [config, weights] = [files.get('config.json')!, files.get(SINGLE)!];
  const pull = (num: number, name = 'SFconvertbot') => ({
    num,
    author: { name },
    isPullRequest: true,
    title: 'Adding',
  });
  const offer = (...discussions: unknown[]) =>
    hub.discussions.set(ID, { discussions, count: discussions.length });
  beforeEach(() => {
    hub.discussions.clear();
    publish(hub, ID, new Map([['config.json', config]]));
    publish(
      hub,
      `${ID}@refs/pr/7`,
      new Map([
        ['config.json', config],
        [SINGLE, weights],
      ]),
    );
  });

  test('is read from the latest pull request of the hub’s converter', async () => {
    offer(pull(3), pull(7), pull(9, 'somebody'), { num: 11, author: null });
    const source = at();
    const files = await openWeights(source);
    expect(files.source.label).toBe(`${ID}@refs/pr/7`);
    const counts = new Map<string, number>();
    await streamWeights(files, golden.architecture, (name, first, values) => {
      expect(values).toEqual(golden.weights.get(name)!.slice(first, first + values.length));
      counts.set(name, (counts.get(name) ?? 0) + values.length);
    });
    expect(counts.size).toBe(golden.weights.size);
    source.close();
  });

  test('an aborted search rejects once, for its caller only', async () => {
    const ended = new AbortController();
    const source = hubSource({ id: ID, host: hub.url, pause: 1, signal: ended.signal });
    ended.abort(new Error('The run was dropped.'));
    await expect(source.converted?.()).rejects.toThrow('The run was dropped.');
    // An unhandled rejection ends a process, and fails this test.
    source.close();
    await new Promise((resolve) => setTimeout(resolve, 20));
  });

  test('is refused without such a pull request, an answer, or with a named revision', async () => {
    const missing = 'has no model.safetensors. Choose a model or a revision that has one';
    offer(pull(9, 'somebody'));
    expect(await refusal(openWeights(at()))).toContain(`${ID} ${missing}`);
    hub.discussions.set(ID, ['strange']);
    expect(await refusal(openWeights(at()))).toContain(missing);
    hub.discussions.clear();
    expect(await refusal(openWeights(at()))).toContain(missing);
    offer(pull(7));
    expect(await refusal(openWeights(at('main')))).toContain(`${ID}@main ${missing}`);
  });
});

test('an untied head is read if config.json says so, and refused otherwise', async () => {
  publish(hub, ID, modelFiles(golden, { head: 'untied' }));
  expect(await refusal()).toContain(
    'model.safetensors of org/tiny: lm_head.weight differs from wte.weight',
  );
  const untied = gpt2({ ...golden.config, tie_word_embeddings: false });
  const weights = await stream(untied);
  const embedding = golden.weights.get('wte.weight')!;
  expect(weights.get('wte.weight')).toEqual([...embedding]);
  expect(weights.get('lm_head.weight')).toEqual(
    [...embedding].map((value, i) => Math.fround(value + Number(i === 5))),
  );
  // It is written and read back.
  const written = saveWeights(
    untied,
    new Map([...weights].map(([name, data]) => [name, Float32Array.from(data)])),
  );
  const stored = readSafetensors(written, 'model.safetensors');
  expect(stored.has('lm_head.weight')).toBe(true);
  expect(loadWeights(stored, untied, 'model.safetensors').get('lm_head.weight')![5]).toBe(
    Math.fround(embedding[5] + 1),
  );
  expect(untied.formatConfig('float32').tie_word_embeddings).toBe(false);
});

test('hostile and damaged headers are refused by file and tensor', async () => {
  const length = (value: bigint) =>
    damaged((file) => {
      new DataView(file.buffer).setBigUint64(0, value, true);
      return file;
    });
  expect(await length(2n ** 63n)).toContain('its header says 9,223,372,036,854,775,808 bytes');
  expect(await length(3n)).toContain('model.safetensors of org/tiny: its header is not JSON');
  expect(await damaged((file) => file.subarray(0, 5))).toContain('5 bytes are too few');
  expect(await damaged((file) => file.subarray(0, file.length - 8))).toMatch(
    /model\.safetensors of org\/tiny is [\d,]+ of [\d,]+ bytes long\. Download it again\./,
  );
  const bias = 'transformer.h.0.ln_1.bias';
  const moved = (by: number) => (header: Record<string, { data_offsets: number[] }>) => {
    header[bias].data_offsets = header[bias].data_offsets.map((offset) => offset + by);
  };
  expect(await withHeader(moved(-4))).toContain('overlaps the tensor before it');
  expect(await withHeader(moved(2 ** 40))).toContain('leaves a gap');
  expect(await withHeader((header) => void (header[bias].shape = [2 ** 31, 2 ** 31]))).toContain(
    `tensor ${bias} has`,
  );
});

test('tensors that are missing, unknown, of another shape or not finite are named', async () => {
  const rewritten = (change: (tensors: ReturnType<typeof readSafetensors>) => void) =>
    damaged((file) => {
      const tensors = readSafetensors(file, SINGLE);
      change(tensors);
      return writeSafetensors(tensors);
    });
  const bias = 'transformer.ln_f.bias';
  const { n_embd: width } = golden.config;
  expect(await rewritten((tensors) => tensors.delete(bias))).toContain('ln_f.bias is missing');
  expect(await rewritten((tensors) => tensors.set('adapter.weight', tensors.get(bias)!))).toContain(
    'adapter.weight is unknown',
  );
  expect(await rewritten((tensors) => (tensors.get(bias)!.shape = [1, width]))).toContain(
    `ln_f.bias has shape [1, ${width}], config.json asks for [${width}]`,
  );
  expect(
    await rewritten((tensors) => {
      const { data } = tensors.get('transformer.wte.weight')!;
      new DataView(data.buffer, data.byteOffset).setFloat32(4 * 7, Number.NaN, true);
    }),
  ).toContain('wte.weight holds NaN at element 7');
});

test('an index with a wrong entry is refused', async () => {
  const withIndex = (weight_map: unknown) => {
    const files = modelFiles(golden, { shards: 2 });
    const index = new TextEncoder().encode(JSON.stringify({ weight_map }));
    publish(hub, ID, files.set('model.safetensors.index.json', index));
    return refusal();
  };
  expect(await withIndex({})).toContain('has no weight_map');
  expect(await withIndex({ a: '../../secret.safetensors' })).toContain(
    'which is not a safetensors file beside it',
  );
  expect(await withIndex({ a: 7 })).toContain('puts a into 7');
  expect(await withIndex({ a: 'model-00001-of-00002.safetensors' })).toContain(
    'model-00001-of-00002.safetensors of org/tiny: tensor a is missing, ' +
      'although model.safetensors.index.json lists it.',
  );
  expect(await withIndex({ a: 'model-00003-of-00002.safetensors' })).toContain(
    'does not exist on the server',
  );
});

test('the error for a folder without safetensors says what to choose', async () => {
  publish(hub, ID, new Map([['pytorch_model.bin', new Uint8Array(9)]]));
  expect(await refusal()).toBe(
    'org/tiny has no model.safetensors. Choose a model or a revision that has one; ' +
      'a pytorch_model.bin cannot be read.',
  );
});
