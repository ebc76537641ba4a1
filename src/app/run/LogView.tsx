// The log, in the style of the script that this project grew from: a line for each evaluation, and
// for whatever else happened.

import { useLayoutEffect, useRef } from 'react';
import { logLines } from './log';
import type { ShownRun } from './shown-run';

export function LogView({ run }: { run: ShownRun }) {
  const list = useRef<HTMLOListElement>(null);
  const reading = useRef(false);
  const lines = logLines(run);
  useLayoutEffect(() => {
    const element = list.current;
    if (element && !reading.current) element.scrollTop = element.scrollHeight;
  });
  // Whoever has scrolled up is reading: the log stays in place.
  const onScroll = (event: React.UIEvent<HTMLOListElement>) => {
    const { scrollHeight, scrollTop, clientHeight } = event.currentTarget;
    reading.current = scrollHeight - scrollTop - clientHeight > 24;
  };
  return (
    <section className="log" aria-label="Log">
      <ol ref={list} tabIndex={0} onScroll={onScroll} data-testid="log">
        {lines.length === 0 && <li className="note">The log starts with the first evaluation.</li>}
        {lines.map((line, index) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: a recovered step may log the same twice
          <li key={index} className={line.problem ? 'problem' : line.kind}>
            {line.text}
          </li>
        ))}
      </ol>
    </section>
  );
}
