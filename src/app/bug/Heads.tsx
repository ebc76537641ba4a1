// The second bug, which raises nothing: heads made by reshape instead of transpose. Both models
// side by side, their losses, and what each head attends to.

import { useState } from 'react';
import type { AttentionPicture } from '../../worker/protocol';
import { Figure } from '../charts/Figure';
import { linearAxis } from '../charts/scale';
import { stepView } from '../charts/x-axis';
import { formatMeasure, plural } from '../shared/format';
import { Choice } from './Choice';
import { HeatMap } from './HeatMap';
import { HEADS_CODE } from './listing';
import { RunBar } from './RunBar';
import { commonEvaluation, measuredPerplexity, totalsOf } from './script';
import { meanLookBack, quoteToken, weightsByToken } from './slices';
import type { BugLabRun, ColumnRun } from './store';
import { useBugLab } from './store';

const NAMES = { transposed: 'correct', reshaped: 'legal but wrong' } as const;
const OPERATIONS = { transposed: 'transpose', reshaped: 'reshape' } as const;
type Variant = keyof typeof NAMES;
const VARIANTS = Object.keys(NAMES) as Variant[];

export function Heads() {
  const run = useBugLab((state) => state.runs.heads);
  const axes = useBugLab((state) => state.settings.heads.axes);
  const choose = useBugLab((state) => state.choose);
  const [query, setQuery] = useState(0);
  const common = run && commonEvaluation(VARIANTS.map((variant) => run.columns[variant]));
  const picture = run && (run.columns.reshaped?.picture ?? run.columns.transposed?.picture);
  return (
    <>
      <section className="bug-intro" aria-labelledby="heads-title">
        <h2 id="heads-title">The bug that raises nothing</h2>
        <p>
          Attention needs queries of shape <code>(B, H, T, D)</code>. They arrive as{' '}
          <code>(B, T, C)</code>, with C = H·D. One reshape gives the shape: it is legal, raises
          nothing, and is wrong. It keeps the elements in their order, so head h gets only tokens
          h·T/H to (h + 1)·T/H − 1, each cut into H slices that are treated as tokens. The harm is
          lost context: no query can look further back than T/H − 1 tokens. Two students train from
          the same seed and differ only in this.
        </p>
        <RunBar label="Train both" />
      </section>
      {run && <HeadsLoss run={run} />}
      {run && <LossVerdict run={run} />}
      {picture && (
        <div className="bug-tools heads-tools">
          <Choice
            legend="Rows and columns"
            value={axes}
            choices={[
              { value: 'real', label: 'actual tokens' },
              { value: 'claimed', label: 'tokens the code assumes' },
            ]}
            onChoose={(value) => choose({ axes: value })}
          />
          <Query picture={picture} query={query} onQuery={setQuery} />
        </div>
      )}
      <section className="bug-pair" aria-label="Two models">
        {VARIANTS.map((variant) => (
          <Model
            key={variant}
            variant={variant}
            column={run?.columns[variant]}
            step={common}
            actualTokens={axes === 'real'}
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
  const label = `${query} of ${last}, ${quoteToken(picture.tokens[query])}`;
  return (
    <label className="query">
      <span>
        Query row <b>{label}</b>
      </span>
      <input
        type="range"
        min={0}
        max={last}
        value={query}
        aria-valuetext={label}
        style={{ '--filled': `${(100 * query) / last}%` } as React.CSSProperties}
        onChange={(event) => onQuery(Number(event.target.value))}
      />
    </label>
  );
}

function Model({
  variant,
  column,
  step,
  actualTokens,
  query,
  onQuery,
}: {
  variant: Variant;
  column?: ColumnRun;
  /** The last step at which both models were evaluated. */
  step?: number;
  /** Show the weights by the tokens that the rows hold, not those that the code assumes. */
  actualTokens: boolean;
  query: number;
  onQuery: (query: number) => void;
}) {
  const totals = column && totalsOf(column);
  const picture = column?.picture;
  const T = picture?.tokens.length ?? 0;
  const H = picture?.heads.length ?? 0;
  const heads = picture?.heads.map((weights, head) =>
    variant === 'reshaped' && actualTokens ? weightsByToken(weights, head, T, H) : weights,
  );
  return (
    <section
      className="bug-column"
      aria-labelledby={`heads-${variant}`}
      data-testid={`heads-${variant}`}
    >
      <h3 id={`heads-${variant}`}>
        <code>{OPERATIONS[variant]}</code> <span className="unit">{NAMES[variant]}</span>
      </h3>
      <pre tabIndex={0} className="listing">
        {HEADS_CODE[variant].join('\n')}
      </pre>
      {totals && (
        <dl className="bug-figures">
          <div>
            <dt>held-out perplexity{step !== undefined && ` at step ${step}`}</dt>
            <dd>{measuredPerplexity(evaluationAt(column, step))}</dd>
          </div>
          <div>
            <dt>errors raised</dt>
            <dd>{totals.raised + totals.failed}</dd>
          </div>
          {picture && (
            <div>
              <dt>a query looks back</dt>
              <dd>{describeLookBack(picture, variant)}</dd>
            </div>
          )}
        </dl>
      )}
      {picture && heads && (
        <div className="heat-maps">
          {heads.map((weights, head) => (
            <HeatMap
              // biome-ignore lint/suspicious/noArrayIndexKey: a head is identified by its number
              key={head}
              operation={OPERATIONS[variant]}
              head={head}
              headCount={H}
              tokens={picture.tokens}
              weights={weights}
              scrambled={variant === 'reshaped' && !actualTokens}
              query={query}
              onQuery={onQuery}
            />
          ))}
        </div>
      )}
    </section>
  );
}

const evaluationAt = (column: ColumnRun | undefined, step: number | undefined) =>
  column?.evaluations.find(({ record }) => record.step === step)?.record;

/** The most tokens that a query can look back. */
function farthest({ heads, tokens }: AttentionPicture, variant: Variant): number {
  return (variant === 'reshaped' ? tokens.length / heads.length : tokens.length) - 1;
}

function describeLostContext(picture: AttentionPicture): string {
  const reshaped = plural(farthest(picture, 'reshaped'), 'token');
  return (
    `A query of the reshaped model sees at most ${reshaped} back, a query of the correct model ` +
    `up to ${farthest(picture, 'transposed')}.`
  );
}

/** How far back queries attend, in tokens of the text. */
function describeLookBack(picture: AttentionPicture, variant: Variant): string {
  const { heads, tokens } = picture;
  const T = tokens.length;
  const distances = heads.map((weights, head) =>
    meanLookBack(
      variant === 'reshaped' ? weightsByToken(weights, head, T, heads.length) : weights,
      T,
    ),
  );
  const mean = distances.reduce((a, b) => a + b, 0) / distances.length;
  const most = farthest(picture, variant);
  return `${formatMeasure(mean)} tokens on average, ${plural(most, 'token')} at most`;
}

/** A perplexity that is so much higher shows the lost context by itself. */
const VISIBLE_HARM = 1.05;

/** The figures that a log would show, and the harm that they may not show. */
function LossVerdict({ run }: { run: BugLabRun }) {
  const [right, wrong] = VARIANTS.map(
    (variant) => run.columns[variant]?.ended && totalsOf(run.columns[variant] as ColumnRun),
  );
  if (right?.lastLoss === undefined || wrong?.lastLoss === undefined) return null;
  const picture = run.columns.reshaped?.picture;
  const [correct, scrambled] = [right, wrong].map((totals) => totals.evaluation?.studentPerplexity);
  const shows = correct && scrambled && scrambled > VISIBLE_HARM * correct;
  return (
    <p className="bug-verdict" data-testid="loss-verdict">
      After {plural(right.steps, 'step')} the losses are {right.lastLoss.toFixed(3)} and{' '}
      {wrong.lastLoss.toFixed(3)}, and the held-out perplexities{' '}
      {measuredPerplexity(right.evaluation)} and {measuredPerplexity(wrong.evaluation)}. Neither run
      raised an error.{' '}
      {shows
        ? 'The harm is lost context, and here the perplexity shows it.'
        : 'The harm is lost context, which these figures do not reveal.'}
      {picture && ` ${describeLostContext(picture)}`}
    </p>
  );
}

function HeadsLoss({ run }: { run: BugLabRun }) {
  const losses = Object.fromEntries(
    VARIANTS.map((variant) => [
      variant,
      run.columns[variant]?.attempts.map(({ record }) => record?.loss) ?? [],
    ]),
  ) as Record<Variant, (number | undefined)[]>;
  const steps = Math.max(...VARIANTS.map((variant) => losses[variant].length));
  if (steps === 0) return null;
  const rows = Array.from({ length: steps }, (_, index) => ({
    x: index + 1,
    transposed: losses.transposed[index],
    reshaped: losses.reshaped[index],
  }));
  const text = (value: number | undefined) => value?.toFixed(4) ?? 'n/a';
  return (
    <div className="heads-loss">
      <Figure
        title="Training loss"
        unit="nats per token"
        rows={rows}
        series={[
          {
            key: 'transposed',
            colour: 'var(--teacher)',
            width: 1.5,
            dash: '6 3',
            label: 'transpose',
          },
          {
            key: 'reshaped',
            colour: 'var(--student)',
            width: 1.75,
            label: 'reshape',
          },
        ]}
        x={stepView(steps)}
        axis={linearAxis(VARIANTS.flatMap((variant) => losses[variant]))}
        readout={(step) => {
          const row = rows[step - 1];
          return row && `transpose ${text(row.transposed)} · reshape ${text(row.reshaped)}`;
        }}
        table={{
          head: ['step', 'transpose', 'reshape'],
          rows: rows.map((row) => [row.x, text(row.transposed), text(row.reshaped)]),
        }}
        csv={() =>
          [
            'step,transpose,reshape',
            ...rows.map((row) => [row.x, row.transposed ?? 'n/a', row.reshaped ?? 'n/a'].join(',')),
            '',
          ].join('\n')
        }
      />
    </div>
  );
}
