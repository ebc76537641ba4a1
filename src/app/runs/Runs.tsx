// The room of the kept runs: a table to sort and filter, and what can be done with the chosen run.

import { memo, useDeferredValue, useMemo, useState } from 'react';
import type { Config } from '../../config';
import { PRESETS } from '../../presets';
import type { RunRow } from '../../runs/row';
import { formatBytes, plural } from '../shared/format';
import { Icon } from '../shared/Icon';
import { Notice } from '../shared/Notice';
import { useRoom, writeRoom } from '../shared/rooms';
import { Sweeps } from '../sweep/Sweeps';
import { ChosenRun } from './ChosenRun';
import { COLUMNS, type Column, csvOf, filtered, type Sorting, sorted, thumbnail } from './columns';
import { downloadFile } from './download-file';
import { Keeping } from './Keeping';
import { listed, useRuns } from './store';
import './runs.css';

/** More rows are rendered when they are asked for. */
const ROWS = 50;
const THUMBNAIL = { width: 64, height: 20 };
const COLUMNS_KEY = 'stillhouse runs columns';

export function Runs() {
  const kept = useRuns((state) => state.kept);
  const failure = useRuns((state) => state.failure);
  const chosenId = useRoom((state) => state.runs);
  const [text, setText] = useState('');
  const [sorting, setSorting] = useState<Sorting>({ key: 'started', descending: true });
  const [baselineId, setBaseline] = useState('');
  const [keys, setKeys] = useColumns();
  const [limit, setLimit] = useState(ROWS);
  const filter = useDeferredValue(text);
  const all = useMemo(() => listed(kept), [kept]);
  const baseline = all.find(({ id }) => id === baselineId)?.config ?? PRESETS[0].config;
  const rows = useMemo(
    () => sorted(filtered(all, filter, baseline), sorting, baseline),
    [all, filter, sorting, baseline],
  );
  // The same array until they change, so that rows need not render again.
  const columns = useMemo(() => COLUMNS.filter(({ key }) => keys.includes(key)), [keys]);
  const chosen = all.find(({ id }) => id === chosenId);
  const previous =
    chosen && all.find(({ time, state }) => time < chosen.time && state !== 'unreadable');
  const sort = (key: string) =>
    setSorting({ key, descending: sorting.key === key ? !sorting.descending : false });

  return (
    <main className="room runs">
      {failure && (
        <Notice kind="problem" title={`Could not ${failure.operation}.`}>
          {failure.message} {failure.hint}
        </Notice>
      )}
      <Deleted />
      {all.length === 0 ? (
        <p className="room-note">
          {kept && 'No run is kept yet. Every run that you start is kept here.'}
          {!kept && !failure && 'Reading the kept runs.'}
        </p>
      ) : (
        <>
          <div className="runs-tools">
            <label>
              Filter{' '}
              <input type="search" value={text} onChange={(event) => setText(event.target.value)} />
            </label>
            <label>
              Compare with{' '}
              <select value={baselineId} onChange={(event) => setBaseline(event.target.value)}>
                <option value="">the starting settings</option>
                {all.slice(0, ROWS).map(({ id, name }) => (
                  <option key={id} value={id}>
                    {name}
                  </option>
                ))}
              </select>
            </label>
            <ColumnChoice keys={keys} onChange={setKeys} />
            <button
              type="button"
              className="quiet"
              onClick={() => downloadFile('runs.csv', new Blob([csvOf(rows, baseline)]))}
            >
              Download CSV
            </button>
          </div>
          <p className="help" role="status">
            {rows.length === all.length
              ? plural(all.length, 'run')
              : `${rows.length} of ${plural(all.length, 'run')}`}
          </p>
          <section className="runs-scroll" tabIndex={0} aria-label="Runs, table">
            <table onKeyDown={moveFocus}>
              <thead>
                <tr>
                  <Sorter name="name" label="Run" sorting={sorting} onSort={sort} />
                  <th scope="col">Loss</th>
                  {columns.map(({ key, label, numeric }) => (
                    <Sorter
                      key={key}
                      name={key}
                      label={label}
                      numeric={numeric}
                      sorting={sorting}
                      onSort={sort}
                    />
                  ))}
                </tr>
              </thead>
              <tbody>
                {rows.slice(0, limit).map((row) => (
                  <Row
                    key={row.id}
                    row={row}
                    columns={columns}
                    baseline={baseline}
                    chosen={row.id === chosenId}
                    before={row.id === chosenId ? previous : undefined}
                  />
                ))}
              </tbody>
            </table>
          </section>
          {rows.length > limit && (
            <button type="button" className="quiet" onClick={() => setLimit(rows.length)}>
              Show all {rows.length} runs
            </button>
          )}
        </>
      )}
      {kept && <Sweeps kept={kept} />}
      {kept && <Keeping kept={kept} />}
    </main>
  );
}

