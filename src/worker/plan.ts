// What a run with some settings will need, before anything large is read: GPU memory, time, and
// what the Doctor can tell from settings, sizes and the text alone.

import type { Config } from '../config';
import { CorpusError } from '../data/corpus';
import { prepareData } from '../distill/data';
import { rooflineOf } from '../distill/profile/roofline';
import type { DataFacts } from '../distill/records';
import { planMemory } from '../distill/run-models';
import { newStudent } from '../distill/run-setup';
import { stepFlops } from '../distill/step-flops';
import { Doctor } from '../doctor/doctor';
import type { Gpu } from '../gpu/device';
import { planArena } from '../model/parameters';
import { runAlike } from '../runs/speed';
import { encodeTexts, readTexts } from './corpus';
import { base } from './host';
import { listRuns } from './library';
import { openFolders, openTokenizerOf } from './models';
import type { Requests, RunPlan } from './protocol';

type Input = Requests['plan']['input'];

/**
 * Reads configs, headers and the text; allocates nothing that it does not free.
 * @param free nothing else computes on the GPU, so that its speed can be measured
 */
export async function planRun(input: Input, gpu: Gpu, free: boolean): Promise<RunPlan> {
  const { config, files = {} } = input;
  const { teacher, student, two, dtype, close } = await openFolders(config, gpu, {
    files,
    base,
    stage: () => {},
    note: () => {},
  });
  try {
    const architecture = student?.architecture ?? newStudent(config, teacher.sizes);
    const memory = await planMemory({
      gpu,
      config,
      dtype,
      makeTeacher: teacher.plan,
      student: architecture,
      ...two,
    });
    const text = await textOf(input);
    const { verdicts } = new Doctor(config, {
      dtype: dtype === 'f16' ? 'float16' : 'float32',
      studentParameters: planArena(architecture.parameters).parameters,
      vocabularySize: architecture.vocabularySize,
      data: text.data,
      plannedMemory: memory,
    });
    const step = stepFlops(config, architecture, teacher.parameters ?? 0);
    return {
      memory,
      verdicts,
      textProblem: text.problem,
      time: await timeOf(gpu, config, dtype, step, free),
      largestBuffer: gpu.limits.buffer,
      atLeast: teacher.engine.name === 'onnxruntime',
    };
  } finally {
    close();
  }
}

/** Facts about the text, or why it cannot be used. */
async function textOf({
  config,
  corpus,
  files = {},
}: Input): Promise<{ data?: DataFacts; problem?: string }> {
  try {
    const texts = await readTexts(config, corpus, {});
    const models = await openTokenizerOf(config, { files, base });
    const documents = encodeTexts(texts, models, config);
    return { data: prepareData(documents, config).describe(models.tokenizer) };
  } catch (error) {
    if (!(error instanceof CorpusError)) throw error;
    return { problem: `${error.message} ${error.hint}` };
  }
}

/** From an earlier run, or from the adapter's fastest product, which bounds it from below. */
async function timeOf(
  gpu: Gpu,
  config: Config,
  dtype: 'f16' | 'f32',
  step: number,
  free: boolean,
): Promise<RunPlan['time']> {
  const { adapter } = gpu;
  const all = config.train_steps * step;
  const { rows } = await listRuns();
  const alike = runAlike(rows, { adapter: adapter.name, dtype, config, step });
  if (alike) {
    const { name, speed } = alike;
    return { seconds: all / speed.perSecond, flopsPerSecond: speed.perSecond, like: name };
  }
  // On a software adapter it takes longer than a short run.
  if (!free || adapter.software || !adapter.timestamps) return undefined;
  const { flopsPerSecond } = await rooflineOf(gpu);
  const seconds = all / flopsPerSecond;
  // Of so small a run, what is no product decides.
  return seconds < 1 ? undefined : { seconds, flopsPerSecond };
}
