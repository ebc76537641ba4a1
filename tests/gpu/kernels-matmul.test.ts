// Matrix products against the reference, at sizes that fill nothing evenly, and the variants
// against one another.
//
// A sum of n terms in f32 rounds n times by 2^-24, and cancellation may leave it a few times
// smaller than its terms: 4 n · 2^-24 of the largest sum of their magnitudes. A result in f16 is
// rounded once more, by 2^-11; the reference computes with inputs rounded to f16.

import { describe, expect, it } from 'vitest';
import type { Gpu } from '../../src/gpu/device';
import { type MatmulOptions, matmul } from '../../src/kernels/matmul';
import {
  allVariants,
  bestVariant,
  type MatmulVariant,
  setSpeeds,
  variantsFor,
} from '../../src/kernels/matmul_variants';
import { transposed } from '../../src/kernels/tensors';
import * as reference from '../../src/reference';
import { Layout } from '../../src/tensor/layout';
import {
  download,
  execute,
  expectClose,
  openVariant,
  type Storage,
  stored,
  summed,
  testVariants,
  upload,
  zeros,
} from './variants';

const { numbers } = reference;

describe('matmul', () => {
  // The last two have enough columns for the wide workgroup.
  const SIZES = [
    [1, 1, 1],
    [7, 5, 3],
    [33, 67, 31],
    [64, 192, 64],
    [9, 257, 20],
    [17, 300, 33],
  ];

  /** Runs one product at all sizes. `add` names what is added; `c` and `left` are storage types. */
  async function products(
    gpu: Gpu,
    dtype: Storage,
    how: {
      a?: 'transposed';
      b?: 'transposed';
      add?: ('bias' | 'addend' | 'accumulate')[];
      c?: Storage;
      left?: Storage;
    },
  ) {
    const { add = [], c: cType = dtype, left = dtype } = how;
    for (const [M, N, K] of SIZES) {
      const [aData, bData, bias, addend, before] = [
        stored(numbers(M * K, 1), left),
        stored(numbers(K * N, 2), dtype),
        stored(numbers(N, 3), dtype),
        stored(numbers(M * N, 4), dtype),
        stored(numbers(M * N, 5), cType),
      ];
      const a = how.a
        ? transposed(upload(gpu, 'a', aData, [K, M], left))
        : upload(gpu, 'a', aData, [M, K], left);
      const b = how.b
        ? transposed(upload(gpu, 'b', bData, [N, K], dtype))
        : upload(gpu, 'b', bData, [K, N], dtype);
      const c = upload(gpu, 'c', before, [M, N], cType);
      const options: MatmulOptions = {
        bias: add.includes('bias') ? upload(gpu, 'bias', bias, [N], dtype) : undefined,
        addend: add.includes('addend') ? upload(gpu, 'addend', addend, [M, N], dtype) : undefined,
        accumulate: add.includes('accumulate'),
      };
      await execute(gpu, (recorder) => matmul(recorder, a, b, c, options));
      const sum = (of: (values: Float64Array) => Float64Array) =>
        [options.addend && addend, options.accumulate && before].reduce<Float64Array>(
          (y, more) => (more ? reference.add(y, of(more)) : y),
          reference.matmul(of(aData), of(bData), M, K, N, {
            transposeA: !!how.a,
            transposeB: !!how.b,
            bias: options.bias && of(bias),
          }),
        );
      const [expected, terms] = [sum((values) => values), sum((values) => values.map(Math.abs))];
      expectClose(
        await download(gpu, c),
        expected,
        summed(K + 3, cType),
        `(${M}, ${K}) · (${K}, ${N})`,
        terms,
      );
    }
  }

  testVariants('x · w', (gpu, dtype) => products(gpu, dtype, {}));
  testVariants('x · w + bias', (gpu, dtype) => products(gpu, dtype, { add: ['bias'] }));
  testVariants('x · w + bias + residual', (gpu, dtype) =>
    products(gpu, dtype, { add: ['bias', 'addend'] }),
  );
  testVariants('dy · wᵀ', (gpu, dtype) => products(gpu, dtype, { b: 'transposed' }));
  testVariants('f32 logits = x · wᵀ', (gpu, dtype) =>
    products(gpu, dtype, { b: 'transposed', c: 'f32' }),
  );
  testVariants('dw += xᵀ · dy in f32', (gpu, dtype) =>
    products(gpu, dtype, { a: 'transposed', c: 'f32', add: ['accumulate'] }),
  );
  testVariants('dx from f32 dlogits', (gpu, dtype) => products(gpu, dtype, { left: 'f32' }));

  testVariants('reads and writes matrices inside wider storages', async (gpu, dtype) => {
    const [M, N, K] = [10, 19, 13];
    const wide = stored(numbers(400, 1), dtype);
    const before = stored(numbers(400, 2), dtype);
    const aLayout = new Layout([M, K], [17, 1], 9);
    const bLayout = new Layout([K, N], [1, 16], 5);
    const cLayout = new Layout([M, N], [21, 1], 11);
    const gather = (layout: Layout) => Array.from(layout.addresses(), (at) => wide[at]);
    const c = upload(gpu, 'c', before, cLayout, dtype);
    await execute(gpu, (recorder) =>
      matmul(
        recorder,
        upload(gpu, 'a', wide, aLayout, dtype),
        upload(gpu, 'b', wide, bLayout, dtype),
        c,
      ),
    );
    const product = reference.matmul(gather(aLayout), gather(bLayout), M, K, N);
    const expected = before.slice();
    const covered = [...cLayout.addresses()];
    for (const [i, at] of covered.entries()) expected[at] = product[i];
    const actual = await download(gpu, c);
    expectClose(actual, expected, summed(K, dtype));
    const around = [...before.keys()].filter((at) => !covered.includes(at));
    expect(around.map((at) => actual[at])).toEqual(around.map((at) => before[at]));
  });

  testVariants(
    'every variant makes the same bits',
    async (gpu, dtype) => {
      const [plain, ...others] = allVariants(gpu).filter(
        // In f16, with many lanes, check.test.ts compares the tiles with the reference.
        ({ file }) => file !== 'matmul_tile' || dtype === 'f32',
      );
      // Multiples of 4, as vec4 loads need, and others; wider than a tile, and deeper than a strip.
      for (const [M, N, K] of [
        [33, 67, 31],
        [36, 68, 32],
        [150, 139, 70],
        [152, 140, 76],
      ]) {
        for (const [turnA, turnB] of [
          [false, false],
          [false, true],
          [true, false],
        ]) {
          const [aData, bData, before] = [numbers(M * K, 1), numbers(K * N, 2), numbers(M * N, 3)];
          const a = turnA
            ? transposed(upload(gpu, 'a', aData, [K, M], dtype))
            : upload(gpu, 'a', aData, [M, K], dtype);
          const b = turnB
            ? transposed(upload(gpu, 'b', bData, [N, K], dtype))
            : upload(gpu, 'b', bData, [K, N], dtype);
          const bias = upload(gpu, 'bias', numbers(N, 4), [N], dtype);
          const product = async (variant: MatmulVariant) => {
            const c = upload(gpu, 'c', before, [M, N]);
            await execute(gpu, (recorder) =>
              matmul(recorder, a, b, c, { variant, bias, accumulate: true }),
            );
            return download(gpu, c);
          };
          const truth = await product(plain);
          for (const variant of others) {
            if (variant.vec4Loads && K % 4)
              await expect(product(variant)).rejects.toThrow('cannot be loaded in vec4s');
            else expect(await product(variant), variant.name).toEqual(truth);
          }
        }
      }
    },
    ['one lane'],
  );

  it('takes the variant that was measured to be fastest, and never one that is wrong', async () => {
    const gpu = await openVariant('many lanes', 'of given speeds');
    const names = variantsFor(gpu).map(({ name }) => name);
    const [plain, small, large] = names;
    const best = (M: number, N: number) =>
      bestVariant(gpu, Layout.contiguous([M, 8]), Layout.contiguous([8, N]), 'f32').name;
    setSpeeds(
      gpu,
      'f32',
      new Map([
        [plain, 1],
        [small, 3],
        [large, 5],
      ]),
    );
    // A few large tiles leave most of a GPU idle; many do not.
    expect([best(64, 64), best(4096, 4096)]).toEqual([small, large]);
    setSpeeds(
      gpu,
      'f32',
      new Map([
        [plain, 1],
        [small, 0],
        [large, 0],
      ]),
    );
    expect([best(64, 64), best(4096, 4096)]).toEqual([plain, plain]);
  });

  it('refuses sizes that do not match, and integers', async () => {
    const gpu = await openVariant('one lane');
    const a = zeros(gpu, 'a', [2, 3]);
    await expect(execute(gpu, (r) => matmul(r, a, a, a, { label: 'h.0 dx' }))).rejects.toThrow(
      'matmul h.0 dx: (2,3) · (2,3) → (2,3)',
    );
    const tokens = zeros(gpu, 'tokens', [3, 3], 'u32');
    await expect(execute(gpu, (r) => matmul(r, tokens, tokens, tokens))).rejects.toThrow(
      'tokens holds u32',
    );
  });
});
