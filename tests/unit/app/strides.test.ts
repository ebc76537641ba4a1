// The Stride Lab's chains: their text, the choices of the controls, and the storage after copies.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Stage } from '../../../src/app/strides/chain';
import { LIMITS, OPERATIONS, outcomeOf, run } from '../../../src/app/strides/chain';
import { formatChain, parseChain } from '../../../src/app/strides/chain-text';
import { fill, isOffered, operationFrom, valuesOf } from '../../../src/app/strides/choices';
import { chains } from './strides-chains';

function open(text: string): Stage[] {
  const parsed = parseChain(text);
  if ('problem' in parsed) throw new Error(parsed.problem);
  expect(formatChain(parsed.chain)).toBe(text);
  return parsed.stages;
}

function problemOf(text: string): string {
  const parsed = parseChain(text);
  if (!('problem' in parsed)) throw new Error(`${text} was parsed without a problem`);
  return parsed.problem;
}

const lines = (text: string) => open(text).map(({ line }) => line);

describe('a chain', () => {
  test('has the PyTorch line of each operation', () => {
    expect(lines('2,4,6:slice(1,0,-1):transpose(1,2):reshape(-1,6)')).toEqual([
      'x = torch.arange(48.).half().view(2, 4, 6)',
      'x = x[:, :-1]',
      'x = x.transpose(1, 2)',
      'x = x.reshape(-1, 6)',
    ]);
    expect(lines('2,4:slice(-1,1,,2):squeeze():contiguous()').slice(1)).toEqual([
      'x = x[:, 1::2]',
      'x = x.squeeze()',
      'x = x.contiguous()',
    ]);
    expect(lines('3:slice(0)')[1]).toBe('x = x[:]');
  });

  test('continues after a copy in a new storage that records each cell’s source', () => {
    const [, , copied, later] = open('2,3:transpose(0,1):contiguous():select(0,1)');
    expect(copied).toMatchObject({
      copied: true,
      storage: { generation: 1, from: [0, 3, 1, 4, 2, 5] },
    });
    expect(later.storage).toBe(copied.storage);
    expect(later).toMatchObject({ copied: false, layout: { offset: 2 } });
    const twice = open('2,3:transpose(0,1):contiguous():transpose(0,1):contiguous()').at(-1)!;
    expect(twice.storage).toEqual({
      generation: 2,
      from: [0, 2, 4, 1, 3, 5],
      values: [0, 1, 2, 3, 4, 5],
    });
  });

  test('ends where PyTorch refuses, with PyTorch’s message and the refused layout', () => {
    const stages = open('2,4,6:slice(1,0,-1):view(-1,6)');
    expect(stages[2].failure?.reason).toMatch(/^view size is not compatible/);
    expect(stages[2].layout).toBe(stages[1].layout);
    expect(problemOf('2,4,6:slice(1,0,-1):view(-1,6):contiguous()')).toBe(
      'Operation 2, view(-1,6), fails, so nothing can follow it.',
    );
  });

  test.each([
    ['2,3', 'contiguous'],
    ['2,3:transpose(0,1)', 'strided'],
    ['2,3:transpose(0,1):flatten()', 'copies'],
    ['2,3:view(7)', 'refused'],
    ['2,3:expand(3,3)', 'refused'],
  ] as const)('the outcome of %s is %s', (text, outcome) => {
    expect(outcomeOf(open(text).at(-1)!)).toBe(outcome);
  });
});

