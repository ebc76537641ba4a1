// What a model's files were, told from the bytes that loading the model reads anyway: a hash of
// samples of each file, in which two models of the same name differ. No proof against forgery.

import type { ModelSource } from './source';

/** Samples are spread evenly over a file, the first at its start, the last at its end. */
const SAMPLES = 64;
const SAMPLE_BYTES = 1024;

/** By the file's name. Two hashes can be compared if they are of the same number of bytes. */
export type Fingerprint = Record<string, { bytes: number; sha256: string }>;

/** The sampled bytes of a file, and which of them were read. */
interface Samples {
  bytes: Uint8Array<ArrayBuffer>;
  isRead: Uint8Array;
}

/**
 * The same source with its reads sampled, and a function that gives the fingerprint of what was
 * read so far.
 */
export function fingerprinted(source: ModelSource): [ModelSource, () => Promise<Fingerprint>] {
  const files = new Map<string, Samples>();
  const sample = (file: string, size: number, from: number, bytes: Uint8Array) => {
    const kept = Math.min(size, SAMPLES * SAMPLE_BYTES);
    const samples = files.get(file) ?? {
      bytes: new Uint8Array(kept),
      isRead: new Uint8Array(kept),
    };
    files.set(file, samples);
    for (let at = 0; at < kept; at += SAMPLE_BYTES) {
      const start = kept === size ? at : sampleStart(at / SAMPLE_BYTES, size);
      const end = Math.min(start + SAMPLE_BYTES, size);
      const first = Math.max(from, start);
      const last = Math.min(from + bytes.length, end);
      if (first >= last) continue;
      samples.bytes.set(bytes.subarray(first - from, last - from), at + first - start);
      samples.isRead.fill(1, at + first - start, at + last - start);
    }
  };
  const watched = (inner: ModelSource): ModelSource => ({
    ...inner,
    async range(file, from, to) {
      const bytes = await inner.range(file, from, to);
      sample(file, await inner.size(file), from, bytes);
      return bytes;
    },
    async read(file, most) {
      const bytes = await inner.read(file, most);
      sample(file, bytes.length, 0, bytes);
      return bytes;
    },
    ...(inner.converted && {
      async converted() {
        const other = await inner.converted?.();
        return other && watched(other);
      },
    }),
  });
  const fingerprint = async () => {
    const found: Fingerprint = {};
    for (const [file, { bytes, isRead }] of files)
      found[file] = {
        bytes: isRead.reduce((sum, one) => sum + one, 0),
        sha256: await sha256(bytes),
      };
    return found;
  };
  return [watched(source), fingerprint];
}

const sampleStart = (index: number, size: number) =>
  Math.round((index / (SAMPLES - 1)) * (size - SAMPLE_BYTES));

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
