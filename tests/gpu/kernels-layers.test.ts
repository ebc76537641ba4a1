// The kernels of GPT-2's layers against the reference, at odd and realistic sizes, in both storage
// types.
//
// Tolerances are relative to the largest expected element. A sum of n terms in f32 rounds n times
// by 2^-24, and cancellation may leave it a few times smaller than its terms: 4 n · 2^-24. WGSL's
// exp and tanh may be off by 1e-5. f16 results round once more, by 2^-11; the reference computes
// with inputs rounded to f16. If a kernel reads another kernel's f16 result, that rounding counts
// too.

import { describe, expect, it } from 'vitest';
import { sortedRows } from '../../src/data/batches';
import type { Gpu } from '../../src/gpu/device';
import { attention, attentionBackward } from '../../src/kernels/attention';
import { columnSum } from '../../src/kernels/column_sum';
import { embedding, embeddingBackward } from '../../src/kernels/embedding';
import { layerNorm, layerNormBackward } from '../../src/kernels/layernorm';
import { matmul } from '../../src/kernels/matmul';
import * as reference from '../../src/reference';
import {
  download,
  execute,
  expectClose,
  type Lanes,
  openVariant,
  ROUNDING,
  type Storage,
  stored,
  summed,
  testVariants,
  upload,
  zeros,
} from './variants';

const { numbers } = reference;

describe('embedding', () => {
  // Tokens that occur once, often and next to each other, the vocabulary's first and last, and
  // widths below and above a workgroup's.
  for (const [B, T, V, C] of [
    [1, 1, 3, 4],
    [2, 7, 11, 20],
    [3, 5, 9, 70],
  ]) {
    const tokens = Uint32Array.from(
      { length: B * T },
      (_, i) => [0, V - 1, V - 1, 2, (i * i) % V][i % 5],
    );
    testVariants(
      `forward, B=${B} T=${T} C=${C}`,
      async (gpu, dtype) => {
        const [wte, wpe] = [
          stored(numbers(V * C, 1), dtype),
          stored(numbers((T + 2) * C, 2), dtype),
        ];
        const x = zeros(gpu, 'x', [B * T, C], dtype);
        await execute(gpu, (recorder) =>
          embedding(
            recorder,
            upload(gpu, 'tokens', tokens, [B, T], 'u32'),
            upload(gpu, 'wte', wte, [V, C], dtype),
            upload(gpu, 'wpe', wpe, [T + 2, C], dtype),
            x,
          ),
        );
        expectClose(
          await download(gpu, x),
          reference.embedding(tokens, wte, wpe, T, C),
          summed(1, dtype),
        );
      },
      ['one lane'],
    );

    testVariants(`backward adds to both tables, B=${B} T=${T} C=${C}`, async (gpu, dtype) => {
      const dxData = stored(numbers(B * T * C, 1), dtype);
      const [wteBefore, wpeBefore] = [
        stored(numbers(V * C, 2), 'f32'),
        stored(numbers((T + 2) * C, 3), 'f32'),
      ];
      const dwte = upload(gpu, 'dwte', wteBefore, [V, C]);
      const dwpe = upload(gpu, 'dwpe', wpeBefore, [T + 2, C]);
      await execute(gpu, (recorder) =>
        embeddingBackward(recorder, {
          tokens: upload(gpu, 'tokens', tokens, [B, T], 'u32'),
          order: upload(gpu, 'order', sortedRows(tokens), [B * T], 'u32'),
          dx: upload(gpu, 'dx', dxData, [B * T, C], dtype),
          dwte,
          dwpe,
        }),
      );
      const expected = reference.embeddingBackward(tokens, dxData, T, C, V, T + 2);
      expectClose(
        await download(gpu, dwte),
        reference.add(wteBefore, expected.dwte),
        summed(B * T),
      );
      expectClose(await download(gpu, dwpe), reference.add(wpeBefore, expected.dwpe), summed(B));
    });
  }
});

