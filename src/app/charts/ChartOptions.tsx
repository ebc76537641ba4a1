// One line above the charts: their horizontal axis, smoothing, and which runs are drawn behind the
// current one. Each run has its line beside its name, so this is the legend, too.

import type { CSSProperties } from 'react';
import { useShownRun } from '../run/use-shown-run';
import { differences } from './compare';
import type { XName } from './history';
import { LOSS_LINES, lineStyle } from './line-style';
import type { Candidate } from './use-compared';
import { useCandidates, useComparedLoss, useOwnConfig } from './use-compared';
import type { ComparedLoss } from './view';
import { useChartView } from './view';
import { X_NAMES } from './x-axis';

/** A weight of 1 would never move. */
const MOST_SMOOTHING = 0.99;

export function ChartOptions() {
  const view = useChartView();
  const candidates = useCandidates();
  const run = useShownRun();
  const timed = run === undefined || run.history.xOf(run.history.lastStep, 'seconds') !== undefined;
  return (
    <section className="chart-options" aria-label="Chart options">
      <label>
        <span>x</span>
        <select
          className="tool"
          aria-label="Horizontal axis"
          value={view.x}
          onChange={(event) => view.set({ x: event.target.value as XName })}
        >
          {X_NAMES.map((name) => (
            <option key={name} value={name}>
              {name === 'seconds' && !timed ? 'seconds (not recorded)' : name}
            </option>
          ))}
        </select>
      </label>
      <button
        type="button"
        className="tool"
        aria-pressed={view.logX}
        aria-label="Logarithmic horizontal axis"
        onClick={() => view.set({ logX: !view.logX })}
      >
        log x
      </button>
      <label>
        <span>smoothing</span>
        <input
          type="range"
          min={0}
          max={MOST_SMOOTHING}
          step={0.01}
          value={view.smoothing}
          style={{ '--filled': `${(100 * view.smoothing) / MOST_SMOOTHING}%` } as CSSProperties}
          onChange={(event) => view.set({ smoothing: Number(event.target.value) })}
        />
        <span className="smoothing-value">{view.smoothing.toFixed(2)}</span>
      </label>
      {candidates.length > 0 && (
        <fieldset className="behind-runs">
          <legend>behind</legend>
          <LossOfOthers />
          {candidates.map((candidate) => (
            <BehindRun key={candidate.id} candidate={candidate} />
          ))}
        </fieldset>
      )}
    </section>
  );
}

/** Which loss of the other runs is drawn: totals of different recipes cannot be compared. */
function LossOfOthers() {
  const loss = useComparedLoss();
  const set = useChartView((view) => view.set);
  return (
    <select
      className="tool"
      aria-label="Loss of the runs behind"
      value={loss}
      onChange={(event) => set({ loss: event.target.value as ComparedLoss })}
    >
      {LOSS_LINES.map(({ measure, name }) => (
        <option key={measure} value={measure}>
          {name}
        </option>
      ))}
    </select>
  );
}

function BehindRun({ candidate: { id, label, config, shown } }: { candidate: Candidate }) {
  const { slots, choose } = useChartView();
  const current = useOwnConfig();
  const style = lineStyle(slots[id] ?? 0);
  const differs = config && differences(config, current, 2);
  return (
    <label className="behind-run" title={config && differences(config, current, 20)}>
      <input
        type="checkbox"
        checked={shown}
        onChange={(event) => choose(id, event.target.checked)}
      />
      <svg className="line-swatch" viewBox="0 0 24 8" aria-hidden="true">
        <path d="M0,4 H24" stroke={style.colour} strokeDasharray={style.dash} />
      </svg>
      {label}
      {differs && <span className="unit">{differs}</span>}
    </label>
  );
}
