// A float16 ONNX file in onnxruntime's GPU kernels, which compute in float16 and may overflow
// without a word: one passage is compared with onnxruntime on the CPU, which computes in float32.

import { ModelFileError } from '../../files/download';
import type { Gpu } from '../../gpu/device';
import type { Teacher, TeacherShape } from './teacher';
import { agree, differenceOf, percent, runTrial } from './try-both';

/** Tokens of the passage. */
const PASSAGE = 32;
/** The largest file that is read a second time, into the CPU's memory. */
const MOST_BYTES = 2 ** 28;

export interface HalfTrial {
  /** What messages call the file. */
  name: string;
  bytes: number;
  /** Logits (tokens, V) on the CPU. @throws ModelFileError if it cannot run there */
  onCpu(tokens: Uint32Array): Promise<Float32Array>;
  /** The folder's float32 file, if it has one. */
  single?: () => Promise<Teacher>;
}

/**
 * The teacher itself where both agree; with a warning where they could not be compared. Where they
 * disagree it is disposed of, and the float32 file takes its place.
 * @throws ModelFileError where they disagree and there is no float32 file
 */
export async function tryHalf(
  gpu: Gpu,
  teacher: Teacher,
  shape: TeacherShape,
  V: number,
  { name, bytes, onCpu, single }: HalfTrial,
): Promise<Teacher> {
  const uncompared = (why: string): Teacher => ({
    ...teacher,
    warning: `${name} computes in float16, and was not compared with float32: ${why}.`,
  });
  if (bytes > MOST_BYTES) return uncompared('it is too large to run on the CPU as well');
  const { logits, inputs } = await runTrial(gpu, teacher, shape, V, 0);
  const rows = Math.min(PASSAGE, logits.length / V);
  let exact: Float32Array;
  try {
    exact = await onCpu(inputs.slice(0, rows));
  } catch (error) {
    if (!(error instanceof ModelFileError)) throw error;
    return uncompared('onnxruntime cannot run it on the CPU');
  }
  const difference = differenceOf(logits.subarray(0, rows * V), exact, V);
  if (agree(difference, 'f16')) return teacher;
  await teacher.dispose();
  const found =
    `${name}: in float16 its logits on this GPU differ by ${percent(difference)} from those on ` +
    'the CPU, more than rounding explains.';
  if (!single) throw new ModelFileError('model', `${found} Choose a float32 file of this model.`);
  return { ...(await single()), warning: `${found} The folder’s float32 file teaches instead.` };
}
