// Generates the chains that a user can build in the Stride Lab: every value is one that the
// controls offer.

import fc from 'fast-check';
import type { Chain } from '../../../src/app/strides/chain';
import { LIMITS, OPERATIONS, run } from '../../../src/app/strides/chain';
import { fill, isOffered, operationFrom } from '../../../src/app/strides/choices';
import type { Layout } from '../../../src/tensor/layout';
import { product } from '../../../src/tensor/strides';

const shapes = fc
  .array(fc.integer({ min: 1, max: LIMITS.startSize }), {
    minLength: 1,
    maxLength: LIMITS.startDimensions,
  })
  .filter((shape) => product(shape) <= LIMITS.elements);

/** The operation to add, and the choice in each of its fields. */
const presses = fc.tuple(fc.nat(1000), fc.array(fc.nat(1000), { minLength: 6, maxLength: 6 }));

function press(layout: Layout, [which, picks]: [number, number[]]) {
  const offered = OPERATIONS.filter((name) => isOffered(name, layout));
  const name = offered[which % offered.length];
  let fields = fill(name, layout, []);
  for (let i = 0; i < fields.length; i++) {
    const { choices } = fields[i];
    const values = [
      ...fields.slice(0, i).map(({ value }) => value),
      choices[picks[i] % choices.length].value,
    ];
    fields = fill(name, layout, values);
  }
  return operationFrom(name, fields);
}

export const chains: fc.Arbitrary<Chain> = fc
  .tuple(shapes, fc.array(presses, { maxLength: LIMITS.operations }))
  .map(([shape, all]) => {
    let chain: Chain = { shape, operations: [] };
    for (const one of all) {
      const last = run(chain).at(-1)!;
      if (last.failure) break;
      chain = { shape, operations: [...chain.operations, press(last.layout, one)] };
    }
    return chain;
  });