describe('layerNorm', () => {
  const EPSILON = 1e-5;
  // Rows that fill no workgroup, and widths below, at and above the number of lanes.
  for (const [rows, C] of [
    [1, 4],
    [5, 20],
    [67, 64],
    [9, 131],
  ]) {
    const off = stored(
      numbers(rows * C, 1).map((v, i) => 2 * v + (i % 3)),
      'f16',
    );
    const [gamma, beta] = [
      stored(numbers(C, 2), 'f16').map((v) => 1 + v / 2),
      stored(numbers(C, 3), 'f16'),
    ];

    testVariants(`forward, (${rows}, ${C})`, async (gpu, dtype) => {
      const [x, g] = [stored(off, dtype), stored(gamma, dtype)];
      const y = zeros(gpu, 'y', [rows, C], dtype);
      const moments = zeros(gpu, 'moments', [rows, 2]);
      const tensors = {
        x: upload(gpu, 'x', x, [rows, C], dtype),
        gamma: upload(gpu, 'gamma', g, [C], dtype),
        beta: upload(gpu, 'beta', beta, [C], dtype),
      };
      await execute(gpu, (recorder) => layerNorm(recorder, { ...tensors, y, moments }, EPSILON));
      const expected = reference.layerNorm(x, g, beta, EPSILON);
      expectClose(await download(gpu, y), expected.y, summed(C + 4, dtype));
      const both = await download(gpu, moments);
      expectClose(
        both.filter((_, i) => i % 2 === 0),
        expected.mean,
        summed(C),
      );
      expectClose(
        both.filter((_, i) => i % 2 === 1),
        expected.rstd,
        summed(C),
      );
    });

    for (const residual of [false, true]) {
      testVariants(
        `backward${residual ? ' with a residual' : ''}, (${rows}, ${C})`,
        async (gpu, dtype) => {
          const [x, g, dyData] = [
            stored(off, dtype),
            stored(gamma, dtype),
            stored(numbers(rows * C, 4), dtype),
          ];
          const around = stored(numbers(rows * C, 5), dtype);
          const [gammaBefore, betaBefore] = [
            stored(numbers(C, 6), 'f32'),
            stored(numbers(C, 7), 'f32'),
          ];
          const { mean, rstd } = reference.layerNorm(x, g, beta, EPSILON);
          const moments = upload(
            gpu,
            'moments',
            [...mean].flatMap((m, i) => [m, rstd[i]]),
            [rows, 2],
          );
          const dx = zeros(gpu, 'dx', [rows, C], dtype);
          const dgamma = upload(gpu, 'dgamma', gammaBefore, [C]);
          const dbeta = upload(gpu, 'dbeta', betaBefore, [C]);
          const tensors = {
            x: upload(gpu, 'x', x, [rows, C], dtype),
            gamma: upload(gpu, 'gamma', g, [C], dtype),
            moments,
          };
          const dy = upload(gpu, 'dy', dyData, [rows, C], dtype);
          const addend = residual ? upload(gpu, 'addend', around, [rows, C], dtype) : undefined;
          await execute(gpu, (recorder) =>
            layerNormBackward(recorder, tensors, { dy, dx, dgamma, dbeta, addend }),
          );
          const expected = reference.layerNormBackward(dyData, x, g, EPSILON);
          const whole = residual ? reference.add(expected.dx, around) : expected.dx;
          expectClose(await download(gpu, dx), whole, summed(C + 8, dtype), 'dx');
          expectClose(
            await download(gpu, dgamma),
            reference.add(gammaBefore, expected.dgamma),
            summed(rows + 4),
            'dgamma',
          );
          expectClose(
            await download(gpu, dbeta),
            reference.add(betaBefore, expected.dbeta),
            summed(rows),
            'dbeta',
          );
        },
      );
    }
  }
});

describe('columnSum', () => {
  for (const [rows, N] of [
    [1, 1],
    [37, 20],
    [130, 192],
  ]) {
    testVariants(
      `adds the sums of (${rows}, ${N}), and touches nothing behind them`,
      async (gpu, dtype) => {
        const [x, before] = [stored(numbers(rows * N, 1), dtype), stored(numbers(N + 3, 2), 'f32')];
        const sums = upload(gpu, 'sums', before, [N + 3]);
        await execute(gpu, (recorder) =>
          columnSum(recorder, upload(gpu, 'x', x, [rows, N], dtype), sums),
        );
        const actual = await download(gpu, sums);
        expectClose(
          actual,
          reference.add(before, [...reference.columnSum(x, rows, N), 0, 0, 0]),
          summed(rows),
        );
        expect([...actual.slice(N)]).toEqual([...before.slice(N)]);
      },
    );
  }
});

describe('gelu, fused into the product before it, and into the gradient’s product after it', () => {
  // More elements than a software adapter's grid has threads. Beyond ±6 GELU is x or 0 and its
  // derivative 1 or 0, within 1e-9.
  const COUNT = 5001;
  const FAR = [7, -7, 10.5, -10.5, 31, -31, 1000, -1000, 60000, -60000];
  const values = [...numbers(COUNT, 1, 6), 0, ...FAR];
  const near = values.map((_, i) => i).filter((i) => Math.abs(values[i]) <= 6);
  const far = values.map((_, i) => i).filter((i) => Math.abs(values[i]) > 6);
  const tolerance = (dtype: Storage) => 1e-5 + (dtype === 'f16' ? ROUNDING.f16 : 0);
  const column = (gpu: Gpu, label: string, data: reference.Numbers, dtype: Storage) =>
    upload(gpu, label, data, [data.length, 1], dtype);

  // A product with 1, so that GELU's argument is x itself.
  testVariants('forward', async (gpu, dtype) => {
    const x = stored(values, dtype);
    const [same, y] = [
      zeros(gpu, 'same', [x.length, 1], dtype),
      zeros(gpu, 'y', [x.length, 1], dtype),
    ];
    await execute(gpu, (recorder) =>
      matmul(recorder, column(gpu, 'x', x, dtype), column(gpu, 'one', [1], dtype), same, {
        geluOutput: y,
      }),
    );
    expect([...(await download(gpu, same))]).toEqual([...x]);
    const [actual, expected] = [await download(gpu, y), reference.gelu(x)];
    expectClose(
      near.map((i) => actual[i]),
      near.map((i) => expected[i]),
      tolerance(dtype),
    );
    for (const i of far)
      expect(Math.abs(actual[i] - expected[i]), `at ${x[i]}`).toBeLessThan(1e-6 * Math.abs(x[i]));
  });

  testVariants('backward', async (gpu, dtype) => {
    const [x, dyData] = [stored(values, dtype), stored(numbers(values.length, 2), dtype)];
    const dx = zeros(gpu, 'dx', [x.length, 1], dtype);
    await execute(gpu, (recorder) =>
      matmul(recorder, column(gpu, 'dy', dyData, dtype), column(gpu, 'one', [1], dtype), dx, {
        geluInput: column(gpu, 'x', x, dtype),
      }),
    );
    const [actual, expected] = [await download(gpu, dx), reference.geluBackward(dyData, x)];
    expectClose(
      near.map((i) => actual[i]),
      near.map((i) => expected[i]),
      tolerance(dtype),
    );
    for (const i of far) expect(Math.abs(actual[i] - expected[i]), `at ${x[i]}`).toBeLessThan(1e-4);
  });
});

