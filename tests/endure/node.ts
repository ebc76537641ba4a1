// A long small run in Node, as `npm run distill` trains it: evaluations, samples, journal and
// checkpoints, and what the process and the GPU hold meanwhile.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { openDawn } from '../../src/cli/dawn';
import { DiskStorage } from '../../src/cli/disk-storage';
import { openModels } from '../../src/cli/models';
import { readDocumentsOf } from '../../src/cli/texts';
import { train } from '../../src/cli/train';
import { type Config, DEFAULTS } from '../../src/config';
import { openGpu } from '../../src/gpu/device';
import type { Sample } from './measure';

const TINY: Partial<Config> = {
  // Trying onnxruntime too takes longer than all else.
  teacher_engine: 'stillhouse',
  batch_size: 1,
  max_length: 16,
  student_layers: 1,
  student_width: 16,
  eval_batches: 1,
  sample_tokens: 4,
};
/** Measures at each evaluation, which also writes a checkpoint. */
export async function trainInNode(
  steps: number,
  every: number,
  changes: Partial<Config>,
): Promise<Sample[]> {
  setFlagsFromString('--expose_gc');
  const collect = runInNewContext('gc') as () => void;
  const config = { ...DEFAULTS, ...TINY, ...changes, train_steps: steps, eval_steps: every };
  const folder = await mkdtemp(join(tmpdir(), 'stillhouse-endure-'));
  const storage = new DiskStorage(folder);
  const gpu = await openGpu(await openDawn());
  const say = () => {};
  const models = await openModels(config, gpu, { say, signal: new AbortController().signal });
  const texts = await readDocumentsOf(config, undefined, say);
  const samples: Sample[] = [];
  let [before, at] = [performance.now(), 0];
  const sample = (step: number) => {
    if (step <= at) return;
    collect();
    const { heapUsed, rss } = process.memoryUsage();
    const gpuBytes = Object.values(gpu.memory.totals()).reduce((sum, bytes) => sum + bytes, 0);
    const now = performance.now();
    samples.push({
      step,
      'GPU buffers': gpuBytes,
      'JS heap': heapUsed,
      RSS: rss,
      'step time': (now - before) / (step - at),
    });
    [before, at] = [performance.now(), step];
  };
  try {
    await train({
      outputDir: folder,
      storage,
      cacheFile: join(folder, 'teacher-cache.bin'),
      saved: undefined,
      config,
      places: { data: [], reading: { format: 'text', columns: ['text'] } },
      gpu,
      models,
      texts,
      // As where the kernels were checked before.
      cache: { get: async () => Uint8Array.of(1), put: async () => {} },
      signal: new AbortController().signal,
      say,
      onCheckpoint: sample,
    });
    return samples;
  } finally {
    models.close();
    gpu.device.destroy();
    await rm(folder, { recursive: true, force: true });
  }
}
