// The columns of the table of runs: what each shows, how it sorts, and what the CSV has. Pure.

import type { Config } from '../../config';
import { differences, inWords } from '../../runs/difference';
import type { RunRow } from '../../runs/row';
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatMeasure,
  formatShare,
} from '../shared/format';

export interface Column {
  key: string;
  label: string;
  text(row: RunRow, baseline: Config): string;
  /** What sorts and what the CSV has; undefined comes last. */
  value(row: RunRow, baseline: Config): string | number | undefined;
  numeric?: boolean;
  /** Shown until somebody chooses. */
  initially?: boolean;
}

const STATES: Record<RunRow['state'], string> = {
  stopped: 'Stopped',
  finished: 'Finished',
  unreadable: 'Unreadable',
};

const difference = ({ config }: RunRow, baseline: Config) => inWords(differences(baseline, config));

const SHORT = new Intl.DateTimeFormat('en-GB', {
  day: 'numeric',
  month: 'short',
  hour: '2-digit',
  minute: '2-digit',
});

/** The name stands before them and always shows. */
export const COLUMNS: readonly Column[] = [
  {
    key: 'started',
    label: 'Started',
    text: ({ time }) => (time === '' ? 'n/a' : SHORT.format(new Date(time))),
    value: ({ time }) => time,
    initially: true,
  },
  {
    key: 'steps',
    label: 'Steps',
    text: ({ step, config, state, open }) =>
      `${open ? 'Open' : STATES[state]}, ${step} of ${config.train_steps}`,
    value: ({ step }) => step,
    initially: true,
  },
  {
    key: 'difference',
    label: 'Differs in',
    text: difference,
    value: difference,
    initially: true,
  },
  measure('perplexity', 'Perplexity', ({ perplexity }) => perplexity, formatMeasure, true),
  measure('teacher', 'Teacher’s', ({ teacherPerplexity: value }) => value, formatMeasure),
  measure('kl', 'KL', ({ kl }) => kl, formatMeasure, true),
  measure('agreement', 'Agreement', ({ agreement }) => agreement, formatShare, true),
  measure('speed', 'Tokens/s', ({ tokensPerSecond: value }) => value, formatCount, true),
  measure('duration', 'Trained', ({ seconds }) => seconds, formatDuration, true),
  measure('size', 'On disk', ({ bytes }) => bytes, formatBytes),
  { key: 'adapter', label: 'Adapter', text: adapterOf, value: adapterOf },
  { key: 'data', label: 'Data', text: ({ data }) => data, value: ({ data }) => data },
  {
    key: 'note',
    label: 'Note',
    text: ({ label }) => label.note ?? '',
    value: ({ label }) => label.note,
    initially: true,
  },
];

function adapterOf({ adapter, dtype }: RunRow): string {
  return `${adapter}, ${dtype}`;
}

function measure(
  key: string,
  label: string,
  value: (row: RunRow) => number | undefined,
  format: (value: number) => string,
  initially = false,
): Column {
  const text = (row: RunRow) => {
    const measured = value(row);
    return measured === undefined ? 'n/a' : format(measured);
  };
  return { key, label, text, value, numeric: true, initially };
}

export interface Sorting {
  /** A column's key, or "name". */
  key: string;
  descending: boolean;
}

/** Pinned runs first, then by the column; a value that is missing comes last either way. */
export function sorted(rows: readonly RunRow[], { key, descending }: Sorting, baseline: Config) {
  const column = COLUMNS.find((other) => other.key === key);
  const values = new Map(
    rows.map((row) => [row.id, column ? column.value(row, baseline) : row.name]),
  );
  const sign = descending ? -1 : 1;
  return [...rows].sort((a, b) => {
    const pinned = Number(b.label.pinned ?? false) - Number(a.label.pinned ?? false);
    if (pinned !== 0) return pinned;
    const [x, y] = [values.get(a.id), values.get(b.id)];
    if (x === y) return b.time.localeCompare(a.time);
    if (x === undefined) return 1;
    if (y === undefined) return -1;
    return sign * (typeof x === 'number' && typeof y === 'number' ? x - y : compare(x, y));
  });
}

const compare = (x: string | number, y: string | number) => String(x).localeCompare(String(y));

/** The runs with every word of the text in their name, note, difference, adapter or data. */
export function filtered(rows: readonly RunRow[], text: string, baseline: Config): RunRow[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return [...rows];
  return rows.filter((row) => {
    const { name, label, adapter, data } = row;
    const all = [name, label.note, adapter, data, difference(row, baseline)];
    const lower = all.join('\n').toLowerCase();
    return words.every((word) => lower.includes(word));
  });
}

/** Every column of the rows, as they are sorted, with full precision. */
export function csvOf(rows: readonly RunRow[], baseline: Config): string {
  const quoted = (value: string | number | undefined) =>
    typeof value === 'string' ? `"${value.replaceAll('"', '""')}"` : String(value ?? '');
  const lines = rows.map((row) =>
    [row.id, row.name, ...COLUMNS.map((column) => column.value(row, baseline))]
      .map(quoted)
      .join(','),
  );
  return `${['id', 'name', ...COLUMNS.map(({ key }) => key)].join(',')}\n${lines.join('\n')}\n`;
}

/** A thumbnail of a curve as an SVG path in a box of this size; empty below two points. */
export function thumbnail(curve: readonly number[], width: number, height: number): string {
  if (curve.length < 2) return '';
  const [low, high] = [Math.min(...curve), Math.max(...curve)];
  const x = (i: number) => (i * width) / (curve.length - 1);
  const y = (value: number) => (high === low ? 0.5 : (high - value) / (high - low)) * height;
  return `M${curve.map((value, i) => `${x(i).toFixed(1)} ${y(value).toFixed(1)}`).join('L')}`;
}
