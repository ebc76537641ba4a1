// A tensor in two pictures: its storage as a strip of cells, and the view of it as nested grids.
// Pointing at a cell, or focusing it, highlights the same cell in the other picture and shows the
// sum that leads from index to cell.

import { useMemo, useState } from 'react';
import { StorageStrip, ViewGrid } from './Cells';
import type { Stage } from './chain';
import { bracketed, DTYPE } from './chain';
import type { PointerTarget, ViewElement } from './elements';
import { addressSum, elementsOf } from './elements';
import { explain } from './explain';
import './pictures.css';

/** Cells in a row of the storage strip. */
const STRIP_COLUMNS = { wide: 24, narrow: 12 };

export function Pictures({
  stage,
  wide,
  hidden,
}: {
  stage: Stage;
  wide: boolean;
  hidden: boolean;
}) {
  const { layout, storage } = stage;
  const elements = useMemo(() => elementsOf(layout), [layout]);
  const [target, setTarget] = useState<PointerTarget>({ element: elements.length - 1 });
  const activeCell = 'element' in target ? elements[target.element].cell : target.unreadCell;
  const pointAtCell = (cell: number) => {
    // If several elements read the cell, the current one stays the target.
    if (cell === activeCell) return;
    const element = elements.findIndex((candidate) => candidate.cell === cell);
    setTarget(element === -1 ? { unreadCell: cell } : { element });
  };
  const mentionedCells = new Set(explain(stage)?.cells);
  return (
    <section className="pictures" aria-label="Pictures">
      <h2>
        View{' '}
        <span className="unit">
          {hidden && 'before the last line · '}
          {bracketed(layout.shape)} · strides {bracketed(layout.strides)} · offset {layout.offset}
        </span>
      </h2>
      <ViewGrid
        layout={layout}
        elements={elements}
        values={storage.values}
        activeCell={activeCell}
        target={target}
        onPoint={(element) => setTarget({ element })}
      />
      <h2>
        Storage{' '}
        <span className="unit">
          {storage.values.length} cells, {storage.values.length * DTYPE.bytes} bytes in {DTYPE.name}
          {storage.generation > 0 && ', created by a copy'}
        </span>
      </h2>
      <StorageStrip
        stage={stage}
        elements={elements}
        activeCell={activeCell}
        mentionedCells={mentionedCells}
        columns={wide ? STRIP_COLUMNS.wide : STRIP_COLUMNS.narrow}
        onPoint={pointAtCell}
      />
      <Legend stage={stage} elements={elements} hasMentions={mentionedCells.size > 0} />
      <AddressSum stage={stage} elements={elements} target={target} />
      <CellTable stage={stage} elements={elements} />
    </section>
  );
}

/** The sum from index to cell: `offset + i·s0 + j·s1 = 0 + 1·24 + 2·6 = 36`. */
function AddressSum({
  stage: { layout, storage },
  elements,
  target,
}: {
  stage: Stage;
  elements: ViewElement[];
  target: PointerTarget;
}) {
  if ('unreadCell' in target) {
    return (
      <div className="address-sum" data-testid="sum">
        <p>Cell {target.unreadCell}</p>
        <p className="sum-note">
          No index of the view reaches this cell, but it is still in memory.
        </p>
      </div>
    );
  }
  const { index, cell } = elements[target.element];
  const formula = ['offset', ...index.map((_, d) => `${LETTERS[d]}·s${d}`)].join(' + ');
  const readers = elements.filter((element) => element.cell === cell).length;
  const from = storage.from?.[cell];
  return (
    <div className="address-sum" data-testid="sum">
      <p>
        x{bracketed(index)} is at {formula} ={' '}
        <span className="sum-line">{addressSum(index, layout)} = </span>
        <strong>{cell}</strong>
      </p>
      <p className="sum-note">
        The cell holds {storage.values[cell]}.
        {from !== undefined && ` It was copied from cell ${from} of the previous storage.`}
        {readers > 1 && ` ${readers} elements of the view read this cell.`}
      </p>
    </div>
  );
}

const LETTERS = ['i', 'j', 'k', 'l', 'm'];

function Legend({
  stage: { storage },
  elements,
  hasMentions,
}: {
  stage: Stage;
  elements: ViewElement[];
  hasMentions: boolean;
}) {
  const unread = storage.values.length - new Set(elements.map(({ cell }) => cell)).size;
  if (unread === 0 && !hasMentions && storage.generation === 0) return null;
  return (
    <p className="legend">
      {unread > 0 && (
        <span>
          <span className="cell unread" aria-hidden="true" />{' '}
          {`${unread} of ${storage.values.length} cells are not in the view`}
        </span>
      )}
      {hasMentions && (
        <span>
          <span className="cell read mentioned" aria-hidden="true" /> cells mentioned in the
          explanation
        </span>
      )}
      {storage.generation > 0 && <span>small: the cell’s number; large: its value</span>}
    </p>
  );
}

/** The pictures as a table: which index reads which cell. */
function CellTable({
  stage: { layout, storage },
  elements,
}: {
  stage: Stage;
  elements: ViewElement[];
}) {
  return (
    <details className="cell-table">
      <summary>As a table</summary>
      <section className="cell-table-scroll" aria-label="Index and cell, table" tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th scope="col">Index</th>
              <th scope="col">Sum</th>
              <th scope="col">Cell</th>
              <th scope="col">Value</th>
              {storage.from && <th scope="col">Copied from</th>}
            </tr>
          </thead>
          <tbody>
            {elements.map(({ index, cell }) => (
              <tr key={index.join()}>
                <th scope="row">{bracketed(index)}</th>
                <td>{addressSum(index, layout)}</td>
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
