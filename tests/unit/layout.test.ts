// Layout against PyTorch: random chains of operations with PyTorch's results, and cases that the
// chains do not contain. STILLHOUSE_GOLDENS names another folder with chains.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Relayout } from '../../src/tensor/layout';
import { Layout, LayoutError } from '../../src/tensor/layout';

interface Chain {
  shape: number[];
  ops: [string, ...unknown[]][];
  result?: {
    shape: number[];
    stride: number[];
    storage_offset: number;
    contiguous: boolean;
    numel: number;
    copied: boolean;
  };
  values?: number[] | null;
  error?: string;
  at?: number;
}

const folder = process.env.STILLHOUSE_GOLDENS ?? 'tests/fixtures/goldens';
const chains = readFileSync(join(folder, 'layouts.jsonl'), 'utf8')
  .split('\n')
  .filter((line) => line !== '')
  .map((line) => JSON.parse(line) as Chain);

/** A layout with its storage, so that a copy really moves elements. */
interface State {
  layout: Layout;
  storage: number[];
}

function apply(
  { layout, storage }: State,
  [name, ...args]: Chain['ops'][number],
): State & { copied: boolean } {
  const method = (layout as unknown as Record<string, (...args: unknown[]) => Layout | Relayout>)[
    name
  ];
  const answer = method.apply(layout, args);
  if (answer instanceof Layout) return { layout: answer, storage, copied: false };
  const { layout: next, copied } = answer;
  return {
    layout: next,
    storage: copied ? [...layout.addresses()].map((a) => storage[a]) : storage,
    copied,
  };
}

/** Runs a chain. Returns what the golden line should contain. */
function run({ shape, ops }: Chain): Omit<Chain, 'shape' | 'ops'> {
  let state: State = { layout: Layout.contiguous(shape), storage: [] };
  state.storage = Array.from({ length: state.layout.numel }, (_, i) => i);
  let copied = false;
  for (const [at, op] of ops.entries()) {
    try {
      const next = apply(state, op);
      copied ||= next.copied;
      state = next;
    } catch (error) {
      if (!(error instanceof LayoutError)) throw error;
      return { error: error.message.split('\n')[0], at };
    }
  }
  const { layout, storage } = state;
  const result = {
    shape: [...layout.shape],
    stride: [...layout.strides],
    storage_offset: layout.offset,
    contiguous: layout.isContiguous,
    numel: layout.numel,
    copied,
  };
  return { result, values: [...layout.addresses()].map((a) => storage[a]) };
}

/** PyTorch's text in the error that `call` throws. */
function reason(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    if (error instanceof LayoutError) return error.reason;
    throw error;
  }
  throw new Error('nothing was thrown');
}

test('every chain of operations gives PyTorch’s result', () => {
  expect(chains.length).toBeGreaterThan(100);
  const wrong = chains.flatMap((chain) => {
    const { shape, ops, ...golden } = chain;
    const ours = run(chain);
    if (golden.values === null) delete golden.values;
    if (golden.values === undefined) delete ours.values;
    try {
      expect(ours).toEqual(golden);
      return [];
    } catch {
      return [{ shape, ops: JSON.stringify(ops), golden, ours }];
    }
  });
  expect(wrong).toEqual([]);
});

test('the chains contain copies, views of views, and several kinds of errors', () => {
  expect(chains.filter((c) => c.result?.copied).length).toBeGreaterThan(10);
  expect(chains.filter((c) => c.result && !c.result.contiguous).length).toBeGreaterThan(10);
  expect(new Set(chains.map((c) => c.error?.replace(/\d+/g, ''))).size).toBeGreaterThan(5);
});

