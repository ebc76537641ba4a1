// A slider through what the student said, from before training to now. At its end it follows the
// run.

import type { CSSProperties } from 'react';
import { formatTick } from '../shared/format';
import type { Stop } from './sample-stops';

export function Scrubber({
  stops,
  at,
  choose,
}: {
  stops: readonly Stop[];
  /** The chosen stop's index. */
  at: number;
  choose: (index: number) => void;
}) {
  const last = stops.length - 1;
  const { step, sample, newPrompt } = stops[at];
  const prompt = newPrompt ? `, new prompt “${sample.prompt}”` : '';
  return (
    <div className="scrubber">
      <input
        type="range"
        min={0}
        max={last}
        step={1}
        value={at}
        style={{ '--filled': `${(100 * at) / last}%` } as CSSProperties}
        aria-label="What the student said after step"
        aria-valuetext={`step ${step}${prompt}: ${sample.prompt}${sample.student}`}
        onChange={(event) => choose(Number(event.target.value))}
      />
      <ol className="scrubber-stops" aria-hidden="true">
        {stops.map((stop, index) => (
          <li
            key={stop.step}
            className={index === at ? 'here' : undefined}
            style={{ '--place': index / last } as CSSProperties}
            title={stop.newPrompt ? `The prompt became “${stop.sample.prompt}”` : undefined}
          >
            {stop.newPrompt && <span className="new-prompt">◆</span>}
            {formatTick(stop.step)}
          </li>
        ))}
      </ol>
    </div>
  );
}
