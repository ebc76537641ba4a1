// A tensor twice: its storage as a strip of cells, and the view of it as a grid of grids. The cell
// that is pointed at, or has the focus, lights its twins in the other picture, and the sum that
// leads from index to cell is written out.

import { useMemo, useState } from 'react';
import { Strip, View } from './Cells';
import type { Stage } from './chain';
import { DTYPE } from './chain';
import { explain } from './explain';
import './pictures.css';
import { type Place, type Pointed, placesOf, sumOf } from './places';

/** Cells in a row of the strip. */
const ROW = { wide: 24, narrow: 12 };

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
      <h2>
        View{' '}
        <span className="unit">
          {hidden && 'before the last line · '}[{layout.shape.join(', ')}] · strides [
          {layout.strides.join(', ')}] · offset {layout.offset}
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
      <Sum stage={stage} places={places} pointed={pointed} />
      <Twin stage={stage} places={places} />
    </section>
  );
}

/** From index to cell, written out: `offset + i·s0 + j·s1 = 0 + 1·24 + 2·6 = 36`. */
function Sum({
  stage: { layout, storage },
  places,
  pointed,
}: {
  stage: Stage;
  places: Place[];
  pointed: Pointed;
}) {
  if ('unread' in pointed) {
    return (
      <div className="sum" data-testid="sum">
        <p>Cell {pointed.unread}</p>
        <p className="sum-note">
          No index of the view leads here. The cell is in memory all the same.
        </p>
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

function Legend({
  stage: { storage },
  places,
  told,
}: {
  stage: Stage;
  places: Place[];
  told: boolean;
}) {
  const read = new Set(places.map(({ cell }) => cell)).size;
  const unread = storage.values.length - read;
  if (unread === 0 && !told && storage.generation === 0) return null;
  return (
    <p className="legend">
      {unread > 0 && (
        <span>
          <span className="cell unread" aria-hidden="true" /> {unread} of {storage.values.length}{' '}
          cells are not in the view
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
