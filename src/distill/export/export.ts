// A student as a Hugging Face folder in one .zip, which transformers, transformers.js and
// Stillhouse itself load.

import type { Config } from '../../config';
import { ExportError, encodePiece, HALF_LIMIT, lengthOf, type Piece } from '../../files/pieces';
import { writeZip, type ZipEntry } from '../../files/zip';
import type { Architecture } from '../../model/family';
import { LONGEST_ONNX } from '../../model/onnx-graph';
import { safetensorsPieces } from '../../model/weights';
import type { FolderTokenizer } from '../teacher/folder';
import { peftFiles } from './peft';

/** The type of model.safetensors. ONNX files are exported in both. */
export type ExportType = 'float32' | 'float16';

export interface ExportedStudent {
  architecture: Architecture;
  tokenizer: Pick<FolderTokenizer, 'files' | 'endOfText'>;
  /** The model on the hub that it started from, if it is one. */
  base?: string;
  /** A parameter's or an adapter's values, f32. Each file reads each parameter once. */
  parameter(name: string): Promise<Float32Array>;
}

interface FolderOptions {
  dtype: ExportType;
  /** Writes README.md. `missing`: a line for each file that could not be exported. */
  card(missing: readonly string[]): string;
  signal?: AbortSignal;
}

/** A file of the folder: its path in it, its length, and its bytes in chunks. */
export interface StudentFile {
  name: string;
  bytes: number;
  chunks(): AsyncGenerator<Uint8Array<ArrayBuffer>>;
}

/** The folder `name` in one .zip. @throws ExportError if it exceeds what a .zip can hold */
export function zipStudent(
  name: string,
  files: readonly StudentFile[],
  {
    date,
    onProgress,
  }: { date: Date; onProgress?: (file: string, written: number, total: number) => void },
): Promise<Blob> {
  const entries = files.map((file): ZipEntry => ({ ...file, name: `${name}/${file.name}` }));
  const report = (path: string, written: number, total: number) =>
    onProgress?.(path.slice(name.length + 1), written, total);
  const what = `The student ${name}`;
  return writeZip(entries, { what, instead: 'Export in float16.', date, onProgress: report });
}

/**
 * The folder's files, which read the student's weights as their chunks are read.
 * @throws ExportError for weights that are not finite or do not fit `dtype`
 */
export async function studentFiles(
  student: ExportedStudent,
  options: FolderOptions,
): Promise<StudentFile[]> {
  const { dtype, card, signal } = options;
  const { architecture, tokenizer } = student;
  const largest = await largestValue(student, signal);
  if (dtype === 'float16' && largest >= HALF_LIMIT) {
    throw new ExportError(
      `A weight of ${largest} exceeds float16’s maximum of 65,504. Export the student in float32.`,
    );
  }
  const missing: string[] = [];
  const onnx = (['f32', 'f16'] as const).flatMap((type): [string, Piece[]][] => {
    const file = type === 'f32' ? 'onnx/model.onnx' : 'onnx/model_fp16.onnx';
    const pieces = architecture.onnxPieces(type, true);
    const gigabytes = (lengthOf(pieces) / 1e9).toFixed(2);
    if (lengthOf(pieces) > LONGEST_ONNX) {
      missing.push(`${file}: it would have ${gigabytes} GB; an ONNX file has at most 2.15.`);
    } else if (type === 'f16' && largest >= HALF_LIMIT) {
      missing.push(`${file}: a weight of ${largest} exceeds float16’s maximum of 65,504.`);
    } else {
      return [[file, pieces]];
    }
    return [];
  });

  const { endOfText } = tokenizer;
  const files: [string, Piece[]][] = [
    ['README.md', [new TextEncoder().encode(card(missing))]],
    ['config.json', jsonPieces(architecture.formatConfig(dtype, endOfText))],
    ...(endOfText === undefined
      ? []
      : [
          [
            'generation_config.json',
            jsonPieces({ bos_token_id: endOfText, eos_token_id: endOfText }),
          ] as [string, Piece[]],
        ]),
    ...[...tokenizer.files].map(([file, bytes]): [string, Piece[]] => [file, [bytes]]),
    ['model.safetensors', safetensorsPieces(architecture, dtype === 'float16' ? 'F16' : 'F32')],
    ...onnx,
    ...peftFiles(architecture, student.base),
  ];
  return files.map(([name, pieces]) => fileOf(name, pieces, student, signal));
}

/** A file of pieces, whose parameters are read when their turn comes. */
export const fileOf = (
  name: string,
  pieces: readonly Piece[],
  { parameter }: Pick<ExportedStudent, 'parameter'>,
  signal?: AbortSignal,
): StudentFile => ({
  name,
  bytes: lengthOf(pieces),
  async *chunks() {
    for (const piece of pieces) {
      signal?.throwIfAborted();
      yield encodePiece(piece, 'parameter' in piece ? await parameter(piece.parameter) : undefined);
    }
  },
});

/** A JSON file's bytes. */
export const jsonPieces = (value: object): Piece[] => [
  new TextEncoder().encode(`${JSON.stringify(value, null, 2).replace(WHOLE_FLOAT, '$1.0')}\n`),
];
/** transformers refuses a whole number here, and that is how JavaScript writes 1.0. */
const WHOLE_FLOAT = /("routed_scaling_factor": \d+)(?=,?\n)/;

/** The largest magnitude of a weight. @throws ExportError if a weight is not finite */
async function largestValue(
  { architecture, parameter }: ExportedStudent,
  signal?: AbortSignal,
): Promise<number> {
  let largest = 0;
  for (const { name } of architecture.parameters) {
    signal?.throwIfAborted();
    for (const value of await parameter(name)) {
      const magnitude = Math.abs(value);
      if (magnitude > largest) largest = magnitude;
      if (!(magnitude < Infinity)) {
        throw new ExportError(
          `${name} contains ${value}, so the student is unusable. ` +
            'Start a run with a lower student_lr.',
        );
      }
    }
  }
  return largest;
}

/** The name of an exported student, e.g. `gpt2-2x64-from-moby-teacher-200-steps`. */
export function exportName(config: Config, student: Architecture, step: number): string {
  // The last part of an id, without its revision.
  const short = (reference: string) => reference.split('@')[0].split('/').at(-1) as string;
  const { student_model: from, teacher_model } = config;
  const unnamed = from === '' || from === 'teacher' || from === 'files';
  const what = unnamed
    ? `${student.family.modelType}-${student.layers}x${student.width}`
    : short(from);
  const teacher = teacher_model === 'files' ? 'own-files' : short(teacher_model);
  return `${what}-from-${teacher}-${step}-step${step === 1 ? '' : 's'}`.replace(/[^\w.-]/g, '-');
}
