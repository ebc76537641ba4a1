// A tensor twice: its storage as a strip of cells, and the view of it as a grid of grids. The cell that is pointed at, or
// has the focus, lights its twins in the other picture, and the sum that leads from index to cell is written out.

import type { KeyboardEvent } from 'react';
import { useMemo, useRef, useState } from 'react';
import type { Layout } from '../../tensor/layout';
import { product } from '../../tensor/strides';
import type { Stage } from './chain';
import { DTYPE } from './chain';
import { explain } from './explain';

/** Cells in a row of the strip. */
const ROW = { wide: 24, narrow: 12 };

/** What is pointed at: a place of the view by its number in row order, or a cell of the storage that no index reaches. */
type Pointed = { place: number } | { unread: number };

interface Place {
  index: number[];
  cell: number;
}

function placesOf(layout: Layout): Place[] {
  const { shape } = layout;
  const steps = shape.map((_, d) => product(shape.slice(d + 1)));
  return [...layout.addresses()].map((cell, n) => ({
    index: shape.map((size, d) => Math.floor(n / steps[d]) % size),
    cell,
  }));
}

export function Pictures({ stage, wide, hidden }: { stage: Stage; wide: boolean; hidden: boolean }) {
  const { layout, storage } = stage;
  const places = useMemo(() => placesOf(layout), [layout]);
  const [pointed, setPointed] = useState<Pointed>({ place: places.length - 1 });
  const cell = 'place' in pointed ? places[pointed.place].cell : pointed.unread;
  const point = {
    place: (place: number) => setPointed({ place }),
    cell: (at: number) => {
      // Of several places that read a cell, the one that is pointed at stays.
      if (at === cell) return;
      const place = places.findIndex((one) => one.cell === at);
      setPointed(place === -1 ? { unread: at } : { place });
    },
  };
  const told = new Set(explain(stage)?.cells);
  return (
    <section className="pictures" aria-label="Pictures">
      <Sum stage={stage} places={places} pointed={pointed} />
      <h2>
        View{' '}
        <span className="unit">
          {hidden && 'before the last line · '}[{layout.shape.join(', ')}] · strides [{layout.strides.join(', ')}] ·
          offset {layout.offset}
        </span>
      </h2>
      <View
        layout={layout}
        places={places}
        values={storage.values}
        lit={cell}
        pointed={pointed}
        onPoint={point.place}
      />
      <h2>
        Storage{' '}
        <span className="unit">
          {storage.values.length} cells, {storage.values.length * DTYPE.bytes} bytes in {DTYPE.name}
          {storage.generation > 0 && ', made by a copy'}
        </span>
      </h2>
      <Strip
        stage={stage}
        places={places}
        lit={cell}
        told={told}
        columns={wide ? ROW.wide : ROW.narrow}
        onPoint={point.cell}
      />
      <Legend stage={stage} places={places} told={told.size > 0} />
      <Twin stage={stage} places={places} />
    </section>
  );
}

/** From index to cell, written out: `offset + i·s0 + j·s1 = 0 + 1·24 + 2·6 = 36`. */
function Sum({ stage: { layout, storage }, places, pointed }: { stage: Stage; places: Place[]; pointed: Pointed }) {
  if ('unread' in pointed) {
    return (
      <div className="sum" data-testid="sum">
        <p>Cell {pointed.unread}</p>
        <p className="sum-note">No index of the view leads here. The cell is in memory all the same.</p>
      </div>
    );
  }
  const { index, cell } = places[pointed.place];
  const readers = places.filter((place) => place.cell === cell).length;
  const from = storage.from?.[cell];
  return (
    <div className="sum" data-testid="sum">
      <p>
        x[{index.join(', ')}] is at offset{index.map((_, d) => ` + ${LETTERS[d]}·s${d}`).join('')} ={' '}
        <span className="sum-line">{sumOf(index, layout)} = </span>
        <strong>{cell}</strong>
      </p>
      <p className="sum-note">
        It holds {storage.values[cell]}.
        {from !== undefined && ` The copy read it from cell ${from} of the storage before.`}
        {readers > 1 && ` ${readers} places of the view read this cell.`}
      </p>
    </div>
  );
}

const LETTERS = ['i', 'j', 'k', 'l', 'm'];

function sumOf(index: readonly number[], { strides, offset }: Layout): string {
  return [offset, ...index.map((at, d) => `${at}·${strides[d]}`)].join(' + ');
}

interface ViewProps {
  layout: Layout;
  places: Place[];
  values: readonly number[];
  /** The cell whose readers are lit. */
  lit: number;
  pointed: Pointed;
  onPoint(place: number): void;
}

function View({ layout, places, values, lit, pointed, onPoint }: ViewProps) {
  const box = useRef<HTMLFieldSetElement>(null);
  const { shape } = layout;
  const current = 'place' in pointed ? pointed.place : 0;
  const row = shape.at(-1) ?? 1;
  const onKeyDown = (event: KeyboardEvent) =>
    walk(event, box.current, current, { row, page: row * (shape.at(-2) ?? 1), count: places.length });
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
  // Two dimensions are rows of cells; each further one is a row, and then a column, of what is inside it.
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

function Strip({ stage: { storage }, places, lit, told, columns, onPoint }: StripProps) {
  const box = useRef<HTMLFieldSetElement>(null);
  const read = useMemo(() => new Set(places.map(({ cell }) => cell)), [places]);
  const count = storage.values.length;
  const onKeyDown = (event: KeyboardEvent) => walk(event, box.current, lit, { row: columns, page: count, count });
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

function Legend({ stage: { storage }, places, told }: { stage: Stage; places: Place[]; told: boolean }) {
  const read = new Set(places.map(({ cell }) => cell)).size;
  const unread = storage.values.length - read;
  return (
    <p className="legend">
      {unread > 0 && (
        <span>
          <span className="cell unread" aria-hidden="true" /> {unread} of {storage.values.length} cells are not in the
          view
        </span>
      )}
      {told && (
        <span>
          <span className="cell read told" aria-hidden="true" /> cells that the explanation names
        </span>
      )}
      {storage.generation > 0 && <span>small: the cell; large: what it holds</span>}
    </p>
  );
}

/** The pictures as a table: which index reads which cell. */
function Twin({ stage: { layout, storage }, places }: { stage: Stage; places: Place[] }) {
  return (
    <details className="twin">
      <summary>As a table</summary>
      <section className="twin-scroll" aria-label="Index and cell" tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th scope="col">Index</th>
              <th scope="col">Sum</th>
              <th scope="col">Cell</th>
              <th scope="col">Holds</th>
              {storage.from && <th scope="col">Copied from</th>}
            </tr>
          </thead>
          <tbody>
            {places.map(({ index, cell }) => (
              <tr key={index.join()}>
                <th scope="row">[{index.join(', ')}]</th>
                <td>{sumOf(index, layout)}</td>
                <td>{cell}</td>
                <td>{storage.values[cell]}</td>
                {storage.from && <td>{storage.from[cell]}</td>}
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </details>
  );
}
