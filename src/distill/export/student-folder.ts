// A run's student as a folder to take away: what the run knows of itself, and what whoever watched
// it tells, on one model card.

import type { Config } from '../../config';
import type { AdapterFacts } from '../../gpu/device';
import type { Run } from '../run';
import type { FolderTokenizer } from '../teacher/folder';
import { type ExportType, exportName, type StudentFile, studentFiles } from './export';
import { modelCard, type RunStory } from './model-card';

interface Parts {
  run: Run;
  config: Config;
  tokenizer: FolderTokenizer;
  adapter: AdapterFacts;
  /** `own`: the user's text, which no link brings. */
  corpus: { name: string; own: boolean };
}

interface Options {
  dtype: ExportType;
  story: RunStory;
  signal?: AbortSignal;
}

/**
 * The folder's name and its files, which read the student when they are taken. @throws ExportError
 * for weights that cannot be written so
 */
export async function takeStudent(
  { run, config, tokenizer, adapter, corpus }: Parts,
  { dtype, story, signal }: Options,
): Promise<{ name: string; files: StudentFile[] }> {
  const {
    student: architecture,
    studentParameters,
    teacherParameters,
    trainTokens,
    heldOutTokens,
    step,
  } = run;
  const name = exportName(config, architecture, step);
  const card = (leftOut: readonly string[]) =>
    modelCard({
      ...story,
      name,
      config,
      dtype,
      leftOut,
      step,
      student: architecture,
      computed: run.dtype === 'f16' ? 'float16' : 'float32',
      adapter: adapter.software ? `${adapter.name}, a software renderer` : adapter.name,
      studentParameters,
      teacherParameters,
      corpus: { ...corpus, trainTokens, heldOutTokens },
    });
  const student = {
    architecture,
    tokenizer,
    parameter: (parameter: string) => run.parameter(parameter),
  };
  return { name, files: await studentFiles(student, { dtype, card, signal }) };
}
