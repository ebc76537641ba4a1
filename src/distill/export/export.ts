// A student to take away: a Hugging Face folder in one .zip, which transformers, transformers.js
// and Stillhouse itself read.

import type { Config } from '../../config';
import { ExportError, encodePiece, HALF_LIMIT, lengthOf, type Piece } from '../../files/pieces';
import { writeZip, type ZipEntry } from '../../files/zip';
import type { Architecture } from '../../model/family';
import { safetensorsPieces } from '../../model/weights';
import type { FolderTokenizer } from '../teacher/folder';

/** The type of model.safetensors; the ONNX files come in both. */
export type ExportType = 'float32' | 'float16';

export interface ExportedStudent {
  architecture: Architecture;
  tokenizer: Pick<FolderTokenizer, 'files' | 'endOfText'>;
  /** A parameter's values, f32. Each is asked for once a file. */
  parameter(name: string): Promise<Float32Array>;
}

interface FolderOptions {
  dtype: ExportType;
  /** README.md, given a line for each file that the folder has to do without. */
  card(leftOut: readonly string[]): string;
  signal?: AbortSignal;
}

/** A file of the folder: its name in it, its length, and its bytes in chunks. */
export interface StudentFile {
  name: string;
  bytes: number;
  chunks(): AsyncGenerator<Uint8Array<ArrayBuffer>>;
}

/** Protobuf's lengths are 31 bits wide. */
const LONGEST_ONNX = 2 ** 31 - 1;

/** The folder `name` in one .zip. @throws ExportError for more than a .zip holds */
export function zipStudent(
  name: string,
  files: readonly StudentFile[],
  {
    date,
    onProgress,
  }: { date: Date; onProgress?: (file: string, written: number, total: number) => void },
): Promise<Blob> {
  const entries = files.map((file): ZipEntry => ({ ...file, name: `${name}/${file.name}` }));
  const told = (path: string, written: number, total: number) =>
    onProgress?.(path.slice(name.length + 1), written, total);
  return writeZip(entries, { date, onProgress: told });
}

/**
 * The folder's files, which read the student when their chunks are taken. @throws ExportError for
 * weights that are not finite or do not fit
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
      `A weight of ${largest} is beyond float16, which ends at 65,504. Export the student in float32.`,
    );
  }
  const leftOut: string[] = [];
  const onnx = (['f32', 'f16'] as const).flatMap((type): [string, Piece[]][] => {
    const file = type === 'f32' ? 'onnx/model.onnx' : 'onnx/model_fp16.onnx';
    const pieces = architecture.onnxPieces(type, true);
    const gigabytes = (lengthOf(pieces) / 1e9).toFixed(2);
    if (lengthOf(pieces) > LONGEST_ONNX) {
      leftOut.push(`${file}: it would have ${gigabytes} GB, and an ONNX file ends at 2.15.`);
    } else if (type === 'f16' && largest >= HALF_LIMIT) {
      leftOut.push(`${file}: a weight of ${largest} is beyond float16, which ends at 65,504.`);
    } else {
      return [[file, pieces]];
    }
    return [];
  });

  const { endOfText } = tokenizer;
  const json = (value: object) => [new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`)];
  const files: [string, Piece[]][] = [
    ['README.md', [new TextEncoder().encode(card(leftOut))]],
    ['config.json', json(architecture.formatConfig(dtype, endOfText))],
    ...(endOfText === undefined
      ? []
      : [
          [
            'generation_config.json',
            json({ bos_token_id: endOfText, eos_token_id: endOfText }),
          ] as [string, Piece[]],
        ]),
    ...[...tokenizer.files].map(([file, bytes]): [string, Piece[]] => [file, [bytes]]),
    ['model.safetensors', safetensorsPieces(architecture, dtype === 'float16' ? 'F16' : 'F32')],
    ...onnx,
  ];
  return files.map(([name, pieces]) => ({
    name,
    bytes: lengthOf(pieces),
    async *chunks() {
      for (const piece of pieces) {
        signal?.throwIfAborted();
        yield encodePiece(
          piece,
          'parameter' in piece ? await student.parameter(piece.parameter) : undefined,
        );
      }
    },
  }));
}

/** The largest weight's size. @throws ExportError if one is not finite */
async function largestValue(
  { architecture, parameter }: ExportedStudent,
  signal?: AbortSignal,
): Promise<number> {
  let largest = 0;
  for (const { name } of architecture.parameters) {
    signal?.throwIfAborted();
    for (const value of await parameter(name)) {
      const size = Math.abs(value);
      if (size > largest) largest = size;
      if (!(size < Infinity)) {
        throw new ExportError(
          `${name} holds ${value}, so the student says nothing. Start again with a lower student_lr.`,
        );
      }
    }
  }
  return largest;
}

/**
 * What an exported student is called: `gpt2-2x64-from-moby-teacher-200-steps`. A name for files and
 * for the hub.
 */
export function exportName(config: Config, student: Architecture, step: number): string {
  // An id's last part, without its revision.
  const short = (reference: string) => reference.split('@')[0].split('/').at(-1) as string;
  const { student_model: from, teacher_model } = config;
  const own = from === '' || from === 'teacher' || from === 'files';
  const what = own ? `${student.modelType}-${student.layers}x${student.width}` : short(from);
  const teacher = teacher_model === 'files' ? 'own-files' : short(teacher_model);
  return `${what}-from-${teacher}-${step}-step${step === 1 ? '' : 's'}`.replace(/[^\w.-]/g, '-');
}
