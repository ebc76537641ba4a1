// A chart with its title, its unit, the values under the crosshair, a table, and files to save.

import { lazy, Suspense, useId, useRef, useState } from 'react';
import { download } from '../shared/browser';
import { formatMeasure } from '../shared/format';
import type { TermName } from '../shared/glossary';
import { TableHead } from '../shared/TableHead';
import { Term } from '../shared/Term';
import { valueAt } from './compare';
import type { ImageType } from './image';
import { chartImage, IMAGE_TYPES } from './image';
import type { PlotProps } from './Plot';
import { usePointer } from './pointer';
import type { XView } from './x-axis';

/** The charting library is large, so it loads after the first paint. */
const Plot = lazy(() => import('./Plot'));

export interface FigureProps extends PlotProps {
  title: string;
  /** Unit of the vertical axis. */
  unit: string;
  /** The words of the glossary that title and unit are. */
  terms?: { title?: TermName; unit?: TermName };
  /** The values at a step as text; undefined if there are none. */
  readout: (step: number) => string | undefined;
  table: { head: string[]; rows: (string | number)[][]; note?: string };
  csv: () => string;
  log?: { on: boolean; toggle: () => void };
  /** The step to read out while nothing is under the pointer. */
  now?: number;
}

export function Figure(props: FigureProps) {
  const { title, unit, terms, readout, table, csv, log, now, ...plot } = props;
  const [asTable, setAsTable] = useState(false);
  const heading = useId();
  const frame = useRef<HTMLElement>(null);
  const name = title.toLowerCase();
  const file = `stillhouse-${name.replaceAll(' ', '-')}`;
  const saveImage = async (type: ImageType) => {
    const svg = frame.current?.querySelector<SVGSVGElement>('.plot svg');
    if (!svg) return;
    // The page marks a recording around the chart, so the image needs a mark of its own.
    const heading = `${svg.closest('.recorded') ? 'Recording: ' : ''}${title}, ${unit}`;
    download(`${file}.${type}`, await chartImage(svg, type, heading));
  };
  return (
    <figure
      ref={frame}
      className={plot.compact ? 'figure compact' : 'figure'}
      aria-labelledby={heading}
    >
      <figcaption>
        <h2 id={heading}>
          <Word of={terms?.title}>{title}</Word>{' '}
          <span className="unit">
            <Word of={terms?.unit}>{unit}</Word>
          </span>
        </h2>
        <Readout x={plot.x} readout={readout} now={now} />
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
            onClick={() => download(`${file}.csv`, csv())}
          >
            csv
          </button>
          {IMAGE_TYPES.map((type) => (
            <button
              key={type}
              type="button"
              className="tool"
              aria-label={`Download ${name} as ${type.toUpperCase()}`}
              disabled={asTable}
              onClick={() => void saveImage(type)}
            >
              {type}
            </button>
          ))}
        </div>
      </figcaption>
      {asTable ? (
        <Table {...table} title={title} />
      ) : (
        <StepSlider title={title} x={plot.x} behind={plot.behind} readout={readout}>
          <Suspense fallback={<div className="plot" />}>
            <Plot {...plot} />
          </Suspense>
        </StepSlider>
      )}
    </figure>
  );
}

const Word = ({ of, children }: { of?: TermName; children: string }) =>
  of ? <Term of={of}>{children}</Term> : children;

/** The current run's values at a place of the axis. */
function readoutAt(x: XView, at: number, readout: FigureProps['readout']): string {
  const step = x.stepAt(at);
  return (step === undefined ? undefined : readout(step)) ?? 'no data';
}

function Readout({ x, readout, now }: Pick<FigureProps, 'x' | 'readout' | 'now'>) {
  const at = usePointer((state) => state.x);
  if (at === undefined) return <span className="readout">{now !== undefined && readout(now)}</span>;
  const text = readoutAt(x, at, readout);
  return <span className="readout">{now === undefined ? `${x.text(at)} · ${text}` : text}</span>;
}

/** Parts of the axis that a press of an arrow key moves the crosshair by; of steps, always one. */
const SMALL_MOVES = 200;
const LARGE_MOVES = 20;

/** Lets the arrow keys move the crosshair, as the pointer does. */
function StepSlider({
  title,
  x,
  behind = [],
  readout,
  children,
}: Pick<FigureProps, 'title' | 'x' | 'behind' | 'readout'> & { children: React.ReactNode }) {
  const { x: at, point } = usePointer();
  const now = Math.min(at ?? x.end, x.end);
  const small = x.name === 'step' ? 1 : x.end / SMALL_MOVES;
  const large = x.name === 'step' ? Math.ceil(x.end / LARGE_MOVES) : x.end / LARGE_MOVES;
  const moves: Record<string, number> = {
    ArrowLeft: now - small,
    ArrowRight: now + small,
    PageDown: now - large,
    PageUp: now + large,
    Home: 0,
    End: x.end,
  };
  const others = behind.map(({ label, points, raw = points }) => {
    return `${label} ${formatMeasure(valueAt(raw, now))}`;
  });
  return (
    <div
      className="step-slider"
      role="slider"
      tabIndex={0}
      aria-label={`${title}: ${x.name}`}
      aria-valuemin={0}
      aria-valuemax={x.end}
      aria-valuenow={now}
      aria-valuetext={`${x.text(now)}: ${[readoutAt(x, now, readout), ...others].join(' · ')}`}
      onKeyDown={(event) => {
        if (!(event.key in moves)) return;
        event.preventDefault();
        point(x.snap(moves[event.key]));
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
