// A run's student as a folder: its files, and a model card with the run's figures and the records
// that the page or the command line kept.

import type { AdapterFacts } from '../../gpu/device';
import { modelReference } from '../../model-reference';
import type { Run } from '../run';
import type { FolderTokenizer } from '../teacher/folder';
import { type ExportType, exportName, type StudentFile, studentFiles } from './export';
import { modelCard, type RunStory } from './model-card';

interface ExportOptions {
  run: Run;
  tokenizer: FolderTokenizer;
  adapter: AdapterFacts;
  /** `own`: the user's text, which a link does not contain. */
  corpus: { name: string; own: boolean };
  dtype: ExportType;
  story: RunStory;
  signal?: AbortSignal;
}

/**
 * The folder's name and its files, which read the student's weights as their chunks are read.
 * @throws ExportError for weights that are not finite or do not fit `dtype`
 */
export async function exportStudent({
  run,
  tokenizer,
  adapter,
  corpus,
  dtype,
  story,
  signal,
}: ExportOptions): Promise<{ name: string; files: StudentFile[] }> {
  const { config, student: architecture, step, trainTokens, heldOutTokens } = run;
  const name = exportName(config, architecture, step);
  const card = (missing: readonly string[]) =>
    modelCard({
      ...story,
      name,
      config,
      dtype,
      missing,
      step,
      student: architecture,
      computed: run.dtype === 'f16' ? 'float16' : 'float32',
      adapter: adapter.software ? `${adapter.name}, a software renderer` : adapter.name,
      studentParameters: run.studentParameters,
      trainedParameters: run.trainedParameters,
      teacherParameters: run.teacherParameters,
      corpus: { ...corpus, trainTokens, heldOutTokens },
    });
  const parameter = (parameterName: string) => run.parameter(parameterName);
  const base = modelReference(config.student_model);
  const student = {
    architecture,
    tokenizer,
    parameter,
    base: base?.kind === 'hub' ? base.id : undefined,
  };
  return { name, files: await studentFiles(student, { dtype, card, signal }) };
}