describe('attention', () => {
  // T: 1, odd, whole blocks of keys, more than a workgroup of either variant. Heads of 4 to 64.
  // With `size` 12 scores reach ±50, which overflow without an online maximum. The variant for GPUs
  // is unrolled, which takes lavapipe 20 s for each width, so it is tested at one width, which
  // gives its four lanes unequal slices of a head. Its f16 form is in check.test.ts.
  const ONE: Lanes[] = ['one lane'];
  const CASES: {
    B: number;
    T: number;
    H: number;
    D: number;
    size: number;
    lanes?: Lanes[];
    dtypes?: Storage[];
  }[] = [
    { B: 1, T: 1, H: 1, D: 4, size: 1 },
    { B: 2, T: 5, H: 3, D: 8, size: 1 },
    { B: 2, T: 33, H: 2, D: 20, size: 1 },
    { B: 2, T: 33, H: 2, D: 20, size: 1, lanes: ['many lanes'], dtypes: ['f32'] },
    { B: 1, T: 19, H: 1, D: 20, size: 12, lanes: ['many lanes'], dtypes: ['f32'] },
    { B: 1, T: 64, H: 3, D: 32, size: 1 },
    { B: 1, T: 17, H: 2, D: 64, size: 1 },
    { B: 2, T: 19, H: 2, D: 8, size: 12 },
  ];
  for (const { B, T, H, D, size, lanes = ONE, dtypes } of CASES) {
    testVariants(
      `forward and backward, B=${B} T=${T} H=${H} D=${D}${size > 1 ? ' with large scores' : ''}`,
      async (gpu, dtype) => {
        const C = H * D;
        const rows = B * T;
        const sizes = { B, T, C, NH: H };
        const [qkvData, doutData] = [
          stored(numbers(rows * 3 * C, 1, size), dtype),
          stored(numbers(rows * C, 2), dtype),
        ];
        const tensors = {
          qkv: upload(gpu, 'qkv', qkvData, [rows, 3 * C], dtype),
          out: zeros(gpu, 'out', [rows, C], dtype),
          lse: zeros(gpu, 'lse', [B, H, T]),
        };
        const dqkv = zeros(gpu, 'dqkv', [rows, 3 * C], dtype);
        const dout = upload(gpu, 'dout', doutData, [rows, C], dtype);
        const delta = zeros(gpu, 'delta', [B, H, T]);
        await execute(gpu, (recorder) => {
          attention(recorder, tensors);
          attentionBackward(recorder, tensors, { dout, delta, dqkv });
        });
        const expected = reference.attention(qkvData, sizes);
        // exp(s) is off by 2|s| · 2^-23, and s itself is off: 1e-5 for the largest scores here.
        expectClose(
          await download(gpu, tensors.out),
          expected.output,
          2e-5 + summed(0, dtype),
          'out',
        );
        expectClose(await download(gpu, tensors.lse), expected.lse, 1e-5, 'lse');
        // delta reads the rounded `out`, and ds multiplies it by keys of `size`.
        const gradient = reference.attentionBackward(doutData, qkvData, sizes);
        expectClose(await download(gpu, dqkv), gradient, 5e-5 + 4 * summed(0, dtype), 'dqkv');
      },
      lanes,
      dtypes,
    );
  }

  it('refuses heads that are not a multiple of 4 wide', async () => {
    const gpu = await openVariant('one lane');
    const tensors = {
      qkv: zeros(gpu, 'qkv', [2, 18]),
      out: zeros(gpu, 'out', [2, 6]),
      lse: zeros(gpu, 'lse', [1, 1, 2]),
    };
    await expect(execute(gpu, (r) => attention(r, tensors))).rejects.toThrow(
      'heads of 6 elements; want a multiple of 4',
    );
  });
});
