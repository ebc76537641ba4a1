// The cells of the two pictures. Each picture is one tab stop; the arrow keys move the focus among
// its cells. Focusing a cell has the same effect as pointing at it.

import type { KeyboardEvent } from 'react';
import { useMemo, useRef } from 'react';
import type { Layout } from '../../tensor/layout';
import { product } from '../../tensor/strides';
import type { Stage } from './chain';
import type { PointerTarget, ViewElement } from './elements';

interface ViewGridProps {
  layout: Layout;
  elements: ViewElement[];
  values: readonly number[];
  /** The storage cell whose readers are highlighted. */
  activeCell: number;
  target: PointerTarget;
  onPoint(element: number): void;
}

/** The view: rows of cells, in blocks of rows where there are more than two dimensions. */
export function ViewGrid({ layout, elements, values, activeCell, target, onPoint }: ViewGridProps) {
  const box = useRef<HTMLFieldSetElement>(null);
  const { shape } = layout;
  const current = 'element' in target ? target.element : 0;
  const row = shape.at(-1) ?? 1;
  const onKeyDown = (event: KeyboardEvent) =>
    moveFocus(event, box.current, current, {
      row,
      page: row * (shape.at(-2) ?? 1),
      count: elements.length,
    });
  const cellAt = (n: number) => {
    const { index, cell } = elements[n];
    const pointed = n === current && 'element' in target;
    return (
      <button
        key={n}
        type="button"
        data-n={n}
        className={classes('cell read', { pointed, highlighted: cell === activeCell })}
        tabIndex={n === current ? 0 : -1}
        aria-label={`index [${index.join(', ')}], cell ${cell}, holds ${values[cell]}`}
        aria-current={cell === activeCell ? 'true' : undefined}
        onPointerEnter={() => onPoint(n)}
        onFocus={() => onPoint(n)}
        onClick={() => onPoint(n)}
        onKeyDown={onKeyDown}
      >
        {values[cell]}
      </button>
    );
  };
  // The last two dimensions are rows of cells. Each further dimension lays out its blocks in a row
  // or in a column, in turn.
  const block = (d: number, first: number, index: readonly number[]) => {
    const size = shape[d] ?? 1;
    const blockSize = product(shape.slice(d + 1));
    const indices = Array.from({ length: size }, (_, i) => i);
    if (d >= shape.length - 1) {
      return <span className="cells">{indices.map((i) => cellAt(first + i))}</span>;
    }
    const rows = d === shape.length - 2;
    const across = (shape.length - d) % 2 === 1;
    return (
      <div className={rows ? 'rows' : across ? 'blocks across' : 'blocks'}>
        {indices.map((i) => (
          <div key={i} className={rows ? 'line' : 'block'}>
            <span className="at">{rows ? i : `x[${[...index, i].join(', ')}]`}</span>
            {block(d + 1, first + i * blockSize, [...index, i])}
          </div>
        ))}
      </div>
    );
  };
  return (
    <fieldset className="view" ref={box} aria-label="View. Move with the arrow keys.">
      {block(0, 0, [])}
    </fieldset>
  );
}

interface StorageStripProps {
  stage: Stage;
  elements: ViewElement[];
  activeCell: number;
  /** Cells that the explanation mentions. */
  mentionedCells: ReadonlySet<number>;
  columns: number;
  onPoint(cell: number): void;
}

/** The storage, cell by cell. Where the strip wraps has no meaning. */
export function StorageStrip({
  stage: { storage },
  elements,
  activeCell,
  mentionedCells,
  columns,
  onPoint,
}: StorageStripProps) {
  const box = useRef<HTMLFieldSetElement>(null);
  const readCells = useMemo(() => new Set(elements.map(({ cell }) => cell)), [elements]);
  const count = storage.values.length;
  const onKeyDown = (event: KeyboardEvent) =>
    moveFocus(event, box.current, activeCell, { row: columns, page: count, count });
  return (
    <fieldset
      className="strip"
      ref={box}
      aria-label="Storage. Move with the arrow keys."
      style={{ gridTemplateColumns: `repeat(${Math.min(columns, count)}, minmax(24px, 32px))` }}
    >
      {storage.values.map((value, cell) => {
        const inView = readCells.has(cell);
        return (
          <button
            // biome-ignore lint/suspicious/noArrayIndexKey: a cell is identified by its position
            key={cell}
            type="button"
            data-n={cell}
            className={classes(inView ? 'cell read' : 'cell unread', {
              highlighted: cell === activeCell,
              mentioned: mentionedCells.has(cell),
            })}
            tabIndex={cell === activeCell ? 0 : -1}
            aria-label={`cell ${cell}, holds ${value}${inView ? '' : ', not in the view'}`}
            aria-current={cell === activeCell ? 'true' : undefined}
            onPointerEnter={() => onPoint(cell)}
            onFocus={() => onPoint(cell)}
            onClick={() => onPoint(cell)}
            onKeyDown={onKeyDown}
          >
            {storage.generation > 0 && <span className="address">{cell}</span>}
            {value}
          </button>
        );
      })}
    </fieldset>
  );
}

function classes(base: string, optional: Record<string, boolean>): string {
  return [base, ...Object.keys(optional).filter((name) => optional[name])].join(' ');
}

/** Handles the keys that move the focus among a picture's cells. */
function moveFocus(
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