describe('logits[:, :-1].view(-1, V)', () => {
  const shifted = (B: number, T: number, V: number) => Layout.contiguous([B, T, V]).slice(1, 0, -1);

  test('fails for B > 1 and T − 1 > 1, with sizes and strides in the error', () => {
    let error: unknown;
    try {
      shifted(4, 64, 512).view([-1, 512]);
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(LayoutError);
    expect((error as LayoutError).message).toBe(
      "view size is not compatible with input tensor's size and stride (at least one dimension " +
        'spans across two contiguous subspaces). Use .reshape(...) instead.\n' +
        'view([-1, 512]) on sizes [4, 63, 512], strides [32768, 512, 1], offset 0',
    );
  });

  test('succeeds with B = 1, which hides the bug', () => {
    expect(shifted(1, 64, 512).view([-1, 512])).toEqual(Layout.contiguous([63, 512]));
  });

  test('succeeds at T = 2, with rows that are 2V apart', () => {
    const rows = shifted(4, 2, 512).view([-1, 512]);
    expect(rows.strides).toEqual([1024, 1]);
    expect(rows.isContiguous).toBe(false);
  });

  test('reshape and flatten copy, and the copy is contiguous from offset 0', () => {
    const labels = Layout.contiguous([4, 64]).slice(1, 1);
    expect(labels.reshape([-1])).toEqual({ layout: Layout.contiguous([252]), copied: true });
    expect(labels.flatten()).toEqual({ layout: Layout.contiguous([252]), copied: true });
    expect(labels.contiguous()).toEqual({ layout: Layout.contiguous([4, 63]), copied: true });
  });
});

test('wrong arguments give PyTorch’s errors', () => {
  const scalar = Layout.contiguous([]);
  const matrix = Layout.contiguous([2, 3]);
  expect(reason(() => matrix.transpose(0, 2))).toBe(
    'Dimension out of range (expected to be in range of [-2, 1], but got 2)',
  );
  expect(reason(() => matrix.unsqueeze(-4))).toBe(
    'Dimension out of range (expected to be in range of [-3, 2], but got -4)',
  );
  expect(reason(() => scalar.squeeze(1))).toBe(
    'Dimension out of range (expected to be in range of [-1, 0], but got 1)',
  );
  expect(reason(() => scalar.slice(0))).toBe('slice() cannot be applied to a 0-dim tensor.');
  expect(reason(() => scalar.select(0, 0))).toBe('select() cannot be applied to a 0-dim tensor.');
  expect(reason(() => scalar.narrow(0, 0, 0))).toBe(
    'narrow() cannot be applied to a 0-dim tensor.',
  );
  expect(reason(() => matrix.slice(0, 0, 2, 0))).toBe('slice step cannot be zero');
  expect(reason(() => matrix.slice(0, null, null, -1))).toBe('step must be greater than zero');
  expect(reason(() => matrix.slice(0, 0.5))).toBe(
    'slice indices must be integers or None or have an __index__ method',
  );
  expect(reason(() => matrix.narrow(0, 0, -1))).toBe('narrow(): length must be non-negative.');
  expect(reason(() => matrix.narrow(1, 4, 0))).toBe(
    'start out of range (expected to be in range of [-3, 3], but got 4)',
  );
  expect(reason(() => matrix.select(1, -4))).toBe(
    'select(): index -4 out of range for tensor of size [2, 3] at dimension 1',
  );
  expect(reason(() => matrix.view([-2, 3]))).toBe('invalid shape dimension -2');
  expect(reason(() => matrix.view([-1, -2, -1]))).toBe('invalid shape dimension -2');
  expect(reason(() => matrix.view([-1, -1, -2]))).toBe('only one dimension can be inferred');
  expect(reason(() => matrix.permute([0, -2]))).toBe('permute(): duplicate dims are not allowed.');
  expect(reason(() => matrix.permute([0]))).toBe(
    'permute(sparse_coo): number of dimensions in the tensor input does not match the length of ' +
      'the desired ordering of dimensions i.e. input.dim() = 2 is not equal to len(dims) = 1',
  );
  expect(reason(() => matrix.flatten(1, 0))).toBe(
    'flatten() has invalid args: start_dim cannot come after end_dim',
  );
  expect(reason(() => matrix.expand([3]))).toBe(
    'expand(torch.FloatTensor{[2, 3]}, size=[3]): the number of sizes provided (1) must be ' +
      'greater or equal to the number of dimensions in the tensor (2)',
  );
  expect(reason(() => matrix.expand([-1, 2, 3]))).toBe(
    "The expanded size of the tensor (-1) isn't allowed in a leading, non-existing dimension 0",
  );
  expect(reason(() => matrix.expand([-2, 2, 3]))).toBe(
    'Trying to create tensor with negative dimension -2: [-2, 2, 3]',
  );
});

test('a scalar has one element, and can gain dimensions', () => {
  const scalar = Layout.contiguous([]);
  expect([scalar.numel, scalar.extent, scalar.at()]).toEqual([1, 1, 0]);
  expect(scalar.expand([2, 3]).strides).toEqual([0, 0]);
  expect(scalar.flatten()).toEqual({ layout: Layout.contiguous([1]), copied: false });
  expect(scalar.transpose(0, -1)).toEqual(scalar);
});

describe('addresses', () => {
  test('at gives an address in elements, and agrees with the walk over all elements', () => {
    const layout = Layout.contiguous([4, 5, 6])
      .slice(1, 1, null, 2)
      .transpose(0, 2)
      .narrow(0, 2, 3);
    const walked: number[] = [];
    for (let i = 0; i < 3; i++) {
      for (let j = 0; j < 2; j++) for (let k = 0; k < 4; k++) walked.push(layout.at(i, j, k));
    }
    expect([...layout.addresses()]).toEqual(walked);
    expect(layout.at(-1, -1, -1)).toBe(layout.at(2, 1, 3));
    expect(layout.extent).toBe(Math.max(...walked) + 1);
  });

  test('an index out of range is an error', () => {
    const layout = Layout.contiguous([2, 3]);
    expect(reason(() => layout.at(0, 3))).toBe(
      'index 3 is out of bounds for dimension 1 with size 3',
    );
    expect(reason(() => layout.at(0, 0, 0))).toBe('too many indices for tensor of dimension 2');
    expect(reason(() => layout.at(0))).toBe("an element's address takes 2 indices, not 1");
  });

  test('without elements the extent is 0', () => {
    expect(Layout.contiguous([3, 0]).narrow(0, 2, 1).extent).toBe(0);
  });
});

test('a layout is immutable, and does not share the arrays it was made from', () => {
  const shape = [2, 3];
  const layout = Layout.contiguous(shape);
  shape[0] = 9;
  expect(layout.shape).toEqual([2, 3]);
  expect(() => (layout.shape as number[]).push(1)).toThrow(TypeError);
});

test('an impossible layout is refused', () => {
  for (const make of [
    () => new Layout([2, 3], [3]),
    () => new Layout([2], [-1]),
    () => new Layout([2.5], [1]),
    () => new Layout([2], [1], Number.NaN),
  ]) {
    expect(make).toThrow(/do not describe a tensor. Give as many strides as sizes/);
  }
});
