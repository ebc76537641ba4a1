// One plot. Recharts draws axes and lines; this file adds labels at the ends of the lines, marks
// and the pointer.

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
import { formatTick } from '../shared/format';
import { usePointer } from './pointer';
import type { Axis } from './scale';
import { stepAxis } from './scale';

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
  /** Text at the end of the line. */
  label?: string;
}

export interface PlotProps {
  rows: readonly object[];
  series: readonly PlotSeries[];
  lastStep: number;
  axis: Axis;
  /** Formats the values of the vertical axis. */
  formatValue?: (value: number) => string;
  marks?: readonly Mark[];
  /** Hollow triangles where something failed or was skipped; without a value, on the step axis. */
  triangles?: readonly { step: number; value?: number }[];
  /** A horizontal reference line. */
  goal?: { value: number; label: string; colour: string };
  compact?: boolean;
}

const LABEL_HEIGHT = 14;
/** Width in pixels of a label's character, and of the line that leads to the label. */
const CHARACTER = 6.8;
const LEADER = 14;

/** Room for the longest label. The minimum keeps the plot still while values grow. */
function labelWidth({ series, goal }: PlotProps): number {
  const longest = Math.max(
    14,
    ...series.map((line) => line.label?.length ?? 0),
    goal?.label.length ?? 0,
  );
  return Math.round(longest * CHARACTER + LEADER);
}

export default function Plot(props: PlotProps) {
  const frame = useRef<HTMLDivElement>(null);
  const { width, height } = useSize(frame);
  const { rows, series, lastStep, axis, compact } = props;
  const steps = stepAxis(lastStep, compact ? 2 : width < 480 ? 4 : 8);
  const margin = compact
    ? { top: 8, right: 12, bottom: 0, left: 0 }
    : { top: 16, right: labelWidth(props), bottom: 0, left: 0 };
  return (
    <div className="plot" ref={frame}>
      {width > 0 && height > 0 && (
        <LineChart
          data={rows as object[]}
          width={width}
          height={height}
          margin={margin}
          accessibilityLayer={false}
        >
          <CartesianGrid vertical={false} stroke="var(--hairline)" />
          <XAxis
            dataKey="step"
            type="number"
            domain={steps.domain}
            ticks={steps.ticks}
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

function Overlay({ rows, series, marks = [], triangles = [], goal, compact, lastStep }: PlotProps) {
  const x = useXAxisScale();
  const y = useYAxisScale();
  const area = usePlotArea();
  if (!x || !y || !area) return null;
  const bottom = area.y + area.height;
  const labels = series.flatMap((line) => {
    const last = line.label === undefined ? undefined : lastValue(rows, line.key);
    return last
      ? [
          {
            text: line.label as string,
            colour: line.colour,
            x: x(last.step) as number,
            y: y(last.value) as number,
          },
        ]
      : [];
  });
  if (goal)
    labels.push({
      text: goal.label,
      colour: goal.colour,
      x: area.x + area.width,
      y: y(goal.value) as number,
    });
  return (
    <g className="overlay">
      {goal && (
        <line
          x1={area.x}
          x2={area.x + area.width}
          y1={y(goal.value) as number}
          y2={y(goal.value) as number}
          stroke={goal.colour}
          strokeWidth={1.5}
          strokeDasharray="6 4"
        />
      )}
      {marks.map((mark) => (
        <g key={`${mark.step} ${mark.text}`}>
          <line
            x1={x(mark.step) as number}
            x2={x(mark.step) as number}
            y1={area.y - 4}
            y2={bottom}
            stroke="var(--ink-soft)"
            strokeDasharray="1 2"
          />
          {!compact && (
            <text x={(x(mark.step) as number) + 4} y={area.y - 4} className="mark-label">
              {mark.text}
            </text>
          )}
        </g>
      ))}
      {triangles.map(({ step, value }) => {
        const [left, top] = [
          x(step) as number,
          value === undefined ? bottom - 6 : (y(value) as number),
        ];
        return <path key={step} d={`M${left},${top - 5} l5,9 h-10 z`} className="triangle" />;
      })}
      {!compact &&
        spread(labels, area.y, bottom).map((label) => (
          <g key={label.text}>
            <path
              d={`M${label.x + 2},${label.from} L${label.x + 8},${label.y}`}
              stroke={label.colour}
              fill="none"
            />
            <text
              x={label.x + 11}
              y={label.y + 4}
              className="end-label"
              style={{ color: label.colour }}
            >
              {label.text}
            </text>
          </g>
        ))}
      <PointerLine lastStep={lastStep} />
    </g>
  );
}

function lastValue(
  rows: readonly object[],
  key: string,
): { step: number; value: number } | undefined {
  const row = rows.findLast(
    (candidate) => typeof (candidate as Record<string, unknown>)[key] === 'number',
  ) as Record<string, number> | undefined;
  return row && { step: row.step, value: row[key] };
}

/** Spreads labels inside the plot, in the order of their values, at least one line apart. */
function spread<L extends { y: number }>(
  labels: L[],
  top: number,
  bottom: number,
): (L & { from: number })[] {
  const sorted = labels.map((label) => ({ ...label, from: label.y })).sort((a, b) => a.y - b.y);
  for (let index = 0; index < sorted.length; index++) {
    const above = index === 0 ? top : sorted[index - 1].y + LABEL_HEIGHT;
    sorted[index].y = Math.max(sorted[index].y, above);
  }
  for (let index = sorted.length - 1; index >= 0; index--) {
    const below = index === sorted.length - 1 ? bottom : sorted[index + 1].y - LABEL_HEIGHT;
    sorted[index].y = Math.min(sorted[index].y, below);
  }
  return sorted;
}

/** A separate component, so that moving the pointer redraws only this line. */
function PointerLine({ lastStep }: { lastStep: number }) {
  const { step, point } = usePointer();
  const x = useXAxisScale();
  const inverse = useXAxisInverseScale();
  const area = usePlotArea();
  if (!x || !inverse || !area) return null;
  const move = (event: React.PointerEvent<SVGRectElement>) => {
    const offset = event.clientX - event.currentTarget.getBoundingClientRect().left;
    const stepUnderPointer = Math.round(inverse(area.x + offset) as number);
    point(Math.min(Math.max(stepUnderPointer, 0), lastStep));
  };
  return (
    <>
      {step !== undefined && step <= lastStep && (
        <line
          x1={x(step) as number}
          x2={x(step) as number}
          y1={area.y}
          y2={area.y + area.height}
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
