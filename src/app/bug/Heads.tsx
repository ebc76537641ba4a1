// The second bug, which raises nothing: heads made by reshape where a transpose was meant. Both
// models side by side, what their losses say, and what each head sees.

import { useState } from 'react';
import type { AttentionPicture } from '../../worker/protocol';
import { Figure } from '../charts/Figure';
import { linearAxis } from '../charts/scale';
import { formatMeasure, plural } from '../shared/format';
import { Choice } from './Choice';
import { HeatMap } from './HeatMap';
import { HEADS_CODE } from './listing';
import { RunBar } from './RunBar';
import { honestPerplexity, totalsOf } from './script';
import { byToken, meanDistance, readable } from './slices';
import type { ColumnRun, LabRun } from './store';
import { useBug } from './store';

const NAMES = { transposed: 'as it should be', reshaped: 'legal, and wrong' } as const;
const OPERATION = { transposed: 'transpose', reshaped: 'reshape' } as const;
type Way = keyof typeof NAMES;
const WAYS = Object.keys(NAMES) as Way[];

export function Heads() {
  const run = useBug((state) => state.runs.heads);
  const axes = useBug((state) => state.settings.heads.axes);
  const choose = useBug((state) => state.choose);
  const [query, setQuery] = useState(0);
  const picture = run && (run.columns.reshaped?.picture ?? run.columns.transposed?.picture);
  return (
    <>
      <section className="bug-intro" aria-labelledby="heads-title">
        <h2 id="heads-title">The bug that raises nothing</h2>
        <p>
          Attention wants queries as <code>(B, H, T, D)</code>. They come as <code>(B, T, C)</code>,
          with C = H·D. Reshape gives that shape at once: it is legal, it raises nothing, and it is
          wrong. It keeps the elements in their order, so head h gets the tokens h·T/H to (h +
          1)·T/H − 1, each cut into H slices that pass for tokens. Two students train from the same
          seed; only this differs.
        </p>
        <RunBar label="Train both" />
      </section>
      {run && <HeadsLoss run={run} />}
      {run && <Hardly run={run} />}
      {picture && (
        <div className="bug-tools heads-tools">
          <Choice
            legend="Rows and columns as"
            value={axes}
            choices={[
              { value: 'real', label: 'the tokens they hold' },
              { value: 'claimed', label: 'the code takes them' },
            ]}
            onChoose={(value) => choose({ axes: value })}
          />
          <Query picture={picture} query={query} onQuery={setQuery} />
        </div>
      )}
      <section className="bug-pair" aria-label="Two models">
        {WAYS.map((way) => (
          <Model
            key={way}
            way={way}
            column={run?.columns[way]}
            real={axes === 'real'}
            query={query}
            onQuery={setQuery}
          />
        ))}
      </section>
    </>
  );
}

function Query({
  picture,
  query,
  onQuery,
}: {
  picture: AttentionPicture;
  query: number;
  onQuery: (query: number) => void;
}) {
  const last = picture.tokens.length - 1;
  const said = `${query} of ${last}, ${readable(picture.tokens[query])}`;
  return (
    <label className="query">
      <span>
        Query row <b>{said}</b>
      </span>
      <input
        type="range"
        min={0}
        max={last}
        value={query}
        aria-valuetext={said}
        style={{ '--filled': `${(100 * query) / last}%` } as React.CSSProperties}
        onChange={(event) => onQuery(Number(event.target.value))}
      />
    </label>
  );
}

