// The log, in the style of the script that this project grew from: a line an evaluation, and whatever else happened.

import { useLayoutEffect, useRef } from 'react';
import type { ShownRun } from './run';
import { evaluationLine } from './run';

/** More lines would only be scrolled past; the CSV of the perplexity chart has every evaluation. */
const MAX_LINES = 300;

export function LogView({ run, commits }: { run: ShownRun; commits: number }) {
  const list = useRef<HTMLOListElement>(null);
  const reading = useRef(false);
  const lines = logLines(run);
  useLayoutEffect(() => {
    const element = list.current;
    if (element && !reading.current) element.scrollTop = element.scrollHeight;
  }, [commits]);
  // Someone who scrolled up is reading: the log then stays where it is.
  const onScroll = (event: React.UIEvent<HTMLOListElement>) => {
    const { scrollHeight, scrollTop, clientHeight } = event.currentTarget;
    reading.current = scrollHeight - scrollTop - clientHeight > 24;
  };
  return (
    <section className="log" aria-label="Log">
      <ol ref={list} tabIndex={0} onScroll={onScroll} data-testid="log">
        {lines.length === 0 && <li className="note">The log begins with the first evaluation.</li>}
        {lines.map((line, index) => <li key={index} className={line.kind}>{line.text}</li>)}
      </ol>
    </section>
  );
}

/** Evaluations and events by step; at one step what happened in it comes before what was measured after it. */
export function logLines(run: ShownRun): { step: number; text: string; kind: string }[] {
  const { evaluations } = run.history;
  const from = Math.max(0, evaluations.length - MAX_LINES);
  const measured = evaluations.slice(from).map((record, index) => ({
    step: record.step,
    text: evaluationLine(run, from + index),
    kind: record.failed > 0 ? 'problem' : 'evaluation',
  }));
  return [...run.events, ...measured].sort((a, b) => a.step - b.step).slice(-MAX_LINES);
}
