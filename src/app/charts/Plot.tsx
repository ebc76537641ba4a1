// One plot. Recharts draws axes and the current run's lines; this file adds the compared runs'
// lines behind them, labels at the ends of the lines, marks and the crosshair.

import { useRef } from 'react';
import {
  CartesianGrid,
  Line,
  LineChart,
  usePlotArea,
  useXAxisInverseScale,
  useXAxisScale,
  useYAxisScale,
  XAxis,
  YAxis,
} from 'recharts';
import type { Mark } from '../run/shown-run';
import { useSize } from '../shared/browser';
import { formatMeasure, formatTick } from '../shared/format';
import type { BackLine } from './compare';
import { valueAt } from './compare';
import { placeLabels, shortLabel } from './labels';
import type { LinePoint } from './line-path';
import { linePath } from './line-path';
import { usePointer } from './pointer';
import type { Axis } from './scale';
import { stretchOn, type XView } from './x-axis';

export interface PlotSeries {
  /** The key in each row. */
  key: string;
  /** A CSS colour. */
  colour: string;
  /** As in stroke-dasharray. */
  dash?: string;
  width?: number;
  /** The raw values behind a smoothed line. */
  faint?: boolean;
  /** Holds each value until the next. */
  stepped?: boolean;
  dots?: boolean;
  /** The line's name, shown with its value at its end. */
  label?: string;
  /** The key of the label's value, if the line is smoothed. */
  value?: string;
}

/** A stretch of steps to look at, with a word on why. */
export interface Region {
  from: number;
  to: number;
  text: string;
}

export interface PlotProps {
  /** Each with `x`, its place on the horizontal axis. */
  rows: readonly { x: number | null }[];
  series: readonly PlotSeries[];
  /** Other runs, drawn behind. */
  behind?: readonly BackLine[];
  x: XView;
  axis: Axis;
  /** Formats the values of the vertical axis. */
  formatValue?: (value: number) => string;
  marks?: readonly Mark[];
  /** Shaded. */
  regions?: readonly Region[];
  /** Hollow triangles where something failed or was skipped; without a value, on the step axis. */
  triangles?: readonly { step: number; value?: number }[];
  /** A horizontal reference line. */
  goal?: { value: number; label: string; colour: string };
  compact?: boolean;
}

/** Width in pixels of a label's character, and of the line that leads to the label. */
const CHARACTER = 6.8;
const LEADER = 14;

/** Characters of the widest value in a label, with the space before it. */
const VALUE_LENGTH = 7;

/** Room for the longest label. The minimum keeps the plot still while values grow. */
function labelWidth({ series, behind = [], goal }: PlotProps): number {
  const names = [...series, ...behind].flatMap(({ label }) =>
    label === undefined ? [] : [shortLabel(label)],
  );
  const longest = Math.max(
    14,
    ...names.map((name) => name.length + VALUE_LENGTH),
    goal?.label.length ?? 0,
  );
  return Math.round(longest * CHARACTER + LEADER);
}

