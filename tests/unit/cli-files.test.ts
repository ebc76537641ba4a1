// The command line's files: a checkpoint is complete or refused, metrics continue after a
// checkpoint, and a broken cache never stops a run.

import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import {
  CheckpointError,
  type RunFacts,
  readCheckpoint,
  writeCheckpoint,
} from '../../src/cli/checkpoint';
import { diskCache } from '../../src/cli/disk-cache';
import { explain } from '../../src/cli/failure';
import { Metrics } from '../../src/cli/metrics';
import { DEFAULTS } from '../../src/config';
import { CorpusError } from '../../src/data/corpus';
import type { EvaluationRecord, StepRecord } from '../../src/distill/records';
import { ModelFileError } from '../../src/files/download';
import { GpuError } from '../../src/gpu/device';
import { Layout } from '../../src/tensor/layout';

const folder = mkdtempSync(join(tmpdir(), 'stillhouse-files-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const bytes = (...values: number[]) => Float32Array.from(values).buffer;
const snapshot = {
  step: 7,
  master: bytes(1, 2, 3),
  mean: bytes(4, 5, 6),
  square: bytes(7, 8, 9),
  scaler: bytes(65536),
};
const facts: RunFacts = {
  config: { ...DEFAULTS, prompt: 'Zwölf\nWale' },
  places: { data: ['a.txt'], reading: { format: 'text', columns: [] } },
  student: {
    vocab_size: 97,
    n_positions: 16,
    n_embd: 16,
    n_layer: 1,
    n_head: 2,
    layer_norm_epsilon: 1e-5,
    activation_function: 'gelu_new',
  },
  dtype: 'f32',
  adapter: 'test',
  data: 'abc',
};

test('a checkpoint is read back unchanged, and replaces the previous one', async () => {
  const path = join(folder, 'whole.bin');
  await writeCheckpoint(path, facts, { ...snapshot, step: 3 });
  await writeCheckpoint(path, facts, snapshot);
  const read = await readCheckpoint(path);
  expect(read.facts).toEqual(facts);
  expect(read.snapshot.step).toBe(7);
  for (const name of ['master', 'mean', 'square', 'scaler'] as const) {
    expect(new Float32Array(read.snapshot[name])).toEqual(new Float32Array(snapshot[name]));
  }
  expect(readdirSync(folder)).toEqual(['whole.bin']);
});

test('a truncated, foreign, newer or missing checkpoint is refused with a message', async () => {
  const path = join(folder, 'cut.bin');
  await writeCheckpoint(path, facts, snapshot);
  const { size } = statSync(path);
  truncateSync(path, size - 4);
  await expect(readCheckpoint(path)).rejects.toThrow(
    `cut.bin is damaged: it has ${size - 4} bytes, but its first line says ${size}.`,
  );
  const whole = readFileSync(path);
  writeFileSync(path, 'PK\u0003\u0004');
  await expect(readCheckpoint(path)).rejects.toThrow('cut.bin is not a Stillhouse checkpoint.');
  writeFileSync(path, whole.toString('latin1').replace('"version":1', '"version":2'), 'latin1');
  await expect(readCheckpoint(path)).rejects.toThrow(
    'cut.bin has version 2; this Stillhouse reads version 1.',
  );
  await expect(readCheckpoint(join(folder, 'none.bin'))).rejects.toThrow(CheckpointError);
});

const step = (number: number) => ({ step: number, loss: number / 2, kd: Number.NaN }) as StepRecord;
const evaluation = (number: number) => ({ step: number, tokens: 5 }) as EvaluationRecord;

test('resumed metrics drop lines after the checkpoint and an incomplete last line', () => {
  const path = join(folder, 'metrics.jsonl');
  const metrics = new Metrics(path);
  metrics.begin({ config: DEFAULTS });
  metrics.evaluation(evaluation(0));
  for (const number of [1, 2, 3]) metrics.step(step(number));
  metrics.evaluation(evaluation(3));
  writeFileSync(path, `${readFileSync(path, 'utf8')}{"type":"step","st`);
  const resumed = new Metrics(path);
  resumed.resume(2, { config: DEFAULTS });
  expect([resumed.lastStep?.step, resumed.lastEvaluation?.step]).toEqual([2, 0]);
  resumed.step(step(3));
  const lines = readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(lines.map(({ type, step }) => [type, step])).toEqual([
    ['config', undefined],
    ['evaluation', 0],
    ['step', 1],
    ['step', 2],
    ['resumed', 2],
    ['step', 3],
  ]);
  // NaN is null, never 0.
  expect(lines[2].kd).toBeNull();

  writeFileSync(path, '{"type":"config"}\nhello\n');
  expect(() => new Metrics(path).resume(2, {})).toThrow('metrics.jsonl: line 2 is not JSON.');
});

test('a cache keeps blocks; if it cannot, it says so once and the run continues', async () => {
  const reasons: string[] = [];
  const cache = diskCache(join(folder, 'cache'), (why) => reasons.push(why));
  expect(await cache.get('a')).toBeUndefined();
  await cache.put('a', Uint8Array.of(1, 2, 3));
  expect(await cache.get('a')).toEqual(Uint8Array.of(1, 2, 3));
  expect(await diskCache(join(folder, 'cache'), () => {}).get('a')).toEqual(Uint8Array.of(1, 2, 3));
  expect(reasons).toEqual([]);

  writeFileSync(join(folder, 'file'), '');
  const refused = diskCache(join(folder, 'file'), (why) => reasons.push(why));
  await refused.put('a', Uint8Array.of(1));
  await refused.put('b', Uint8Array.of(1));
  expect(await refused.get('a')).toBeUndefined();
  expect(reasons).toEqual([expect.stringContaining('ENOTDIR')]);
});

test('errors are printed with what to do, and only our own bugs with a stack', () => {
  expect(explain(new GpuError('limits', 'Too large.', 'Choose less.'))).toBe(
    'Too large. Choose less.',
  );
  expect(explain(new GpuError('no-adapter', 'No adapter.', 'See chrome://gpu.'))).toBe(
    'No adapter. Install a graphics driver with Vulkan, Metal or Direct3D 12. ' +
      'On Linux, VK_ICD_FILENAMES can name one.',
  );
  expect(explain(new CorpusError('Bad text.', 'Save it.'))).toBe('Bad text. Save it.');
  expect(explain(new ModelFileError('model', 'No model. Choose one.'))).toBe(
    'No model. Choose one.',
  );
  let refused: unknown;
  try {
    Layout.contiguous([2, 4, 5]).narrow(1, 0, 3).view([-1, 5]);
  } catch (error) {
    refused = error;
  }
  expect(explain(refused)).toMatch(
    /^view size is not compatible.*Use another loss path, or --batch_size 1\.$/s,
  );
  const full = Object.assign(new Error('ENOSPC: no space left on device, write'), {
    syscall: 'write',
  });
  expect(explain(full)).toBe(
    'ENOSPC: no space left on device, write. Check the path and the free disk space.',
  );
  expect(explain(new TypeError('x is not a function'))).toMatch(
    /x is not a function This is a bug in Stillhouse\.\n.*at /s,
  );
});
