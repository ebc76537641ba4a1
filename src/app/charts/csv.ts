// The CSV of a chart: the current run's rows, and those of the runs that it is compared with. Pure.

import type { ComparedRun } from './compare';
import type { RunHistory } from './history';

/**
 * `csv` of the run alone, or of all runs one after another with the run's name as first column.
 */
export function comparedCsv(
  run: { history: RunHistory },
  compared: readonly ComparedRun[],
  csv: (history: RunHistory) => string,
): string {
  if (compared.length === 0) return csv(run.history);
  const all = [{ label: 'current', history: run.history }, ...compared];
  const texts = all.map(({ label, history }, index) => {
    const [head, ...lines] = csv(history).trimEnd().split('\n');
    const named = lines.map((line) => `${quoted(label)},${line}`);
    return index === 0 ? [`run,${head}`, ...named] : named;
  });
  return `${texts.flat().join('\n')}\n`;
}

const quoted = (text: string) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