/** Up and Down go from run to run. */
function moveFocus(event: React.KeyboardEvent<HTMLTableElement>): void {
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (by === undefined) return;
  const buttons = [...event.currentTarget.querySelectorAll<HTMLElement>('tbody th button')];
  const at = buttons.indexOf(event.target as HTMLElement);
  if (at < 0) return;
  event.preventDefault();
  buttons[at + by]?.focus();
}

function Sorter({
  name,
  label,
  numeric,
  sorting,
  onSort,
}: {
  name: string;
  label: string;
  numeric?: boolean;
  sorting: Sorting;
  onSort: (key: string) => void;
}) {
  const active = sorting.key === name;
  const direction = sorting.descending ? 'descending' : 'ascending';
  return (
    <th
      scope="col"
      aria-sort={active ? direction : undefined}
      className={numeric ? 'number' : undefined}
    >
      <button type="button" onClick={() => onSort(name)}>
        {label}
        {active && <span aria-hidden="true"> {sorting.descending ? '↓' : '↑'}</span>}
      </button>
    </th>
  );
}

const Row = memo(function Row({
  row,
  columns,
  baseline,
  chosen,
  before,
}: {
  row: RunRow;
  columns: readonly Column[];
  baseline: Config;
  chosen: boolean;
  /** The run before it in time, if it is chosen. */
  before?: RunRow;
}) {
  const { width, height } = THUMBNAIL;
  return (
    <>
      <tr className={chosen ? 'chosen' : undefined}>
        <th scope="row">
          <button
            type="button"
            aria-expanded={chosen}
            onClick={() => writeRoom('runs', chosen ? '' : row.id)}
          >
            {row.label.pinned && <Icon name="pin" />}
            {row.name}
            {row.label.pinned && <span className="visually-hidden">, pinned</span>}
          </button>
        </th>
        <td>
          <svg
            width={width}
            height={height}
            viewBox={`0 -1 ${width} ${height + 2}`}
            aria-hidden="true"
          >
            <path d={thumbnail(row.curve, width, height)} fill="none" stroke="var(--student)" />
          </svg>
        </td>
        {columns.map(({ key, text, numeric }) => (
          <td key={key} className={numeric ? 'number' : key}>
            {text(row, baseline)}
          </td>
        ))}
      </tr>
      {chosen && (
        <tr className="chosen">
          <td colSpan={columns.length + 2} className="chosen-cell">
            <ChosenRun row={row} before={before} />
          </td>
        </tr>
      )}
    </>
  );
});

function ColumnChoice({
  keys,
  onChange,
}: {
  keys: readonly string[];
  onChange: (keys: string[]) => void;
}) {
  return (
    <details className="columns-choice">
      <summary>Columns</summary>
      <fieldset>
        <legend className="visually-hidden">Columns to show</legend>
        {COLUMNS.map(({ key, label }) => (
          <label key={key}>
            <input
              type="checkbox"
              checked={keys.includes(key)}
              onChange={({ target }) =>
                onChange(target.checked ? [...keys, key] : keys.filter((other) => other !== key))
              }
            />{' '}
            {label}
          </label>
        ))}
      </fieldset>
    </details>
  );
}

/** The chosen columns, remembered if the browser lets the page remember anything. */
function useColumns(): [string[], (keys: string[]) => void] {
  const [keys, setKeys] = useState<string[]>(() => {
    try {
      const known = JSON.parse(localStorage.getItem(COLUMNS_KEY) ?? '');
      if (Array.isArray(known)) return known;
    } catch {
      // Nothing was remembered.
    }
    return COLUMNS.filter(({ initially }) => initially).map(({ key }) => key);
  });
  const change = (next: string[]) => {
    setKeys(next);
    try {
      localStorage.setItem(COLUMNS_KEY, JSON.stringify(next));
    } catch {
      // Then they last until the page is closed.
    }
  };
  return [keys, change];
}

function Deleted() {
  const deleted = useRuns((state) => state.deleted);
  const bringBack = useRuns((state) => state.bringBack);
  if (!deleted) return null;
  return (
    <Notice kind="note" title={`“${deleted.name}” is deleted.`}>
      {formatBytes(deleted.bytes)} will be free at the next visit.{' '}
      <button type="button" className="quiet" onClick={bringBack}>
        Undo
      </button>
    </Notice>
  );
}
