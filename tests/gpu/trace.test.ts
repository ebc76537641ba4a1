// What a Program shows of itself: any tensor after any dispatch, and the first number that is not
// finite.

import { expect, it } from 'vitest';
import type { Gpu } from '../../src/gpu/device';
import { kernelFrom } from '../../src/gpu/kernel';
import { bufferOf, Pool, type Program, Recorder, type Tensor } from '../../src/gpu/program';
import { attention } from '../../src/kernels/attention';
import { copy } from '../../src/kernels/copy';
import { Layout } from '../../src/tensor/layout';
import { openTestDevice } from './harness';
import { download, testVariants, upload, zeros } from './variants';

const SCALE = `
struct Params { count: u32, factor: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < params.count) { y[id.x] = params.factor * x[id.x]; }
}
`;

/** y[0..count] = factor · x, in a dispatch called `label`. */
function scale(recorder: Recorder, label: string, x: Tensor, y: Tensor, factor: number, count = 4) {
  const k = kernelFrom({ 'scale.wgsl': SCALE }, recorder.gpu, 'scale');
  recorder.dispatch(k, { x, y }, { count, factor }, [1], { label });
}

/** x → a → b → c by the factors, a and c in one buffer. */
async function chain(gpu: Gpu, x: Tensor, factors: [number, number, number], count?: number) {
  const pool = new Pool(gpu);
  const recorder = new Recorder(gpu, pool);
  const [a, b, c] = ['a', 'b', 'c'].map((label) =>
    recorder.tensor(label, Layout.contiguous([4]), 'f32'),
  );
  scale(recorder, 'first', x, a, factors[0], count);
  scale(recorder, 'then', a, b, factors[1], count);
  scale(recorder, 'then', b, c, factors[2], count);
  const program = await recorder.build('chain');
  expect(pool.buffers).toHaveLength(2);
  return { program, pool };
}

const end = ({ program, pool }: { program: Program; pool: Pool }) => {
  program.destroy();
  pool.destroy();
};

it('trace reads tensors right after the dispatch, before others take their buffers', async () => {
  const gpu = await openTestDevice();
  const x = upload(gpu, 'x', [1, 2, -3, 0.5], [4]);
  const built = await chain(gpu, x, [2, 10, 3]);
  const values = (...numbers: number[]) => new Float32Array(numbers);
  expect(await built.program.trace('first')).toEqual([
    { binding: 'x', label: 'x', written: false, values: values(1, 2, -3, 0.5) },
    { binding: 'y', label: 'a', written: true, values: values(2, 4, -6, 1) },
  ]);
  expect(await built.program.trace('then', 1)).toEqual([
    { binding: 'x', label: 'b', written: false, values: values(20, 40, -60, 10) },
    { binding: 'y', label: 'c', written: true, values: values(60, 120, -180, 30) },
  ]);
  await expect(built.program.trace('then', 2)).rejects.toThrow(
    'chain has 2 dispatches "then", not 3. Its labels: first, then.',
  );
  end(built);
});

it('finds the first dispatch that leaves a non-finite number, and which number', async () => {
  const gpu = await openTestDevice();
  const x = upload(gpu, 'x', [1, 2, -3, 0.5], [4]);
  const finite = await chain(gpu, x, [2, 10, 3]);
  expect(await finite.program.firstNonFinite()).toBeUndefined();
  end(finite);
  const overflowing = await chain(gpu, x, [1e30, 1.2e8, 1]);
  expect(await overflowing.program.firstNonFinite()).toEqual({
    kernel: 'scale',
    label: 'then',
    binding: 'y',
    tensor: 'b',
    index: 2,
    value: Number.NEGATIVE_INFINITY,
    written: true,
  });
  end(overflowing);
  // It was so before anything ran: a weight, or the teacher's logits.
  const bad = upload(gpu, 'bad', [1, 2, Number.NaN, 0.5], [4]);
  const fed = await chain(gpu, bad, [2, 10, 3]);
  expect(await fed.program.firstNonFinite()).toMatchObject({
    kernel: 'scale',
    label: 'first',
    tensor: 'bad',
    index: 2,
    written: false,
  });
  end(fed);
});

it('what a buffer held before its tensor is not mistaken for the tensor', async () => {
  const gpu = await openTestDevice();
  const x = upload(gpu, 'x', [1, 2, -3, 0.5], [4]);
  const built = await chain(gpu, x, [2, 10, 3], 2);
  for (const buffer of built.pool.buffers)
    gpu.device.queue.writeBuffer(buffer, 0, new Float32Array(4).fill(Number.NaN));
  expect(await built.program.firstNonFinite()).toBeUndefined();
  end(built);
});

testVariants(
  'trace converts vectors of the storage type, and an overflow of that type is found',
  async (gpu, dtype) => {
    const pool = new Pool(gpu);
    const recorder = new Recorder(gpu, pool);
    const [B, T, H, D] = [1, 5, 2, 4];
    const numbers = Array.from({ length: B * T * 3 * H * D }, (_, i) => Math.sin(i));
    const qkv = upload(gpu, 'qkv', numbers, [B * T, 3 * H * D], dtype);
    const out = zeros(gpu, 'out', [B * T, H * D], dtype);
    attention(recorder, { qkv, out, lse: zeros(gpu, 'lse', [B, H, T]) });
    const large = upload(gpu, 'large', [1, 2, 1e5, 4], [4]);
    const narrow = zeros(gpu, 'narrow', [4], dtype);
    copy(recorder, large, narrow);
    const program = await recorder.build('attention');
    const traced = await program.trace('attention');
    expect(traced.map(({ label, written }) => [label, written])).toEqual([
      ['qkv', false],
      ['out', true],
      ['lse', true],
    ]);
    expect(traced[0].values).toEqual(await download(gpu, qkv));
    expect(traced[1].values).toEqual(await download(gpu, out));
    expect(Math.max(...traced[1].values)).toBeGreaterThan(0);
    const found = await program.firstNonFinite();
    if (dtype === 'f32') expect(found).toBeUndefined();
    else expect(found).toMatchObject({ label: 'copy', tensor: 'narrow', index: 2 });
    end({ program, pool });
    for (const tensor of [qkv, out, large, narrow]) gpu.memory.destroy(bufferOf(tensor));
  },
);
