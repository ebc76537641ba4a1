// A sweep on the command line: a run for each value, one after another, each in a folder of its own
// inside the output folder. Given again, it skips the runs that are done and resumes the one that
// was interrupted.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Config, isFieldName } from '../config';
import { checkpointsIn } from '../runs/checkpoint';
import { differences, inWords } from '../runs/difference';
import { JOURNAL, parseJournal } from '../runs/journal';
import { type Axis, gridOf, MOST_FIELDS, planSweep, withOutcome } from '../runs/sweep';
import { bestSentence, groupsOf, valuesIn } from '../runs/sweep-result';
import { gainOverSeeds } from '../runs/twin-seeds';
import { gainInWords } from '../twin-worth';
import { DiskStorage } from './disk-storage';
import type { Flags } from './flags';
import { figure } from './progress';

/** "student_lr=0.001,0.003" */
function axisOf(text: string): Axis | { problem: string } {
  const [, name = text, values = ''] = /^([^=]*)=(.*)$/s.exec(text) ?? [];
  if (isFieldName(name)) return { name, text: values };
  return {
    problem: `--sweep is “${text}”. It must be a setting and its values, as in alpha=0,0.5.`,
  };
}

/** The runs of a sweep, as flags of their own; or what is wrong, one line a problem. */
export function sweepRuns(
  flags: Flags,
  base: Config,
): { runs: { flags: Flags; config: Config }[]; axes: Axis[] } | { problems: string[] } {
  const read = flags.sweep.map(axisOf);
  const problems = read.flatMap((axis) => ('problem' in axis ? [axis.problem] : []));
  if (problems.length > 0) return { problems };
  if (read.length > MOST_FIELDS)
    return { problems: [`--sweep has ${read.length} settings. It takes at most ${MOST_FIELDS}.`] };
  const axes = read as Axis[];
  const grid = gridOf(base, axes);
  if ('problems' in grid)
    return { problems: grid.problems.map((problem) => `--sweep: ${problem}`) };
  const runs = grid.configs.map((config) => {
    const changes = Object.fromEntries(axes.map(({ name }) => [name, config[name]]));
    const name = axes.map((axis) => `${axis.name}=${config[axis.name]}`).join(',');
    const outputDir = join(flags.outputDir, name.replace(/[^\w.=,+-]/g, '-'));
    const settings = { ...flags.settings, ...changes };
    return { flags: { ...flags, sweep: [], settings, outputDir }, config };
  });
  return { runs, axes };
}

/**
 * Runs them with `distil`, which resolves with an exit code.
 * @returns the worst exit code; a run that fails does not stop the others, an interruption does
 */
export async function runSweep(
  { runs, axes }: Exclude<ReturnType<typeof sweepRuns>, { problems: string[] }>,
  distil: (flags: Flags) => Promise<number>,
  { interrupted, say }: { interrupted: number; say: (line: string) => void },
): Promise<number> {
  const fields = axes.map(({ name }) => name);
  let sweep = planSweep(
    runs.map(({ config }) => config),
    fields,
  );
  const ended: Parameters<typeof gainOverSeeds>[0][] = [];
  let worst = 0;
  for (const [i, { flags, config }] of runs.entries()) {
    const { outputDir } = flags;
    const storage = new DiskStorage(outputDir);
    const isDone = existsSync(join(outputDir, 'model.safetensors'));
    const title = `Run ${i + 1} of ${runs.length}, ${valuesIn(config, fields)}, in ${outputDir}`;
    say(isDone ? `${title}: done before.` : title);
    if (!isDone) {
      const resume = (await checkpointsIn(storage, '')).length > 0;
      // What a resumed run reads is in its checkpoint.
      const code = await distil(resume ? { ...flags, resume, placeFlags: [] } : flags);
      if (code === interrupted) return code;
      worst = Math.max(worst, code);
      if (code !== 0) continue;
    }
    const journal = parseJournal(new TextDecoder().decode(await storage.read(JOURNAL)));
    const other = differences({ ...config, ...journal.settings?.config }, config);
    if (other.length > 0) {
      say(`It is another run: ${inWords(other)}. Choose another --output_dir.`);
      worst = Math.max(worst, 1);
      continue;
    }
    const last = journal.evaluations.at(-1);
    ended.push({
      config,
      state: 'finished',
      data: '',
      perplexity: last?.studentPerplexity,
      twinPerplexity: journal.twin.evaluations.at(-1)?.studentPerplexity,
    });
    sweep = withOutcome(sweep, sweep.runs[i].id, {
      step: last?.step ?? 0,
      perplexity: last?.studentPerplexity,
      seconds: journal.timings.at(-1)?.seconds ?? 0,
    });
  }
  for (const { values, mean } of groupsOf(sweep))
    say(`${values || 'mean'}: PPL=${figure(mean, 2)}`);
  // Each setting beside its twin, once.
  for (const run of ended.filter(({ config }) => config.seed === ended[0].config.seed)) {
    const over = gainOverSeeds(run, ended);
    const values = valuesIn(
      run.config,
      fields.filter((name) => name !== 'seed'),
    );
    if (over) say(`${values}${values && ': '}${gainInWords(over)}`);
  }
  const best = bestSentence(sweep);
  if (best) say(best);
  return worst;
}
