// The batches of a run as its cache knows them: the place of each in the file, and fingerprints of
// their tokens, which identify the cache and catch a batch that it does not hold.

import type { Batch } from '../../data/batches';
import { CacheError } from './cache-file';

/** What a teacher reads of a batch. */
export type TokenBatch = Pick<Batch, 'index' | 'inputs' | 'documents'>;

/** Every batch that a run will ask its teacher for. */
export interface RunBatches {
  /** Training batches; 0 where the loss needs no teacher. */
  count: number;
  at(index: number): Batch;
  heldOut: readonly Batch[];
}

export type Split = 'training' | 'held-out';

/** 64 bits of hash, which depend on the tokens and their order. */
function fingerprint(tokens: ArrayLike<number>): string {
  let [one, two] = [tokens.length, ~tokens.length];
  for (let i = 0; i < tokens.length; i++) {
    one = Math.imul(one ^ tokens[i], 0x2c1b3c6d);
    one ^= one >>> 15;
    two = Math.imul(two + tokens[i] + 1, 0x297a2d39);
    two ^= two >>> 13;
  }
  return [one, two].map((half) => (half >>> 0).toString(16).padStart(8, '0')).join('');
}

/** Of what the teacher's logits depend on. */
const fingerprintOf = ({ inputs, documents }: Omit<TokenBatch, 'index'>): string =>
  fingerprint(documents ? [...inputs, ...documents] : inputs);

export class BatchIndex {
  /** Fingerprint of all tokens, a part of the cache's identity. */
  readonly tokens: string;
  /** One of each batch, in the order of the file: held-out batches after those of training. */
  readonly #fingerprints: string[] = [];
  readonly #trainBatches: number;

  constructor({ count, at, heldOut }: RunBatches) {
    this.#trainBatches = count;
    for (let index = 0; index < count; index++) this.#fingerprints.push(fingerprintOf(at(index)));
    for (const batch of heldOut) this.#fingerprints.push(fingerprintOf(batch));
    const halves = this.#fingerprints.flatMap((text) => [text.slice(0, 8), text.slice(8)]);
    this.tokens = fingerprint(halves.map((half) => Number.parseInt(half, 16)));
  }

  /** Place of a batch in the file. @throws CacheError unless the file holds this batch */
  place(split: Split, { index, ...batch }: TokenBatch): number {
    const training = split === 'training';
    const place = training ? index : this.#trainBatches + index;
    const held = !training || index < this.#trainBatches;
    if (held && this.#fingerprints[place] === fingerprintOf(batch)) return place;
    throw new CacheError(
      'refused',
      `The teacher’s cache does not hold ${split} batch ${index}. ` +
        'Start the run again, which writes a new cache.',
    );
  }
}
