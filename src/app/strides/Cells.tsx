// The cells of the two pictures. Each picture is one stop of Tab; the arrows walk its cells, and
// what has the focus is pointed at, as what is under the pointer is.

import type { KeyboardEvent } from 'react';
import { useMemo, useRef } from 'react';
import type { Layout } from '../../tensor/layout';
import { product } from '../../tensor/strides';
import type { Stage } from './chain';
import type { Place, Pointed } from './places';

interface ViewProps {
  layout: Layout;
  places: Place[];
  values: readonly number[];
  /** The cell whose readers are lit. */
  lit: number;
  pointed: Pointed;
  onPoint(place: number): void;
}

/** The view: rows of cells, in blocks of rows where there are more than two dimensions. */
export function View({ layout, places, values, lit, pointed, onPoint }: ViewProps) {
  const box = useRef<HTMLFieldSetElement>(null);
  const { shape } = layout;
  const current = 'place' in pointed ? pointed.place : 0;
  const row = shape.at(-1) ?? 1;
  const onKeyDown = (event: KeyboardEvent) =>
    walk(event, box.current, current, {
      row,
      page: row * (shape.at(-2) ?? 1),
      count: places.length,
    });
  const cellAt = (n: number) => {
    const { index, cell } = places[n];
    return (
      <button
        key={n}
        type="button"
        data-n={n}
        className={`cell read${n === current && 'place' in pointed ? ' pointed' : ''}${cell === lit ? ' lit' : ''}`}
        tabIndex={n === current ? 0 : -1}
        aria-label={`index [${index.join(', ')}], cell ${cell}, holds ${values[cell]}`}
        aria-current={cell === lit ? 'true' : undefined}
        onPointerEnter={() => onPoint(n)}
        onFocus={() => onPoint(n)}
        onClick={() => onPoint(n)}
        onKeyDown={onKeyDown}
      >
        {values[cell]}
      </button>
    );
  };
  // Two dimensions are rows of cells; each further one is a row, and then a column, of what is
  // inside it.
  const block = (d: number, first: number, index: readonly number[]) => {
    const size = shape[d] ?? 1;
    const inside = product(shape.slice(d + 1));
    const parts = Array.from({ length: size }, (_, i) => i);
    if (d >= shape.length - 1) {
      return <span className="cells">{parts.map((i) => cellAt(first + i))}</span>;
    }
    const rows = d === shape.length - 2;
    const across = (shape.length - d) % 2 === 1;
    return (
      <div className={rows ? 'rows' : across ? 'blocks across' : 'blocks'}>
        {parts.map((i) => (
          <div key={i} className={rows ? 'line' : 'block'}>
            <span className="at">{rows ? i : `x[${[...index, i].join(', ')}]`}</span>
            {block(d + 1, first + i * inside, [...index, i])}
          </div>
        ))}
      </div>
    );
  };
  return (
    <fieldset className="view" ref={box} aria-label="View, move with the arrow keys">
      {block(0, 0, [])}
    </fieldset>
  );
}

interface StripProps {
  stage: Stage;
  places: Place[];
  lit: number;
  /** Cells that the explanation speaks of. */
  told: ReadonlySet<number>;
  columns: number;
  onPoint(cell: number): void;
}

/** The storage, cell by cell; the rows of the strip mean nothing. */
export function Strip({ stage: { storage }, places, lit, told, columns, onPoint }: StripProps) {
  const box = useRef<HTMLFieldSetElement>(null);
  const read = useMemo(() => new Set(places.map(({ cell }) => cell)), [places]);
  const count = storage.values.length;
  const onKeyDown = (event: KeyboardEvent) =>
    walk(event, box.current, lit, { row: columns, page: count, count });
  return (
    <fieldset
      className="strip"
      ref={box}
      aria-label="Storage, move with the arrow keys"
      style={{ gridTemplateColumns: `repeat(${Math.min(columns, count)}, minmax(24px, 32px))` }}
    >
      {storage.values.map((value, cell) => (
        <button
          // biome-ignore lint/suspicious/noArrayIndexKey: a cell is its place
          key={cell}
          type="button"
          data-n={cell}
          className={`cell ${read.has(cell) ? 'read' : 'unread'}${cell === lit ? ' lit' : ''}${told.has(cell) ? ' told' : ''}`}
          tabIndex={cell === lit ? 0 : -1}
          aria-label={`cell ${cell}, holds ${value}${read.has(cell) ? '' : ', not in the view'}`}
          aria-current={cell === lit ? 'true' : undefined}
          onPointerEnter={() => onPoint(cell)}
          onFocus={() => onPoint(cell)}
          onClick={() => onPoint(cell)}
          onKeyDown={onKeyDown}
        >
          {storage.generation > 0 && <span className="address">{cell}</span>}
          {value}
        </button>
      ))}
    </fieldset>
  );
}

/** Moves the focus among a picture's cells; what has the focus is pointed at. */
function walk(
  event: KeyboardEvent,
  box: HTMLElement | null,
  current: number,
  { row, page, count }: { row: number; page: number; count: number },
): void {
  const moves: Record<string, number> = {
    ArrowRight: current + 1,
    ArrowLeft: current - 1,
    ArrowDown: current + row,
    ArrowUp: current - row,
    PageDown: current + page,
    PageUp: current - page,
    Home: 0,
    End: count - 1,
  };
  const to = Object.hasOwn(moves, event.key) ? moves[event.key] : undefined;
  if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  if (to >= 0 && to < count) box?.querySelector<HTMLElement>(`[data-n="${to}"]`)?.focus();
}
