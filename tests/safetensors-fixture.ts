// Reads the goldens of tests/fixtures; STILLHOUSE_GOLDENS may name a folder with goldens of another
// seed. It does not use the project's safetensors reader, so that a fault there cannot hide itself.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export interface GoldenTensor {
  shape: number[];
  data: Float32Array | Int32Array;
}

/** The path of a file among the goldens. */
export function goldenPath(name: string): string {
  const fixtures = fileURLToPath(new URL('./fixtures/goldens', import.meta.url));
  return `${process.env.STILLHOUSE_GOLDENS ?? fixtures}/${name}`;
}

export function readGoldenJson<T>(name: string): T {
  return JSON.parse(readFileSync(goldenPath(name), 'utf8')) as T;
}

/** All tensors of a safetensors file; F32 and I32 only. */
export function readGoldenTensors(name: string): Record<string, GoldenTensor> {
  const { buffer } = new Uint8Array(readFileSync(goldenPath(name)));
  const headerBytes = Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, headerBytes)));
  delete header.__metadata__;
  return Object.fromEntries(
    Object.entries<{ dtype: string; shape: number[]; data_offsets: [number, number] }>(header).map(
      ([
        key,
        {
          dtype,
          shape,
          data_offsets: [start, end],
        },
      ]) => {
        const bytes = buffer.slice(8 + headerBytes + start, 8 + headerBytes + end);
        if (dtype === 'F32') return [key, { shape, data: new Float32Array(bytes) }];
        if (dtype === 'I32') return [key, { shape, data: new Int32Array(bytes) }];
        throw new Error(
          `${name}: ${key} is ${dtype}; this reader supports F32 and I32. Store it as one of them.`,
        );
      },
    ),
  );
}
