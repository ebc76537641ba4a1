// The log, in the style of the script that this project grew from: a line an evaluation, and
// whatever else happened.

import { useLayoutEffect, useRef } from 'react';
import type { ShownRun } from './shown-run';
import { evaluationLine } from './shown-run';

/** More lines would only be scrolled past; the CSV of the perplexity chart has every evaluation. */
const MAX_LINES = 300;

interface LogLine {
  step: number;
  text: string;
  kind: (typeof ORDER)[number];
  problem: boolean;
}

export function LogView({ run }: { run: ShownRun }) {
  const list = useRef<HTMLOListElement>(null);
  const reading = useRef(false);
  const lines = logLines(run);
  useLayoutEffect(() => {
    const element = list.current;
    if (element && !reading.current) element.scrollTop = element.scrollHeight;
  });
  // Someone who scrolled up is reading: the log then stays where it is.
  const onScroll = (event: React.UIEvent<HTMLOListElement>) => {
    const { scrollHeight, scrollTop, clientHeight } = event.currentTarget;
    reading.current = scrollHeight - scrollTop - clientHeight > 24;
  };
  return (
    <section className="log" aria-label="Log">
      <ol ref={list} tabIndex={0} onScroll={onScroll} data-testid="log">
        {lines.length === 0 && <li className="note">The log begins with the first evaluation.</li>}
        {lines.map((line, index) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: a step that was recovered may say the same twice
          <li key={index} className={line.problem ? 'problem' : line.kind}>
            {line.text}
          </li>
        ))}
      </ol>
    </section>
  );
}

/** Within one step: what happened in it, what was measured after it, what ended it. */
const ORDER = ['skipped', 'changed', 'evaluation', 'note', 'stopped'] as const;

/** Evaluations and events by step. */
export function logLines(run: ShownRun): LogLine[] {
  const { evaluations } = run.history;
  const from = Math.max(0, evaluations.length - MAX_LINES);
  const measured = evaluations.slice(from).map((record, index) => ({
    step: record.step,
    text: evaluationLine(run, from + index),
    kind: 'evaluation' as const,
    problem: record.failed > 0,
  }));
  const lines: LogLine[] = [
    ...run.events.map((event) => ({ ...event, problem: event.kind === 'stopped' })),
    ...measured,
  ];
  return lines
    .sort((a, b) => a.step - b.step || ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind))
    .slice(-MAX_LINES);
}
