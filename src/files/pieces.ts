// A model's file before its weights are read: pieces of known lengths, so that a large file is
// written parameter by parameter and is never in memory as a whole.

import { toHalf } from '../tensor/dtype';

/** Weights that cannot be written. The message says what to do next. */
export class ExportError extends Error {
  override name = 'ExportError';
}

/** Bytes, or a parameter whose values are encoded once they are read. */
export type Piece = Uint8Array<ArrayBuffer> | ParameterPiece;

export interface ParameterPiece {
  parameter: string;
  shape: readonly number[];
  byteLength: number;
  encode(values: Float32Array): Uint8Array<ArrayBuffer>;
}

export function lengthOf(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, { byteLength }) => sum + byteLength, 0);
}

/**
 * A piece's bytes.
 * @param values f32, for a parameter
 * @throws Error if values are missing, have another size or are not representable
 */
export function encodePiece(
  piece: Piece,
  values: Float32Array | undefined,
): Uint8Array<ArrayBuffer> {
  if (piece instanceof Uint8Array) return piece;
  const { parameter, shape } = piece;
  const size = shape.reduce((product, extent) => product * extent, 1);
  if (values?.length === size) return piece.encode(values);
  throw new Error(
    `write ${parameter}: ${parameter} has ${values?.length ?? 'no'} values; ` +
      `shape [${shape.join(', ')}] needs ${size}.`,
  );
}

/** The file. `weights`: f32, by parameter name. */
export function joinPieces(
  pieces: readonly Piece[],
  weights: ReadonlyMap<string, Float32Array>,
): Uint8Array<ArrayBuffer> {
  const file = new Uint8Array(lengthOf(pieces));
  let offset = 0;
  for (const piece of pieces) {
    file.set(
      encodePiece(piece, 'parameter' in piece ? weights.get(piece.parameter) : undefined),
      offset,
    );
    offset += piece.byteLength;
  }
  return file;
}

/** The smallest size that rounds to infinity in f16. */
export const HALF_LIMIT = 65520;

/**
 * Values as little-endian bytes.
 * @throws ExportError for a value that is not finite in that type
 */
export function encodeValues(
  name: string,
  dtype: 'f16' | 'f32',
  values: Float32Array,
): Uint8Array<ArrayBuffer> {
  const limit = dtype === 'f16' ? HALF_LIMIT : Infinity;
  const bad = values.findIndex((value) => !(Math.abs(value) < limit));
  if (bad >= 0) {
    const next = Number.isFinite(values[bad])
      ? 'Export in f32, or train on'
      : 'Use weights of an earlier step';
    throw new ExportError(
      `write ${name} in ${dtype}: ${name} holds ${values[bad]} at element ${bad}. ${next}.`,
    );
  }
  const stored = dtype === 'f16' ? toHalf(values) : values;
  return new Uint8Array(stored.buffer as ArrayBuffer, stored.byteOffset, stored.byteLength);
}
