// A lesson's pictures: bars of probabilities in a table, and lines over a number.

import { useRef } from 'react';
import { linearAxis, logAxis } from '../charts/scale';
import { useSize } from '../shared/browser';
import { formatMeasure, formatTick } from '../shared/format';
import { TableHead } from '../shared/TableHead';
import { type BarPanel, type LinePanel, type Panel, percent, type Tone } from './scene';

export function Panels({ panels }: { panels: readonly Panel[] }) {
  return (
    <div className="lesson-panels">
      {panels.map((panel) =>
        panel.kind === 'bars' ? (
          <Bars key={panel.title} {...panel} />
        ) : (
          <Lines key={panel.title} {...panel} />
        ),
      )}
    </div>
  );
}

const COLOURS: Record<Tone, string> = {
  teacher: 'var(--teacher)',
  student: 'var(--student)',
  text: 'var(--ce)',
  kd: 'var(--kd)',
};
/** As in stroke-dasharray: colour is never the only difference. */
const DASHES: Record<Tone, string | undefined> = {
  teacher: '6 4',
  student: undefined,
  text: '2 3',
  kd: '10 3',
};

function Bars({ title, context, series, rows }: BarPanel) {
  return (
    <section className="lesson-panel" aria-label={title}>
      <h2>{title}</h2>
      {context && (
        <p className="lesson-context">
          …{context.text} <mark>{context.next}</mark>
        </p>
      )}
      <table className="lesson-bars">
        <TableHead names={['token', ...series.map(({ name }) => name)]} />
        <tbody>
          {rows.map(({ token, isNext, values }) => (
            <tr key={token}>
              <th scope="row">{isNext ? <mark>{token}</mark> : token}</th>
              {values.map((value, i) => (
                <td key={series[i].name}>
                  <span
                    className={`lesson-bar ${series[i].tone}`}
                    style={{ width: `${value * 100}%` }}
                  />
                  <span className="lesson-share">{percent(value)}</span>
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

const HEIGHT = 240;
const MARGIN = { top: 12, left: 44, bottom: 40 };
/** Pixels of a label's character. */
const CHARACTER = 7;
const LABEL_HEIGHT = 14;
/** The least distance of two ticks on the horizontal axis, in pixels. */
const TICK_SPACING = 28;

function Lines(panel: LinePanel) {
  const frame = useRef<HTMLDivElement>(null);
  const { width } = useSize(frame);
  const { title, unit, x, lines } = panel;
  return (
    <section className="lesson-panel" aria-label={title}>
      <h2>
        {title} <span className="unit">{unit}</span>
      </h2>
      <div className="plot lesson-plot" ref={frame}>
        {width > 0 && <Drawing {...panel} width={width} />}
      </div>
      <details className="cell-table">
        <summary>As a table</summary>
        <table className="lesson-table">
          <TableHead names={[x.name, ...lines.map(({ name }) => name)]} />
          <tbody>
            {x.values.map((value, i) => (
              <tr key={value}>
                <th scope="row">{formatMeasure(value)}</th>
                {lines.map(({ name, values }) => (
                  <td key={name}>{formatMeasure(values[i])}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </details>
    </section>
  );
}

/** Positions of values on an axis, from `from` to `to` in pixels. */
function placing(
  { scale, domain: [low, high] }: { scale: 'linear' | 'log'; domain: [number, number] },
  from: number,
  to: number,
) {
  const at = scale === 'log' ? Math.log : (value: number) => value;
  return (value: number) =>
    from + ((at(value) - at(low)) / (at(high) - at(low) || 1)) * (to - from);
}

function Drawing({ x, scale, lines, at, title, width }: LinePanel & { width: number }) {
  const right = Math.max(...lines.map(({ name }) => name.length)) * CHARACTER + 16;
  const all = lines.flatMap(({ values }) => values);
  const axis = scale === 'log' ? logAxis(all) : linearAxis(all, 4);
  const ends: [number, number] = [x.values[0], x.values[x.values.length - 1]];
  const left = placing({ scale: x.scale, domain: ends }, MARGIN.left, width - right);
  const top = placing(axis, HEIGHT - MARGIN.bottom, MARGIN.top);
  const ticks: number[] = [];
  for (const value of x.values) {
    const before = ticks[ticks.length - 1];
    if (before === undefined || left(value) - left(before) >= TICK_SPACING) ticks.push(value);
  }
  const labels = lines
    .map(({ name, tone, values }) => ({ name, tone, y: top(values[values.length - 1]) }))
    .sort((a, b) => a.y - b.y);
  for (let i = 1; i < labels.length; i++)
    labels[i].y = Math.max(labels[i].y, labels[i - 1].y + LABEL_HEIGHT);
  return (
    <svg width={width} height={HEIGHT} role="img" aria-label={`${title}, drawn; also as a table`}>
      {axis.ticks.map((tick) => (
        <g key={tick}>
          <line
            x1={MARGIN.left}
            x2={width - right}
            y1={top(tick)}
            y2={top(tick)}
            stroke="var(--hairline)"
          />
          <text x={MARGIN.left - 8} y={top(tick) + 4} textAnchor="end" className="tick">
            {formatTick(tick)}
          </text>
        </g>
      ))}
      {ticks.map((tick) => (
        <text
          key={tick}
          x={left(tick)}
          y={HEIGHT - MARGIN.bottom + 18}
          textAnchor="middle"
          className="tick"
        >
          {formatTick(tick)}
        </text>
      ))}
      <text
        x={(MARGIN.left + width - right) / 2}
        y={HEIGHT - 4}
        textAnchor="middle"
        className="tick"
      >
        {x.name}
      </text>
      {at !== undefined && (
        <line
          x1={left(at)}
          x2={left(at)}
          y1={MARGIN.top}
          y2={HEIGHT - MARGIN.bottom}
          stroke="var(--ink)"
        />
      )}
      {lines.map(({ name, tone, values }) => (
        <g key={name}>
          <path
            d={values
              .map((value, i) => `${i === 0 ? 'M' : 'L'}${left(x.values[i])},${top(value)}`)
              .join('')}
            fill="none"
            stroke={COLOURS[tone]}
            strokeWidth={tone === 'student' ? 2.5 : 1.75}
            strokeDasharray={DASHES[tone]}
          />
          {values.map((value, i) => (
            <circle
              key={x.values[i]}
              cx={left(x.values[i])}
              cy={top(value)}
              r={2.5}
              fill={COLOURS[tone]}
            />
          ))}
        </g>
      ))}
      {labels.map(({ name, tone, y }) => (
        <text
          key={name}
          x={width - right + 8}
          y={y + 4}
          className="end-label"
          style={{ color: COLOURS[tone] }}
        >
          {name}
        </text>
      ))}
    </svg>
  );
}