export default function Plot(props: PlotProps) {
  const frame = useRef<HTMLDivElement>(null);
  const { width, height } = useSize(frame);
  const { rows, series, x, axis, compact } = props;
  const along = x.axis(compact ? 2 : width < 480 ? 4 : 8);
  const margin = compact
    ? { top: 8, right: 12, bottom: 0, left: 0 }
    : { top: 16, right: labelWidth(props), bottom: 0, left: 0 };
  return (
    <div className="plot" ref={frame}>
      {width > 0 && height > 0 && (
        <LineChart
          data={drawable(rows, along)}
          width={width}
          height={height}
          margin={margin}
          accessibilityLayer={false}
        >
          <CartesianGrid vertical={false} stroke="var(--hairline)" />
          <XAxis
            dataKey="x"
            type="number"
            scale={along.scale}
            domain={along.domain}
            ticks={along.ticks}
            interval={0}
            height={20}
            tickSize={4}
            tickMargin={4}
            tickFormatter={formatTick}
            stroke="var(--axis)"
            tick={{ fill: 'var(--ink-soft)' }}
            allowDataOverflow
          />
          <YAxis
            type="number"
            scale={axis.scale}
            domain={axis.domain}
            ticks={axis.ticks}
            interval={0}
            width={44}
            tickSize={0}
            tickMargin={8}
            tickFormatter={props.formatValue ?? formatTick}
            axisLine={false}
            tick={{ fill: 'var(--ink-soft)' }}
            allowDataOverflow
          />
          <Behind {...props} />
          {series.map((line) => (
            <Line
              key={line.key}
              dataKey={line.key}
              stroke={line.colour}
              strokeWidth={line.width ?? 2}
              strokeDasharray={line.dash}
              strokeOpacity={line.faint ? 0.28 : 1}
              type={line.stepped ? 'stepAfter' : 'linear'}
              isAnimationActive={false}
              dot={line.dots ? { r: 2.5, fill: line.colour, strokeWidth: 0 } : false}
              activeDot={false}
            />
          ))}
          <Overlay {...props} />
        </LineChart>
      )}
    </div>
  );
}

/** Without the rows that have no place on the axis: Recharts would draw them at its start. */
function drawable(rows: PlotProps['rows'], along: Axis): object[] {
  return rows.filter(({ x }) => x !== null && (along.scale === 'linear' || x > 0));
}

/** Everything that lies behind the current run's lines. */
function Behind({ behind = [], regions = [], x: view, compact }: PlotProps) {
  const x = useXAxisScale();
  const y = useYAxisScale();
  const area = usePlotArea();
  if (!x || !y || !area) return null;
  const path = (points: readonly LinePoint[]) =>
    linePath(
      points,
      (at) => x(at) as number,
      (value) => y(value) as number,
    );
  return (
    <g className="behind">
      {regions.map((region) => {
        const { from, text } = region;
        const [left, right] = stretchOn(view, region).map((at) => x(at) as number);
        return (
          <g key={`${from} ${text}`}>
            <rect
              x={left}
              y={area.y}
              width={Math.max(2, right - left)}
              height={area.height}
              className="region"
            />
            {!compact && (
              <text x={left + 4} y={area.y + area.height - 6} className="mark-label">
                {text}
              </text>
            )}
          </g>
        );
      })}
      {behind.map(({ id, points, raw, colour, dash }) => (
        <g key={id} fill="none" stroke={colour} strokeWidth={1.5}>
          {raw && <path d={path(raw)} className="behind-line raw" />}
          <path d={path(points)} className="behind-line" strokeDasharray={dash} />
        </g>
      ))}
    </g>
  );
}

function Overlay(props: PlotProps) {
  const { marks = [], triangles = [], goal, compact, x: view } = props;
  const x = useXAxisScale();
  const y = useYAxisScale();
  const area = usePlotArea();
  if (!x || !y || !area) return null;
  const bottom = area.y + area.height;
  const left = (step: number) => {
    const at = view.of(step);
    return at === undefined ? undefined : (x(at) as number);
  };
  const goalTop = goal ? (y(goal.value) as number) : Number.NaN;
  return (
    <g className="overlay">
      {goal && Number.isFinite(goalTop) && (
        <line
          x1={area.x}
          x2={area.x + area.width}
          y1={goalTop}
          y2={goalTop}
          stroke={goal.colour}
          strokeWidth={1.5}
          strokeDasharray="6 4"
        />
      )}
      {marks.map((mark) => {
        const at = left(mark.step);
        return (
          at !== undefined && (
            <g key={`${mark.step} ${mark.text}`}>
              <line
                x1={at}
                x2={at}
                y1={area.y - 4}
                y2={bottom}
                stroke="var(--ink-soft)"
                strokeDasharray="1 2"
              />
              {!compact && (
                <text x={at + 4} y={area.y - 4} className="mark-label">
                  {mark.text}
                </text>
              )}
            </g>
          )
        );
      })}
      {triangles.map(({ step, value }) => {
        const at = left(step);
        const wanted = value === undefined ? Number.NaN : (y(value) as number);
        const top = Number.isFinite(wanted) ? wanted : bottom - 6;
        return (
          at !== undefined && (
            <path key={step} d={`M${at},${top - 5} l5,9 h-10 z`} className="triangle" />
          )
        );
      })}
      {!compact && (
        <>
          <Labels {...props} />
          <text x={area.x + area.width + 22} y={bottom + 15} className="axis-title">
            {view.name}
          </text>
        </>
      )}
      <Crosshair view={view} />
    </g>
  );
}

