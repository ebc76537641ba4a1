// Runs that are done, side by side, from their records: those of this program, and those that a
// recipe's distill.py has left.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CheckpointError } from '../runs/checkpoint';
import { differences, inWords } from '../runs/difference';
import { JOURNAL, parseJournal } from '../runs/journal';
import { type RunRow, rowOf } from '../runs/row';
import { openRunFile } from '../runs/run-file';
import { figure } from './progress';

/** A row's columns: title and value. */
const COLUMNS: readonly [string, (row: RunRow) => string][] = [
  ['run', ({ name }) => name],
  ['steps', ({ step, config }) => `${step} of ${config.train_steps}`],
  ['loss', ({ curve }) => figure(curve.at(-1), 4)],
  ['PPL', ({ perplexity }) => figure(perplexity, 2)],
  ['teacher', ({ teacherPerplexity }) => figure(teacherPerplexity, 2)],
  ['KL', ({ kl }) => figure(kl, 4)],
  ['seconds', ({ seconds }) => figure(seconds, 1)],
  ['on', ({ adapter, dtype }) => `${adapter}, ${dtype === 'f16' ? 'float16' : 'float32'}`],
];

/**
 * A table of the runs in these folders, as lines, and how the settings differ from the first one's.
 * @throws CheckpointError for a folder without a run
 */
export async function compareRuns(folders: readonly string[]): Promise<string[]> {
  const rows = await Promise.all(folders.map(readRow));
  const table = [
    COLUMNS.map(([title]) => title),
    ...rows.map((row) => COLUMNS.map(([, value]) => value(row))),
  ];
  const widths = COLUMNS.map((_, i) => Math.max(...table.map((cells) => cells[i].length)));
  const lines = table.map((cells) =>
    cells
      .map((cell, i) => cell.padEnd(widths[i]))
      .join('  ')
      .trimEnd(),
  );
  const [first, ...others] = rows;
  const changes = others.map(
    (row) =>
      `${row.name} against ${first.name}: ${inWords(differences(first.config, row.config))}.`,
  );
  return [...lines, ...changes];
}

async function readRow(folder: string): Promise<RunRow> {
  const path = join(folder, JOURNAL);
  const bytes = await readFile(path).catch(() => {
    const what = `${folder} has no ${JOURNAL}.`;
    throw new CheckpointError('none', `${what} Give the --output_dir of a run.`);
  });
  const { settings } = await openRunFile(path, new Blob([bytes]));
  const journal = parseJournal(new TextDecoder().decode(bytes));
  const disk = { bytes: bytes.length, spareBytes: 0, open: false };
  return rowOf(settings.id ?? folder, journal, {}, disk);
}
