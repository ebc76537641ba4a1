// What the hub says of a file's contents, and the check of a download against it, piece by piece:
// SHA-256 of a large file, and git's name for a small one, which is the SHA-1 of its length and
// bytes.

import { sha1 } from '@noble/hashes/legacy.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex as hex } from '@noble/hashes/utils.js';

export { hex };

export interface Digest {
  kind: 'sha256' | 'git';
  hex: string;
}

/** Takes a file's bytes in their order. */
export class DigestCheck {
  /** Bytes so far. */
  position = 0;
  readonly #hash: { update(bytes: Uint8Array): unknown; digest(): Uint8Array };

  /** @param size the file's, in bytes */
  constructor(
    private readonly expected: Digest,
    readonly size: number,
  ) {
    const isLarge = expected.kind === 'sha256';
    this.#hash = isLarge ? sha256.create() : sha1.create();
    if (!isLarge) this.#hash.update(new TextEncoder().encode(`blob ${size}\0`));
  }

  add(bytes: Uint8Array): void {
    this.#hash.update(bytes);
    this.position += bytes.length;
  }

  /** Of the whole file, once: whether it has the expected contents. */
  matches(): boolean {
    return hex(this.#hash.digest()) === this.expected.hex;
  }
}

const SEAL_BYTES = 32;

/** SHA-256. */
export const digestOf = async (bytes: Uint8Array<ArrayBuffer>) =>
  new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));

/** Bytes with their SHA-256 behind them, as a cache keeps them. */
export async function sealed(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const all = new Uint8Array(bytes.length + SEAL_BYTES);
  all.set(bytes);
  all.set(await digestOf(bytes), bytes.length);
  return all;
}

/** What was sealed; undefined if that is not `length` bytes with their SHA-256. */
export async function unsealed(
  all: Uint8Array<ArrayBuffer> | undefined,
  length: number,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  if (all?.length !== length + SEAL_BYTES) return undefined;
  const bytes = all.subarray(0, length);
  const seal = all.subarray(length);
  return (await digestOf(bytes)).every((byte, i) => byte === seal[i]) ? bytes : undefined;
}
