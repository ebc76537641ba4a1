// A student's experts over the steps: how a layer's tokens are shared among them, how undecided
// each layer's router is, and in words which experts are dead.

import { useState } from 'react';
import { deadExperts, named, relativeEntropy } from '../../doctor/expert-use';
import type { EvaluationRecord, ExpertUse } from '../../worker/protocol';
import { regionsIn, type ShownRun } from '../run/shown-run';
import { formatTick } from '../shared/format';
import { thinEvaluations } from './compare';
import { Figure, type FigureProps } from './Figure';
import { lineStyle } from './line-style';
import { linearAxis } from './scale';
import type { XView } from './x-axis';

const MAX_POINTS = 200;
/** More lines would not be told apart; the table and the CSV have all experts. */
const MOST_LINES = 8;
/** Points of a line that are few enough to be marked. */
const DOTTED = 60;

type Measured = EvaluationRecord & { experts: ExpertUse[] };

/** Of each layer, how many experts it has. */
const sizesOf = ({ experts }: Measured): string => experts.map(({ load }) => load.length).join();

export default function Experts({ run, x }: { run: ShownRun; x: XView }) {
  const [chosen, setChosen] = useState<number>();
  const all = run.history.evaluations.filter(
    (record): record is Measured => record.experts !== undefined,
  );
  const last = all.at(-1);
  if (!last) return null;
  // A run's file may come from anywhere; a student's sizes stay.
  const measured = all.filter((record) => sizesOf(record) === sizesOf(last));
  // What the Doctor speaks of is shown until a person chooses.
  const meant = last.experts.findIndex(({ layer }) => layer === regionOf(run)?.layer);
  const place = Math.min(chosen ?? Math.max(0, meant), last.experts.length - 1);
  return (
    <section className="experts" aria-label="Experts">
      {last.experts.length > 1 && (
        <label className="help">
          Experts of{' '}
          <select
            className="tool"
            value={place}
            onChange={(event) => setChosen(Number(event.target.value))}
          >
            {last.experts.map(({ layer }, index) => (
              <option key={layer} value={index}>
                layer {layer}
              </option>
            ))}
          </select>
        </label>
      )}
      <LoadChart run={run} x={x} measured={measured} place={place} />
      <EntropyChart run={run} x={x} measured={measured} />
      <DeadExperts record={last} />
    </section>
  );
}

/** Where experts are idle, their lines lie where a region's name would stand. */
const unnamedRegions = (run: ShownRun) =>
  regionsIn(run, 'experts').map((region) => ({ ...region, text: '' }));

const regionOf = ({ diagnosis }: ShownRun) => diagnosis?.verdicts[0]?.region;

interface ChartProps {
  run: ShownRun;
  x: XView;
  measured: readonly Measured[];
}

function LoadChart({ place, ...props }: ChartProps & { place: number }) {
  const last = props.measured[props.measured.length - 1].experts[place];
  const busiest = last.load
    .map((_, expert) => expert)
    .sort((a, b) => last.load[b] - last.load[a])
    .slice(0, MOST_LINES);
  const even = 100 / last.load.length;
  return (
    <Lines
      {...props}
      title="Expert load"
      unit={`% of choices, layer ${last.layer}, held-out text`}
      term="expertLoad"
      names={last.load.map((_, expert) => `expert ${expert}`)}
      drawn={busiest.sort((a, b) => a - b)}
      figures={({ experts }) => experts[place].load.map((share) => 100 * share)}
      format={(share) => share.toFixed(share < 10 ? 1 : 0)}
      axis={(values) => linearAxis([...values, even], 4, true)}
      regions={regionOf(props.run)?.layer === last.layer ? unnamedRegions(props.run) : []}
      goal={{ value: even, label: `even ${formatTick(even)}`, colour: 'var(--ink-soft)' }}
      csv={(record) =>
        record.experts.flatMap(({ layer, load }) =>
          load.map((share, expert) => [record.step, layer, expert, share]),
        )
      }
      csvHead={['step', 'layer', 'expert', 'share']}
    />
  );
}

function EntropyChart(props: ChartProps) {
  const [{ experts }] = props.measured;
  return (
    <Lines
      {...props}
      title="Router entropy"
      unit="of ln E, held-out text"
      term="routerEntropy"
      names={experts.map(({ layer }) => `layer ${layer}`)}
      drawn={experts.map((_, place) => place).slice(0, MOST_LINES)}
      figures={({ experts }) => experts.map(relativeEntropy)}
      format={(value) => value.toFixed(2)}
      axis={() => linearAxis([0, 1], 4, true)}
      csv={({ step, experts }) =>
        experts.map(({ layer, entropy, load }) => [step, layer, load.length, entropy])
      }
      csvHead={['step', 'layer', 'experts', 'entropy in nats']}
    />
  );
}

/** One line for each expert, or for each layer. */
function Lines({
  run,
  x,
  measured,
  title,
  unit,
  term,
  names,
  drawn,
  figures,
  format,
  axis,
  goal,
  regions,
  csv,
  csvHead,
}: ChartProps &
  Pick<FigureProps, 'title' | 'unit' | 'goal' | 'regions'> & {
    term: 'expertLoad' | 'routerEntropy';
    names: string[];
    /** The places of the lines that are drawn. */
    drawn: number[];
    figures: (record: Measured) => number[];
    format: (value: number) => string;
    axis: (values: number[]) => FigureProps['axis'];
    csv: (record: Measured) => number[][];
    csvHead: string[];
  }) {
  const shown = thinEvaluations(measured, MAX_POINTS) as Measured[];
  const rows = shown.map((record) => ({
    x: x.of(record.step) ?? null,
    ...Object.fromEntries(figures(record).map((value, i) => [names[i], value])),
  }));
  return (
    <Figure
      title={title}
      unit={unit}
      terms={{ title: term }}
      rows={rows}
      series={drawn.map((place) => ({
        ...lineStyle(place),
        key: names[place],
        label: names[place],
        width: 2,
        dots: rows.length <= DOTTED,
      }))}
      x={x}
      axis={axis(shown.flatMap(figures))}
      formatValue={formatTick}
      marks={run.marks}
      regions={regions}
      goal={goal}
      now={run.history.lastStep}
      readout={(step) => {
        const record = measured.findLast((candidate) => candidate.step <= step);
        if (!record || step > run.history.lastStep) return undefined;
        return figures(record).map(format).join(' · ');
      }}
      table={{
        head: ['step', ...names],
        rows: shown.map((record) => [record.step, ...figures(record).map(format)]),
        note: `${shown.length} of ${measured.length} evaluations. The CSV has all of them.`,
      }}
      csv={() => [csvHead, ...measured.flatMap(csv)].map((line) => `${line.join(',')}\n`).join('')}
    />
  );
}

function DeadExperts({ record }: { record: Measured }) {
  const dead = record.experts.flatMap((use) => {
    const experts = deadExperts(use);
    return experts.length === 0 ? [] : [`${named(experts)} of layer ${use.layer}`];
  });
  const tokens = `${record.tokens.toLocaleString('en')} held-out tokens`;
  return (
    <p className="help">
      {dead.length === 0
        ? `No expert is dead: at step ${record.step}, each was chosen by some of ${tokens}.`
        : `Dead at step ${record.step}: ${dead.join('; ')}. None of ${tokens} chose them.`}
    </p>
  );
}