function Model({
  way,
  column,
  real,
  query,
  onQuery,
}: {
  way: Way;
  column?: ColumnRun;
  real: boolean;
  query: number;
  onQuery: (query: number) => void;
}) {
  const totals = column && totalsOf(column);
  const picture = column?.picture;
  const T = picture?.tokens.length ?? 0;
  const H = picture?.heads.length ?? 0;
  const heads = picture?.heads.map((weights, head) =>
    way === 'reshaped' && real ? byToken(weights, head, T, H) : weights,
  );
  return (
    <section className="bug-column" aria-labelledby={`heads-${way}`} data-testid={`heads-${way}`}>
      <h3 id={`heads-${way}`}>
        <code>{OPERATION[way]}</code> <span className="unit">{NAMES[way]}</span>
      </h3>
      <pre tabIndex={0} className="listing">
        {HEADS_CODE[way].join('\n')}
      </pre>
      {totals && (
        <dl className="bug-figures">
          <div>
            <dt>perplexity, held out</dt>
            <dd>{honestPerplexity(totals.evaluation)}</dd>
          </div>
          <div>
            <dt>errors raised</dt>
            <dd>{totals.raised + totals.failed}</dd>
          </div>
          {picture && (
            <div>
              <dt>a query looks back</dt>
              <dd>{lookBack(picture, way)}</dd>
            </div>
          )}
        </dl>
      )}
      {picture && heads && (
        <div className="heat-maps">
          {heads.map((weights, head) => (
            <HeatMap
              // biome-ignore lint/suspicious/noArrayIndexKey: a head is its number
              key={head}
              of={OPERATION[way]}
              head={head}
              heads={H}
              tokens={picture.tokens}
              weights={weights}
              scrambled={way === 'reshaped' && !real}
              query={query}
              onQuery={onQuery}
            />
          ))}
        </div>
      )}
    </section>
  );
}

/** In tokens of the text, whatever the rows are taken for. */
function lookBack({ heads, tokens }: AttentionPicture, way: Way): string {
  const T = tokens.length;
  const distances = heads.map((weights, head) =>
    meanDistance(way === 'reshaped' ? byToken(weights, head, T, heads.length) : weights, T),
  );
  const farthest = way === 'reshaped' ? T / heads.length - 1 : T - 1;
  const mean = distances.reduce((a, b) => a + b, 0) / distances.length;
  return `${formatMeasure(mean)} tokens on average, ${plural(farthest, 'token')} at the most`;
}

/** How little the loss says about it. */
function Hardly({ run }: { run: LabRun }) {
  const [right, wrong] = WAYS.map(
    (way) => run.columns[way]?.ended && totalsOf(run.columns[way] as ColumnRun),
  );
  if (right?.lastLoss === undefined || wrong?.lastLoss === undefined) return null;
  return (
    <p className="bug-verdict" data-testid="hardly">
      After {plural(right.steps, 'step')} the losses are {right.lastLoss.toFixed(3)} and{' '}
      {wrong.lastLoss.toFixed(3)}, with no error in either. The loss alone would not send you
      looking; the attention does.
    </p>
  );
}

function HeadsLoss({ run }: { run: LabRun }) {
  const losses = Object.fromEntries(
    WAYS.map((way) => [way, run.columns[way]?.attempts.map(({ record }) => record?.loss) ?? []]),
  ) as Record<Way, (number | undefined)[]>;
  const steps = Math.max(...WAYS.map((way) => losses[way].length));
  if (steps === 0) return null;
  const rows = Array.from({ length: steps }, (_, index) => ({
    step: index + 1,
    transposed: losses.transposed[index],
    reshaped: losses.reshaped[index],
  }));
  const said = (value: number | undefined) => value?.toFixed(4) ?? 'n/a';
  const last = (way: Way) => formatMeasure(losses[way].at(-1));
  return (
    <div className="heads-loss">
      <Figure
        title="Training loss"
        unit="nats a token"
        rows={rows}
        series={[
          {
            key: 'transposed',
            colour: 'var(--teacher)',
            width: 1.5,
            dash: '6 3',
            label: `transpose ${last('transposed')}`,
          },
          {
            key: 'reshaped',
            colour: 'var(--student)',
            width: 1.75,
            label: `reshape ${last('reshaped')}`,
          },
        ]}
        lastStep={steps}
        axis={linearAxis(WAYS.flatMap((way) => losses[way]))}
        readout={(step) => {
          const row = rows[step - 1];
          return row && `transpose ${said(row.transposed)} · reshape ${said(row.reshaped)}`;
        }}
        table={{
          head: ['step', 'transpose', 'reshape'],
          rows: rows.map((row) => [row.step, said(row.transposed), said(row.reshaped)]),
        }}
        csv={() =>
          `step,transpose,reshape\n${rows.map((row) => [row.step, row.transposed ?? 'n/a', row.reshaped ?? 'n/a'].join(',')).join('\n')}\n`
        }
      />
    </div>
  );
}
