// Downloading the student or the recipe: the request for its .zip, the run's story that the model
// card tells, and the file that comes back.

import type { ExportProgress, ExportType, LossRow, RunStory } from '../../worker/protocol';
import { linkTo } from '../shared/address';
import { request } from '../shared/client';
import { requestStore } from '../shared/request';
import type { ShownRun } from './shown-run';

/** Rows of the model card's table of losses. */
const MOST_LOSSES = 25;

/** The .zip under an address of the page; the next one of its kind takes its place. */
export interface Zip {
  name: string;
  bytes: number;
  url: string;
}

/** Downloads a run's student as soon as it is written. */
export const useDownload = requestStore<{ run: ShownRun; dtype: ExportType }, Zip, ExportProgress>(
  async ({ run, dtype }, report) => {
    const { name, zip } = await request(
      'export',
      { runId: run.id, dtype, story: storyOf(run) },
      report,
    );
    return asZip(name, zip);
  },
  saver(),
);

/** Downloads a run's recipe as soon as it is written. */
export const useRecipe = requestStore<{ run: ShownRun }, Zip, ExportProgress>(
  async ({ run }, report) => {
    const { name, zip } = await request('recipe', { runId: run.id }, report);
    return asZip(name, zip);
  },
  saver(),
);

const asZip = (name: string, zip: Blob): Zip => ({
  name: `${name}.zip`,
  bytes: zip.size,
  url: URL.createObjectURL(zip),
});

/** What the model card tells of the run. */
function storyOf({ config, history, marks }: ShownRun): RunStory {
  const rows = Math.min(MOST_LOSSES, history.length);
  const losses = Array.from({ length: rows }, (_, i): LossRow => {
    const { step, loss, ce, kd, learningRate } = history.at(
      Math.round(((i + 1) * history.length) / rows) - 1,
    );
    return { step, loss, ce, kd, learningRate };
  });
  return { link: linkTo(config), evaluations: history.evaluations, losses, changes: marks };
}

/** Saves a file, and lets go of the one that it saved before. */
function saver(): (zip: Zip) => void {
  let last: Zip | undefined;
  return (zip) => {
    if (last) URL.revokeObjectURL(last.url);
    last = zip;
    const link = document.createElement('a');
    link.href = zip.url;
    link.download = zip.name;
    link.click();
  };
}