/** Names and values at the lines' ends; the values are those at the crosshair while it is shown. */
function Labels({ rows, series, behind = [], goal, x: view }: PlotProps) {
  const at = usePointer((state) => state.x);
  const x = useXAxisScale();
  const y = useYAxisScale();
  const area = usePlotArea();
  if (!x || !y || !area) return null;
  const lines = [
    ...series.flatMap(({ key, value = key, label, colour }) => {
      const points = pointsOf(rows, key);
      return label === undefined
        ? []
        : [{ id: key, label, colour, points, raw: pointsOf(rows, value) }];
    }),
    ...behind,
  ];
  const ends = lines.flatMap(({ id, label, colour, points, raw = points }) => {
    const end = points.findLast(([, value]) => value !== null);
    if (!end) return [];
    const measured = at !== undefined && at <= view.end ? valueAt(raw, at) : raw.at(-1)?.[1];
    const value = measured ?? undefined;
    const text = `${shortLabel(label)} ${formatMeasure(value)}`;
    return [{ id, text, colour, x: x(end[0]) as number, y: y(end[1]) as number }];
  });
  if (goal)
    ends.unshift({
      id: 'goal',
      text: goal.label,
      colour: goal.colour,
      x: area.x + area.width,
      y: y(goal.value) as number,
    });
  const column = area.x + area.width;
  return placeLabels(ends, area.y, area.y + area.height).map((label) => {
    // All labels stand in one column when lines of several runs end at several places.
    const left = behind.length > 0 ? column : label.x;
    return (
      <g key={label.id}>
        <path
          d={`M${label.x + 2},${label.from} H${left + 2} L${left + 8},${label.y}`}
          stroke={label.colour}
          strokeWidth={left > label.x ? 0.5 : 1}
          fill="none"
        />
        <text x={left + 11} y={label.y + 4} className="end-label" style={{ color: label.colour }}>
          {label.text}
        </text>
      </g>
    );
  });
}

function pointsOf(rows: PlotProps['rows'], key: string): LinePoint[] {
  return rows.flatMap((row): LinePoint[] => {
    const value = (row as Record<string, unknown>)[key];
    return row.x === null ? [] : [[row.x, typeof value === 'number' ? value : null]];
  });
}

/** A separate component, so that moving the pointer redraws only this line. */
function Crosshair({ view }: { view: XView }) {
  const { x: at, point } = usePointer();
  const x = useXAxisScale();
  const inverse = useXAxisInverseScale();
  const area = usePlotArea();
  if (!x || !inverse || !area) return null;
  const move = (event: React.PointerEvent<SVGRectElement>) => {
    const offset = event.clientX - event.currentTarget.getBoundingClientRect().left;
    point(view.snap(inverse(area.x + offset) as number));
  };
  const left = at === undefined || at > view.end ? Number.NaN : (x(at) as number);
  return (
    <>
      {Number.isFinite(left) && (
        <line
          x1={left}
          x2={left}
          y1={area.y}
          y2={area.y + area.height}
          className="crosshair"
          stroke="var(--ink)"
          strokeWidth={1}
        />
      )}
      <rect
        x={area.x}
        y={area.y}
        width={area.width}
        height={area.height}
        fill="transparent"
        className="pointer-area"
        onPointerMove={move}
        onPointerDown={move}
        onPointerLeave={() => point(undefined)}
      />
    </>
  );
}
