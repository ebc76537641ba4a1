// A result as Markdown, ready for RESULTS.md.

import type { Figure, Result, Row, Table } from './result';

/** Three significant digits, at most three decimals. */
export const short = (value: number): string => {
  if (!Number.isFinite(value)) return 'n/a';
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value) || 1)));
  return value.toFixed(Math.min(3, digits));
};

export function formatResult({
  workload,
  title,
  agreement,
  tables,
  figures,
  notes,
}: Result): string {
  const grids = [...new Set(tables.flatMap(({ grid }) => grid?.title ?? []))];
  return [
    `## ${workload}: ${title}`,
    ...agreement.map(({ what, reason, rows }) => {
      const differences = rows.map(
        ({ name, difference, limit }) =>
          `${name} ${difference.toExponential(1)} (limit ${limit.toExponential()})`,
      );
      return (
        `Agreement: ${what}. Differences from the first: ${differences.join(', ')}. ` +
        `Reason for the limit: ${reason}.`
      );
    }),
    ...tables.filter(({ grid }) => !grid).map(formatTable),
    ...grids.map((title) =>
      formatGrid(
        title,
        tables.filter(({ grid }) => grid?.title === title),
      ),
    ),
    ...(figures.length > 0 ? [figures.map(formatFigure).join('\n')] : []),
    ...notes,
  ].join('\n\n');
}

function formatTable({ title, rows }: Table): string {
  const names = [...new Set(rows.flatMap(({ figures = {} }) => Object.keys(figures)))];
  const cells = ({ name, median, min, figures = {} }: Row) => [
    name,
    ...[median, min, median / rows[0].median].map(short),
    ...names.map((figure) => (figure in figures ? short(figures[figure]) : '')),
  ];
  return markdown(title, ['', 'median ms', 'min ms', '× the first', ...names], rows.map(cells));
}

function formatGrid(title: string, tables: readonly Table[]): string {
  const names = [...new Set(tables.flatMap(({ rows }) => rows.map(({ name }) => name)))];
  const cells = ({ rows, grid }: Table) => [
    grid?.row ?? '',
    ...names.map((name) => {
      const figure = rows.find((row) => row.name === name)?.figures?.[grid?.figure ?? ''];
      return figure === undefined ? '' : short(figure);
    }),
  ];
  return markdown(title, ['', ...names], tables.map(cells));
}

function markdown(title: string, head: string[], rows: string[][]): string {
  const ruler = head.map((_, i) => (i === 0 ? '---' : '---:'));
  const lines = [head, ruler, ...rows].map((cells) => `| ${cells.join(' | ')} |`);
  return [...(title ? [title, ''] : []), ...lines].join('\n');
}

function formatFigure({ what, value, atLeast, atMost }: Figure): string {
  const targets = [
    ...(atLeast === undefined ? [] : [`at least ${atLeast}`]),
    ...(atMost === undefined ? [] : [`at most ${atMost}`]),
  ];
  if (targets.length === 0) return `- ${what}: ${short(value)}`;
  const met =
    value >= (atLeast ?? Number.NEGATIVE_INFINITY) && value <= (atMost ?? Number.POSITIVE_INFINITY);
  return `- ${what}: ${short(value)}, target ${targets.join(' and ')}: ${met ? 'met' : 'MISSED'}`;
}
