// The browsers that e2e tests use are what they say. The one with shader-f16 relies on Chromium's
// internals (tests/browser/vulkan-shim.c), so this is where a new Chromium would show.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openSite, type Site, visit } from './harness';

const WORKER = `
  const adapter = await navigator.gpu?.requestAdapter();
  if (adapter) postMessage({ f16: adapter.features.has('shader-f16'), sum: await add(adapter) });
  else postMessage(navigator.gpu ? 'no adapter' : 'no WebGPU');

  // 1 + 2^-11 on the GPU, which f16 rounds to 1; in f16 where the adapter has it.
  async function add(adapter) {
    const f16 = adapter.features.has('shader-f16');
    const device = await adapter.requestDevice({ requiredFeatures: f16 ? ['shader-f16'] : [] });
    const code = (f16 ? 'enable f16; alias scalar = f16;' : 'alias scalar = f32;')
      + '@group(0) @binding(0) var<storage, read_write> out: array<f32>;'
      + '@compute @workgroup_size(1) fn main(@builtin(global_invocation_id) id: vec3u) {'
      + 'out[0] = f32(scalar(id.x + 1u) + scalar(0.00048828125)); }';
    const pipeline = await device.createComputePipelineAsync({
      layout: 'auto', compute: { module: device.createShaderModule({ code }) } });
    const { STORAGE, COPY_SRC, MAP_READ, COPY_DST } = GPUBufferUsage;
    const out = device.createBuffer({ size: 4, usage: STORAGE | COPY_SRC });
    const read = device.createBuffer({ size: 4, usage: MAP_READ | COPY_DST });
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [{ binding: 0, resource: { buffer: out } }] }));
    pass.dispatchWorkgroups(1);
    pass.end();
    encoder.copyBufferToBuffer(out, 0, read, 0, 4);
    device.queue.submit([encoder.finish()]);
    await read.mapAsync(GPUMapMode.READ);
    return new Float32Array(read.getMappedRange())[0];
  }
`;
let folder: string;
let site: Site;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'stillhouse-'));
  await writeFile(
    join(folder, 'index.html'),
    '<!doctype html><link rel="icon" href="data:,"><title>Adapter</title>',
  );
  await writeFile(join(folder, 'worker.js'), WORKER);
  site = await openSite({ folder });
});
afterAll(() => rm(folder, { recursive: true }));

test.each([
  { offer: 'f16', answer: { f16: true, sum: 1 } },
  { offer: 'f32', answer: { f16: false, sum: 1 + 2 ** -11 } },
  { offer: 'no-adapter', answer: 'no adapter' },
  { offer: 'no-webgpu', answer: 'no WebGPU' },
] as const)('$offer: a module worker gets $answer', async ({ offer, answer }) => {
  const { page, problems, close } = await visit(site, { offer });
  const heard = await page.evaluate(
    `new Promise((resolve, reject) => {
      const worker = new Worker('worker.js', { type: 'module' });
      worker.onmessage = (event) => resolve(event.data);
      worker.onerror = (event) => reject(new Error(event.message));
    })`,
  );
  expect(heard).toEqual(answer);
  if (offer !== 'no-adapter') expect(problems).toEqual([]);
  await close();
});
