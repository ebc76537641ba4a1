// What is done with a run besides its steps: counting its kernels while they compile, exporting its
// student, and a profile.

import { zipStudent } from '../distill/export/export';
import { exportStudent } from '../distill/export/student-folder';
import type { Passages } from '../distill/passages';
import { profileText } from '../distill/profile/profile-text';
import { writeRecipe } from '../distill/recipe/recipe';
import type { Run } from '../distill/run';
import { answers, type Expectation, expectation } from '../distill/say';
import { ExportError } from '../files/pieces';
import type { ModelSource } from '../files/source';
import type { Gpu } from '../gpu/device';
import type { RunFacts } from '../runs/checkpoint';
import { nextTask } from './host';
import type { Models } from './models';
import type {
  ExportedStudent,
  ExportProgress,
  ProfileResult,
  Requests,
  SaidToken,
  SayResult,
} from './protocol';

/** What a loaded run needs for its errands. */
export interface LoadedRun {
  run?: Run;
  gpu?: Gpu;
  tokenizer?: Models['tokenizer'];
  facts?: RunFacts;
  /** Opens the teacher's folder again. */
  teacher(): ModelSource;
  corpus: { name: string; own: boolean };
  signal: AbortSignal;
}

/** @throws ExportError before the run is loaded */
export async function exportRun(
  { run, gpu, tokenizer, corpus, signal }: LoadedRun,
  { dtype, story }: Requests['export']['input'],
  report: (progress: ExportProgress) => void,
): Promise<ExportedStudent> {
  if (!run || !gpu || !tokenizer)
    throw new ExportError('There is no student yet. Start a run first.');
  const onProgress = (file: string, written: number, total: number) =>
    report({ file, written, total });
  const { adapter } = gpu;
  const student = { run, adapter, tokenizer, corpus, dtype, story, signal };
  const { name, files } = await exportStudent(student);
  return { name, zip: await zipStudent(name, files, { date: new Date(), onProgress }) };
}

/** @throws ExportError before the run is loaded, and as `writeRecipe` */
export async function recipeOf(
  { run, tokenizer, facts, teacher, corpus }: LoadedRun,
  report: (progress: ExportProgress) => void,
): Promise<ExportedStudent> {
  if (!run || !tokenizer || !facts)
    throw new ExportError('There is no run to write down yet. Start one first.');
  const { models, data: sha256 } = facts;
  const revisions = { teacher: models?.teacher.revision, student: models?.student?.revision };
  const source = teacher();
  try {
    const { name, files } = await writeRecipe(await run.ingredients(), {
      teacher: source,
      revisions,
      tokenizer,
      corpus: { ...corpus, sha256 },
    });
    const onProgress = (file: string, written: number, total: number) =>
      report({ file, written, total });
    return { name, zip: await zipStudent(name, files, { date: new Date(), onProgress }) };
  } finally {
    source.close();
  }
}

/**
 * Student and teacher continue a prompt, until `stopped`.
 * @throws Error before the run is loaded
 */
export async function answerOf(
  { run, tokenizer }: LoadedRun,
  { prompt, settings }: Requests['say']['input'],
  report: (token: SaidToken) => void,
  stopped: () => boolean,
): Promise<SayResult> {
  if (!run || !tokenizer) throw new Error('There is no student yet. Start a run first.');
  if (!stopped()) {
    for await (const token of answers(run.voices(), tokenizer, prompt, settings)) {
      report(token);
      // Lets a message that stops the answer in.
      await nextTask();
      if (stopped()) break;
    }
  }
  return { step: run.step, stopped: stopped() };
}

/** @throws Error before the run is loaded */
export async function profileRun({ run, gpu, signal }: LoadedRun): Promise<ProfileResult> {
  if (!run || !gpu) throw new Error('There is no run to measure. Start one first.');
  const report = await run.profile(signal);
  return { report, text: profileText(report, gpu.adapter.name) };
}

/** @throws Error before the run is loaded, and as `Run.passages` */
export async function passagesOf({ run }: LoadedRun): Promise<Passages> {
  if (!run) throw new Error('There is no student yet. Start a run first.');
  return run.passages();
}

/** @throws Error before the run is loaded */
export async function expectedOf(
  { run, tokenizer }: LoadedRun,
  { before, token }: Requests['expect']['input'],
): Promise<Expectation> {
  if (!run || !tokenizer) throw new Error('There is no student yet. Start a run first.');
  const ids = Uint32Array.from(before);
  const { student, teacher } = run.voices();
  const logits = { student: await student(ids), teacher: await teacher?.(ids) };
  return expectation({ token, before: ids }, logits, tokenizer);
}

/** Tells how many of the kernels begun from now on are compiled. */
export function countKernels(gpu: Gpu, tell: (compiled: number, begun: number) => void): void {
  const { begun, ended } = gpu.compiled;
  gpu.onCompiled = () => tell(gpu.compiled.ended - ended, gpu.compiled.begun - begun);
}
