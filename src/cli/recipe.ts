// Writes a run's recipe for PyTorch: of a run that is not started, or of a kept one as it stands.

import { prepareData } from '../distill/data';
import { writeRecipe } from '../distill/recipe/recipe';
import { startingWeights } from '../distill/run-setup';
import { type Checkpoint, dataHash } from '../runs/checkpoint';
import { type PlanOptions, planRun } from './plan';
import { writeFolder } from './student-folder';
import { corpusOf, type OwnTexts } from './texts';

/**
 * Writes the folder, and says what to do with it.
 * @throws ExportError for a teacher without safetensors; as `planRun`
 */
export async function takeRecipe(
  folder: string,
  { own, saved, ...options }: PlanOptions & { own?: OwnTexts; saved?: Checkpoint },
): Promise<string> {
  const { config, models } = options;
  const { student, documents } = await planRun(options);
  const run = {
    config,
    student,
    weights: startingWeights(config, student, models.student),
    data: prepareData(documents, config),
    snapshot: saved?.snapshot,
  };
  const { teacher, student: start } = await models.identities();
  const { files } = await writeRecipe(run, {
    teacher: models.source,
    revisions: { teacher: teacher.revision, student: start?.revision },
    tokenizer: models.tokenizer,
    corpus: { ...corpusOf(config, own), sha256: await dataHash(documents) },
  });
  await writeFolder(folder, files);
  const from = saved ? ` Its checkpoint is of step ${saved.snapshot.step}.` : '';
  return `Wrote the recipe to ${folder}.${from} ${folder}/README.md says how to run it.`;
}
