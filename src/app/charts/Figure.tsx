// A chart with its title, its unit, the values at the step under the pointer, a table and a CSV.

import { lazy, Suspense, useId, useState } from 'react';
import { download } from '../shared/browser';
import { TableHead } from '../shared/TableHead';
import type { PlotProps } from './Plot';
import { usePointer } from './pointer';

/** The charting library is large, so it loads after the first paint. */
const Plot = lazy(() => import('./Plot'));

export interface FigureProps extends PlotProps {
  title: string;
  /** Unit of the vertical axis. */
  unit: string;
  /** The values at a step as text; undefined if there are none. */
  readout: (step: number) => string | undefined;
  table: { head: string[]; rows: (string | number)[][]; note?: string };
  csv: () => string;
  log?: { on: boolean; toggle: () => void };
  /** The step to read out while no step is under a pointer. */
  now?: number;
}

export function Figure({ title, unit, readout, table, csv, log, now, ...plot }: FigureProps) {
  const [asTable, setAsTable] = useState(false);
  const heading = useId();
  const name = title.toLowerCase();
  return (
    <figure className={plot.compact ? 'figure compact' : 'figure'} aria-labelledby={heading}>
      <figcaption>
        <h2 id={heading}>
          {title} <span className="unit">{unit}</span>
        </h2>
        <Readout readout={readout} now={now} />
        <div className="figure-tools">
          {log && (
            <button
              type="button"
              className="tool"
              aria-pressed={log.on}
              onClick={log.toggle}
              title="Logarithmic axis"
            >
              log
            </button>
          )}
          <button
            type="button"
            className="tool"
            aria-pressed={asTable}
            aria-label={`${title} as a table`}
            onClick={() => setAsTable(!asTable)}
          >
            table
          </button>
          <button
            type="button"
            className="tool"
            aria-label={`Download ${name} as CSV`}
            onClick={() => download(`stillhouse-${name.replaceAll(' ', '-')}.csv`, csv())}
          >
            csv
          </button>
        </div>
      </figcaption>
      {asTable ? (
        <Table {...table} title={title} />
      ) : (
        <StepSlider title={title} lastStep={plot.lastStep} readout={readout}>
          <Suspense fallback={<div className="plot" />}>
            <Plot {...plot} />
          </Suspense>
        </StepSlider>
      )}
    </figure>
  );
}

function Readout({ readout, now }: Pick<FigureProps, 'readout' | 'now'>) {
  const step = usePointer((state) => state.step);
  if (step === undefined)
    return <span className="readout">{now !== undefined && readout(now)}</span>;
  const text = readout(step) ?? 'no data';
  return <span className="readout">{now === undefined ? `step ${step} · ${text}` : text}</span>;
}

/** Lets the arrow keys select a step, as the pointer does. */
function StepSlider({
  title,
  lastStep,
  readout,
  children,
}: {
  title: string;
  lastStep: number;
  readout: FigureProps['readout'];
  children: React.ReactNode;
}) {
  const { step, point } = usePointer();
  const now = step ?? lastStep;
  const moves: Record<string, number> = {
    ArrowLeft: now - 1,
    ArrowRight: now + 1,
    PageDown: now - Math.ceil(lastStep / 20),
    PageUp: now + Math.ceil(lastStep / 20),
    Home: 0,
    End: lastStep,
  };
  return (
    <div
      className="step-slider"
      role="slider"
      tabIndex={0}
      aria-label={`${title}: step`}
      aria-valuemin={0}
      aria-valuemax={lastStep}
      aria-valuenow={Math.min(now, lastStep)}
      aria-valuetext={`step ${now}: ${readout(now) ?? 'no data'}`}
      onKeyDown={(event) => {
        if (!(event.key in moves)) return;
        event.preventDefault();
        point(Math.min(Math.max(moves[event.key], 0), lastStep));
      }}
      onBlur={() => point(undefined)}
    >
      {children}
    </div>
  );
}

function Table({ head, rows, note, title }: FigureProps['table'] & { title: string }) {
  return (
    <section className="figure-table" tabIndex={0} aria-label={`${title}, table`}>
      <table>
        {note && <caption>{note}</caption>}
        <TableHead names={head} />
        <tbody>
          {rows.map((row) => (
            <tr key={row[0]}>
              {row.map((cell, column) => (
                <td key={head[column]}>{cell}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
