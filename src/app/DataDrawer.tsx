// What both models read: the built-in book, or a text file of the user's own. It is read here and sent to the worker as it is.

import { useRef, useState } from 'react';
import { formatBytes } from './format';
import { isActive } from './run';
import { useRun } from './store';

/** As many as the worker takes (data/corpus.ts); larger files are not even read. */
const MAX_BYTES = 20_000_000;

export function DataDrawer() {
  const corpus = useRun((state) => state.corpus);
  const setCorpus = useRun((state) => state.setCorpus);
  const locked = useRun((state) => isActive(state.phase));
  const report = useRun((state) => state.run?.report);
  const [problem, setProblem] = useState<string>();
  const [over, setOver] = useState(false);
  const input = useRef<HTMLInputElement>(null);

  const take = async (file: File | undefined) => {
    if (!file || locked) return;
    if (file.size === 0) return setProblem(`${file.name} is empty. Choose a text of a few thousand words.`);
    if (file.size > MAX_BYTES) {
      return setProblem(
        `${file.name} has ${formatBytes(file.size)}. A text may have ${formatBytes(MAX_BYTES)}. Cut it and choose it again.`,
      );
    }
    try {
      setCorpus({ name: file.name, bytes: await file.arrayBuffer() });
      setProblem(undefined);
    } catch (error) {
      setProblem(`${file.name} could not be read: ${error instanceof Error ? error.message : error}. Choose it again.`);
    }
  };

  return (
    <details className="fold">
      <summary>
        <span>Data</span>
        <span className={corpus ? 'changed-count' : 'fold-value'}>{corpus ? corpus.name : 'Moby-Dick, built in'}</span>
      </summary>
      {/* biome-ignore lint/a11y/noStaticElementInteractions: dropping is the second way, the button is the first */}
      <div
        className={`drop${over ? ' over' : ''}`}
        onDragOver={(event) => {
          event.preventDefault();
          setOver(!locked);
        }}
        onDragLeave={() => setOver(false)}
        onDrop={(event) => {
          event.preventDefault();
          setOver(false);
          void take(event.dataTransfer.files[0]);
        }}
      >
        <p>
          {corpus
            ? `${corpus.name}, ${formatBytes(corpus.bytes.byteLength)}.`
            : 'Moby-Dick; or, The Whale. It comes with the page.'}
          {!corpus &&
            report &&
            ` ${report.trainTokens.toLocaleString('en')} tokens to train on, ${report.heldOutTokens.toLocaleString('en')} held out.`}
        </p>
        <input
          ref={input}
          type="file"
          accept=".txt,text/plain"
          className="visually-hidden"
          aria-label="Text file"
          disabled={locked}
          tabIndex={-1}
          onChange={(event) => {
            void take(event.target.files?.[0]);
            event.target.value = '';
          }}
        />
        <div className="drop-tools">
          <button type="button" className="quiet outlined" disabled={locked} onClick={() => input.current?.click()}>
            Choose a .txt file
          </button>
          {corpus && (
            <button type="button" className="quiet" disabled={locked} onClick={() => setCorpus(undefined)}>
              Back to the book
            </button>
          )}
        </div>
        <p className="help">
          {locked
            ? 'Fixed while a run exists.'
            : 'Or drop one here. UTF-8 text; it stays in this tab and is not part of the link.'}
        </p>
        {problem && (
          <p className="field-problem" role="alert">
            {problem}
          </p>
        )}
      </div>
    </details>
  );
}