describe('the text of a chain', () => {
  test('parses back to the chain that the controls built', () => {
    fc.assert(
      fc.property(chains, (chain) => {
        const text = formatChain(chain);
        expect(text).toMatch(/^[a-z0-9,:()-]+$/);
        expect(parseChain(text)).toEqual({ chain, stages: run(chain) });
      }),
    );
  });

  test('may be percent-encoded, contain spaces, and lack the last bracket', () => {
    const plain = parseChain('2,4,6:slice(1,0,-1):view(-1,6)');
    expect(plain).toHaveProperty('chain');
    expect(parseChain(encodeURIComponent('2, 4, 6:slice(1, 0, -1):view(-1, 6'))).toEqual(plain);
  });

  test.each([
    ['', 'The start shape has nothing in place of a whole number of up to 3 digits.'],
    ['2,x', 'The start shape has "x" in place of a whole number of up to 3 digits.'],
    ['2,3:', 'Operation 1 is nothing. Write it as name(numbers), e.g. view(-1,6).'],
    ['2,3:view', 'Operation 1 is "view". Write it as name(numbers), e.g. view(-1,6).'],
    ['2,3:constructor(1)', 'Operation 1 is "constructor". It must be one of: slice, transpose,'],
    ['2,3:__proto__(1)', 'Operation 1 is "__proto__". It must be one of: slice,'],
    ['2,3:toString()', 'Operation 1 is "toString". It must be one of: slice,'],
    ['2,3:view(1e2)', 'Operation 1 has "1e2" in place of a whole number of up to 3 digits.'],
    ['2,3:view(-0)', 'Operation 1 has "-0" in place of'],
    ['2,3:view(9999)', 'Operation 1 has "9999" in place of'],
    ['2,3:view(6,,1)', 'Operation 1 has nothing in place of'],
    ['2,3:slice(,1)', 'Operation 1 has nothing in place of'],
    ['2,3:view(0,6)', 'Operation 1, "view(0,6)": each size must be 1 or more, or -1.'],
    ['2,3:view(-2,3)', 'Operation 1, "view(-2,3)": each size must be 1 or more, or -1.'],
    ['2,3:view()', 'Operation 1, view, takes 1 to 5 numbers, not 0.'],
    ['2,3:transpose(0)', 'Operation 1, transpose, takes 2 numbers, not 1.'],
    [
      '2,3:transpose(0,2)',
      'Operation 1, transpose(0,2): ' +
        'Dimension out of range (expected to be in range of [-2, 1], but got 2)',
    ],
    ['2,3:slice(99,1)', 'Operation 1, slice(99,1): Dimension out of range'],
    ['2,3:slice(0,0,2,-1)', 'Operation 1, slice(0,0,2,-1): step must be greater than zero'],
    [
      '2,3:slice(0,2)',
      'Operation 1, slice(0,2): the result has shape [0, 3]. ' +
        'The lab can draw 1 to 96 elements in up to 5 dimensions.',
    ],
    [
      '2,3:expand(3)',
      'Operation 1, expand(3): expand needs a size for each dimension, at least 2 here.',
    ],
    [
      '8,8:expand(2,8,8)',
      'Operation 1, expand(2,8,8): the result has shape [2, 8, 8]. The lab can draw',
    ],
    [
      '2,9',
      'The lab cannot start from shape [2, 9]. ' +
        'It takes 1 to 4 dimensions of size 1 to 8, and at most 96 elements.',
    ],
    ['8,8,8', 'The lab cannot start from shape [8, 8, 8].'],
    ['1,1,1,1,1', 'The lab cannot start from shape [1, 1, 1, 1, 1].'],
    ['0', 'The lab cannot start from shape [0].'],
    [`2${':contiguous()'.repeat(9)}`, 'The chain has 9 operations; the lab takes up to 8.'],
    ['9'.repeat(401), 'The chain has 401 characters; the limit is 400.'],
    ['2,3:%', '"2,3:%" has a percent sign that encodes no character.'],
    [`2:${'y'.repeat(60)}`, `Operation 1 is "${'y'.repeat(40)}…". Write it as`],
  ])('is refused with the reason: %s', (text, problem) => {
    expect(problemOf(text)).toContain(problem);
  });

  test('always parses to a chain or one problem', () => {
    const pieces = fc.constantFrom(
      ...OPERATIONS,
      '(',
      ')',
      ':',
      ',',
      '-',
      '0',
      '1',
      '2',
      '6',
      '%',
      'é',
      ' ',
      '__proto__',
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 30 }), fc.boolean(), (parts, start) => {
        const parsed = parseChain(`${start ? '2,3:' : ''}${parts.join('')}`);
        expect('problem' in parsed ? parsed.problem.length : parsed.stages.length).toBeGreaterThan(
          0,
        );
      }),
      { numRuns: 500 },
    );
  });
});

describe('the controls', () => {
  test('offer only what the lab can show; only view, reshape and expand can be refused', () => {
    const refused = new Set<string>();
    fc.assert(
      fc.property(chains, (chain) => {
        const last = run(chain).at(-1)!;
        expect(last.layout.numel).toBeLessThanOrEqual(LIMITS.elements);
        if (last.failure) refused.add(last.operation!.name);
      }),
      { numRuns: 500 },
    );
    expect([...refused].sort()).toEqual(['expand', 'reshape', 'view']);
  });

  test('are filled with an operation’s own arguments when it is changed', () => {
    fc.assert(
      fc.property(chains, (chain) => {
        const stages = run(chain);
        for (const [i, operation] of chain.operations.entries()) {
          const { layout } = stages[i];
          const again = operationFrom(
            operation.name,
            fill(operation.name, layout, valuesOf(operation, layout)),
          );
          expect(again).toEqual(operation);
        }
      }),
    );
  });

  test('offer every operation on a tensor of the story’s shape', () => {
    const { layout } = run({ shape: [2, 4, 6], operations: [] })[0];
    expect(OPERATIONS.filter((name) => !isOffered(name, layout))).toEqual([]);
    expect(operationFrom('slice', fill('slice', layout, []))).toEqual({
      name: 'slice',
      args: [1, 0, -1],
    });
    expect(operationFrom('view', fill('view', layout, []))).toEqual({
      name: 'view',
      args: [-1, 6],
    });
  });
});
