// Where both engines can run a teacher: one batch in each, before the run. Logits that differ by
// more than rounding are reported, and the teacher runs in float32. Otherwise the faster engine
// teaches, if it is faster by so much that the choice does not depend on chance.

import { ModelFileError } from '../../files/download';
import { CommandBatch } from '../../gpu/command-batch';
import type { Gpu } from '../../gpu/device';
import { bufferOf, Pool, type Program, persistentTensor, Recorder } from '../../gpu/program';
import { copy } from '../../kernels/copy';
import { Layout } from '../../tensor/layout';
import { Random } from '../../tensor/random';
import { rowsPerChunk } from '../chunks';
import type { TokenBatch } from './batch-index';
import type { EngineChoice, MakeTeacher, Teacher, TeacherShape } from './teacher';

/**
 * Relative differences that rounding explains. Each engine’s float16 logits are up to 2% off exact
 * ones; its float32 logits are off by 1e-5 where sums cancel.
 */
const ALLOWED = { f16: 0.05, f32: 1e-3 } as const;
/** How much faster onnxruntime must be. */
const CLEARLY_FASTER = 2;
/** The first run compiles, and our next ones are submitted dispatch by dispatch (CommandBatch). */
const TIMED_RUNS = 3;

export interface TwoEngines {
  stillhouse: MakeTeacher;
  onnxruntime: MakeTeacher;
  vocabularySize: number;
  /** Precision of the ONNX file. */
  onnxDtype: 'f16' | 'f32';
}

/** Makes the teacher in one of two engines; its `engine` says which one, and why. */
export function tryBoth(engines: TwoEngines): MakeTeacher {
  return async (gpu, shape) => {
    const made: Teacher[] = [];
    const make = async (engine: MakeTeacher, inShape = shape) => {
      const teacher = await engine(gpu, inShape);
      made.push(teacher);
      return teacher;
    };
    const keep = async (teacher: Teacher, engine: EngineChoice): Promise<Teacher> => {
      for (const other of made) if (other !== teacher) await other.dispose();
      return { ...teacher, engine };
    };
    try {
      const ours = await make(engines.stillhouse);
      let onnx: Teacher;
      let theirs: Trial;
      const { vocabularySize: V } = engines;
      try {
        onnx = await make(engines.onnxruntime);
        theirs = await runTrial(gpu, onnx, shape, V);
      } catch (error) {
        if (!(error instanceof ModelFileError)) throw error;
        const reason = 'onnxruntime cannot run the folder’s ONNX file';
        return await keep(ours, { name: 'stillhouse', reason });
      }
      const own = await runTrial(gpu, ours, shape, V);
      const dtype = engines.onnxDtype === 'f16' ? 'f16' : shape.dtype;
      const difference = differenceOf(own.logits, theirs.logits, V);
      if (agree(difference, dtype)) return await keep(...faster([ours, own], [onnx, theirs]));

      if (shape.dtype === 'f32') {
        const reason = `the two engines’ logits differ by ${percent(difference)}`;
        return await keep(ours, { name: 'stillhouse', reason, warning: warn(reason) });
      }
      const single = await make(engines.stillhouse, { ...shape, dtype: 'f32' });
      const exact = await runTrial(gpu, single, { ...shape, dtype: 'f32' }, V);
      const left = differenceOf(exact.logits, theirs.logits, V);
      const reason = `in float16 the two engines’ logits differ by ${percent(difference)}`;
      const after = `The teacher runs in float32, where they differ by ${percent(left)}.`;
      const warning = agree(left, dtype)
        ? `${capitalised(reason)}, more than rounding explains. ${after}`
        : `${warn(reason)} ${after}`;
      return await keep(single, { name: 'stillhouse', reason, warning });
    } catch (error) {
      for (const teacher of made) await teacher.dispose().catch(() => undefined);
      throw error;
    }
  };
}

/** A NaN does not agree with anything. */
export const agree = (difference: number, dtype: 'f16' | 'f32') => difference <= ALLOWED[dtype];

export const percent = (share: number) =>
  Number.isFinite(share) ? `${(100 * share).toFixed(1)}%` : 'NaN';
const capitalised = (text: string) => text[0].toUpperCase() + text.slice(1);
const warn = (reason: string) =>
  `${capitalised(reason)}. The folder’s safetensors and its ONNX file may hold different ` +
  'weights. Choose another copy of the model if its results look wrong.';

function faster(
  [ours, own]: [Teacher, Trial],
  [onnx, theirs]: [Teacher, Trial],
): [Teacher, EngineChoice] {
  const ratio = own.milliseconds / theirs.milliseconds;
  if (ratio >= CLEARLY_FASTER)
    return [
      onnx,
      { name: 'onnxruntime', reason: `${ratio.toFixed(1)} times as fast as Stillhouse’s kernels` },
    ];
  const reason =
    ratio < 1 ? `${(1 / ratio).toFixed(1)} times as fast as onnxruntime` : 'as fast as onnxruntime';
  return [ours, { name: 'stillhouse', reason }];
}

interface Trial {
  /** (B·T) token ids. */
  inputs: Uint32Array;
  /** Of their first rows, (rows, V). */
  logits: Float32Array;
  /** The whole batch, the best of some runs. */
  milliseconds: number;
}

/** Runs a batch of random tokens, the same for every teacher of this shape. */
export async function runTrial(
  gpu: Gpu,
  teacher: Teacher,
  { B, T }: TeacherShape,
  V: number,
  timedRuns = TIMED_RUNS,
): Promise<Trial> {
  const random = new Random(1);
  const inputs = Uint32Array.from({ length: B * T }, () => Math.floor(random.uniform() * V));
  const batch: TokenBatch = { index: 0, inputs };
  const rows = Math.min(T, rowsPerChunk(gpu, V));
  const pool = new Pool(gpu);
  const layout = Layout.contiguous([rows, V]);
  const target = persistentTensor(gpu, 'teacher', 'trial logits', layout, 'f32');
  let program: Program | undefined;
  try {
    const recorder = new Recorder(gpu, pool);
    copy(recorder, teacher.logits(recorder, 0, rows), target);
    program = await recorder.build('trial logits');
    let milliseconds = Number.POSITIVE_INFINITY;
    for (let turn = 0; turn <= timedRuns; turn++) {
      const started = performance.now();
      const commands = new CommandBatch(gpu, 'trial');
      await teacher.enqueue(batch, commands);
      commands.run(program);
      await commands.submit();
      await gpu.idle();
      if (turn > 0) milliseconds = Math.min(milliseconds, performance.now() - started);
    }
    const logits = new Float32Array(await gpu.read(bufferOf(target)));
    return { inputs, logits, milliseconds };
  } finally {
    program?.destroy();
    pool.destroy();
    gpu.memory.destroy(bufferOf(target));
  }
}

/**
 * ‖a − b‖ / ‖b‖, each row less its mean, on which no probability depends.
 * @param V elements of a row
 */
export function differenceOf(a: Float32Array, b: Float32Array, V: number): number {
  let [squares, all] = [0, 0];
  for (let row = 0; row < b.length; row += V) {
    let [meanA, meanB] = [0, 0];
    for (let i = row; i < row + V; i++) {
      meanA += a[i] / V;
      meanB += b[i] / V;
    }
    for (let i = row; i < row + V; i++) {
      squares += (a[i] - meanA - (b[i] - meanB)) ** 2;
      all += (b[i] - meanB) ** 2;
    }
  }
  return Math.sqrt(squares / all);
}
