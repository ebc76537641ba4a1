// The checks with the kernels that GPUs use, whose lanes share a row. SwiftShader compares all of
// them with the reference, in f32.
//
// In f16 only lavapipe could, which compiles their barriers for seconds a text. There a text
// differs by its alias: what lanes share is in f32 all the same, and one lane's loads and stores in
// f16 are compared in check.test.ts. So the texts are held against the rules of WGSL, and the
// kernels that compile quickly are compared. The others that a step of a GPT-2 needs are compared
// by the gradients of a whole step (gradients.test.ts), and the tiles of a product by its tuning
// (check.test.ts).

import { expect, it } from 'vitest';
import { checksOf } from '../../src/check/registry';
import { type CheckRow, runChecks } from '../../src/check/run';
import { upload } from '../../src/check/tensors';
import { Pool, Recorder } from '../../src/gpu/program';
import { KERNEL_FILES, shadersOf } from './shaders';
import { openVariant } from './variants';

/** Those of software adapters alone. */
const OTHERS = ['matmul_subgroup', 'matmul_quads'];
const QUICK = [
  'embedding',
  'layernorm',
  'rms_norm',
  'rotary',
  'head_norm',
  'swiglu',
  'int8',
  'copy',
];

const open = () => openVariant('many lanes', 'without kernels');

if (process.env.ADAPTER === 'f16') {
  it('each kernel compiles in f16', async () => {
    const gpu = await open();
    const compiled = shadersOf(gpu);
    const pool = new Pool(gpu);
    for (const { kernel, inputs, record } of checksOf(gpu, { dtype: 'f16' })) {
      const tensors = Object.fromEntries(
        Object.entries(inputs).map(([name, { values, layout, dtype }]) => [
          name,
          upload(gpu, `${kernel} ${name}`, values, layout, dtype),
        ]),
      );
      const recorder = new Recorder(gpu, pool);
      record(recorder, tensors);
      // A text that breaks a rule rejects.
      (await recorder.build(kernel)).destroy();
      for (const { place } of Object.values(tensors))
        if (place.buffer) gpu.memory.destroy(place.buffer);
    }
    pool.destroy();
    // The others store nothing in f16.
    expect(compiled.size).toBeGreaterThan(40);
  });

  it.each(QUICK)('%s gives the reference’s results in f16', async (kernel) => {
    const rows = await runChecks(await open(), () => undefined, { kernel, dtype: 'f16' });
    expect(rows.length).toBeGreaterThan(0);
    expect(rows.filter(({ passed }) => !passed)).toEqual([]);
  });
} else {
  it('each kernel gives the reference’s results in f32', async () => {
    const gpu = await open();
    const compiled = shadersOf(gpu);
    const rows: CheckRow[] = await runChecks(gpu, () => undefined, { dtype: 'f32' });
    expect(compiled).toEqual(new Set(KERNEL_FILES.filter((name) => !OTHERS.includes(name))));
    expect(rows.filter(({ passed }) => !passed)).toEqual([]);
    expect(rows.length).toBeGreaterThan(40);
  });
}
