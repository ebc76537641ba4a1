// A run's student as a .zip: what the run knows of it, and what the page tells of the run, on one model card.

import type { Config } from '../config';
import { type ExportType, exportName, exportStudent } from '../distill/export';
import { modelCard, type RunStory } from '../distill/model-card';
import type { Run } from '../distill/run';
import type { FolderTokenizer } from '../distill/teacher-folder';
import type { AdapterFacts } from '../gpu/device';
import { corpusName } from './corpus';
import type { UserCorpus } from './protocol';

interface Parts {
  run: Run;
  config: Config;
  tokenizer: FolderTokenizer;
  adapter: AdapterFacts;
  corpus: UserCorpus | undefined;
}

interface Options {
  dtype: ExportType;
  story: RunStory;
  onProgress(file: string, written: number, total: number): void;
  signal: AbortSignal;
}

/** @throws ExportError for weights that cannot be written so */
export async function writeStudent(
  { run, config, tokenizer, adapter, corpus }: Parts,
  { dtype, story, onProgress, signal }: Options,
): Promise<{ name: string; zip: Blob }> {
  const name = exportName(config, run.studentConfig, run.step);
  const card = (leftOut: readonly string[]) =>
    modelCard({
      ...{ ...story, name, config, dtype, leftOut, student: run.studentConfig, step: run.step },
      computed: run.dtype === 'f16' ? 'float16' : 'float32',
      adapter: adapter.software ? `${adapter.name}, a software renderer` : adapter.name,
      ...{ studentParameters: run.studentParameters, teacherParameters: run.teacherParameters },
      corpus: {
        ...{ name: corpusName(corpus), own: corpus !== undefined },
        ...{ trainTokens: run.trainTokens, heldOutTokens: run.heldOutTokens },
      },
    });
  const student = {
    ...{ config: run.studentConfig, tokenizer },
    parameter: (parameter: string) => run.parameter(parameter),
  };
  const zip = await exportStudent(student, { name, dtype, card, date: new Date(), onProgress, signal });
  return { name, zip };
}
