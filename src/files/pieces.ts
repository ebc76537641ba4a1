// A model's file before its weights are there: pieces of known lengths, so that a large file is
// written parameter by parameter and never lies in memory whole.

import { toHalf } from '../tensor/dtype';

/** A student cannot be written as asked. The message says what to do next. */
export class ExportError extends Error {
  override name = 'ExportError';
}

/** Bytes as they are, or a parameter's values, encoded once they are there. */
export type Piece = Uint8Array<ArrayBuffer> | ParameterPiece;

export interface ParameterPiece {
  /** Its name, as `parameterShapes` has it. */
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
 * @param values the parameter's, f32, if it is one
 * @throws Error if they are missing, of another size, or not representable
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
    `write ${parameter}: ${parameter} has ${values?.length ?? 'no'} values; shape [${shape.join(', ')}] needs ${size}.`,
  );
}

/** The whole file. */
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

/** From here on a value rounds to infinity in f16. */
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
