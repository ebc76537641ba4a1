// The text that both models read: a built-in one, or the user's own files or pasted text, which
// never leave the tab.

import { useEffect, useId, useRef } from 'react';
import { textOf } from '../../built-in';
import { isActive } from '../run/shown-run';
import { useRun } from '../run/store';
import { useDrop } from '../shared/dropped';
import { Fold } from '../shared/Fold';
import { formatBytes, plural } from '../shared/format';
import { DataPreview } from './DataPreview';
import { DataReading } from './DataReading';
import { FitContext } from './FitContext';
import { nameInUse, nameOf, useData } from './store';

export function DataDrawer() {
  const corpus = useRun((state) => state.corpus);
  const config = useRun((state) => state.config);
  const locked = useRun((state) => isActive(state.phase));
  const { proposed, busy, problem, draft, addFiles, setDraft, discard, clear, show } = useData();
  const pasting = draft !== undefined;
  const input = useRef<HTMLInputElement>(null);

  const { over, handlers } = useDrop(locked, ({ files }) => {
    if (files.length > 0) void addFiles([...files]);
  });
  return (
    <Fold
      title="Data"
      aside={
        <span className={corpus ? 'changed-count' : 'fold-value'}>{nameInUse(corpus, config)}</span>
      }
    >
      <div className={`drop${over ? ' over' : ''}`} {...handlers}>
        <Files />
        <input
          ref={input}
          type="file"
          multiple
          accept=".txt,.jsonl,.ndjson,.csv,text/plain,text/csv"
          className="visually-hidden"
          aria-label="Data files"
          disabled={locked}
          tabIndex={-1}
          onChange={(event) => {
            const files = [...(event.target.files ?? [])];
            if (files.length > 0) void addFiles(files);
            event.target.value = '';
          }}
        />
        <div className="drop-tools">
          <button
            type="button"
            className="quiet outlined"
            disabled={locked}
            onClick={() => input.current?.click()}
          >
            Choose files
          </button>
          <button
            type="button"
            className="quiet outlined"
            disabled={locked}
            aria-expanded={pasting}
            onClick={() => setDraft(pasting ? undefined : '')}
          >
            Paste text
          </button>
          {corpus && (
            <button type="button" className="quiet" disabled={locked} onClick={clear}>
              Use the built-in text again
            </button>
          )}
        </div>
        <p className="help">
          {locked
            ? 'The data cannot change during a run.'
            : 'Or drop files here: .txt, .jsonl or .csv in UTF-8, up to 20 MB. ' +
              'They stay in this tab and are not part of the link.'}
        </p>
        {pasting && !locked && <Paste text={draft} />}
        {(corpus || proposed) && <DataReading locked={locked} />}
        {problem && (
          <p className="field-problem" role="alert">
            {problem}
          </p>
        )}
        {proposed && !busy && (
          <>
            <p className="help">
              Still using {nameInUse(corpus, config)}
              {proposed.files === corpus?.files
                ? ', as it was read before.'
                : `: ${nameOf(proposed)} cannot be used yet.`}
            </p>
            <div className="drop-tools">
              <FitContext />
              <button type="button" className="quiet outlined" disabled={locked} onClick={show}>
                Read again
              </button>
              <button type="button" className="quiet" disabled={locked} onClick={discard}>
                Keep {nameInUse(corpus, config)}
              </button>
            </div>
          </>
        )}
        {!proposed && <DataPreview locked={locked} />}
        <p className="visually-hidden" role="status">
          {busy && 'Reading the data.'}
        </p>
      </div>
    </Fold>
  );
}

/** The files, each with its size and its content or its problem. */
function Files() {
  const corpus = useRun((state) => state.corpus);
  const { proposed, busy, files } = useData();
  const shown = proposed ?? corpus;
  const { label } = useRun((state) => textOf(state.config));
  if (!shown)
    return (
      <p>
        {label}, which is built in.{busy && ' Reading it …'}
      </p>
    );
  return (
    <ul className="data-files">
      {shown.files.map(({ name, bytes }, index) => {
        const report = files[index];
        const empty =
          report && report.empty > 0 ? `, ${plural(report.empty, 'empty value')} left out` : '';
        const count =
          report && !report.problem ? `, ${plural(report.documents, 'document')}${empty}` : '';
        return (
          // biome-ignore lint/suspicious/noArrayIndexKey: two files can have the same name
          <li key={index}>
            {name}, {formatBytes(bytes.byteLength)}
            {busy ? ', reading …' : `${count}.`}
            {!busy && report?.problem && (
              <p className="field-problem" role="alert">
                {report.problem}
              </p>
            )}
          </li>
        );
      })}
    </ul>
  );
}

function Paste({ text }: { text: string }) {
  const { paste, setDraft } = useData.getState();
  const box = useRef<HTMLDivElement>(null);
  const id = useId();
  useEffect(() => {
    // No result: newer browsers return a promise, which is no clean-up.
    box.current?.scrollIntoView({ block: 'nearest' });
  }, []);
  return (
    <div className="paste" ref={box}>
      <label htmlFor={id}>Your text</label>
      <textarea
        id={id}
        rows={6}
        value={text}
        spellCheck={false}
        onChange={(event) => setDraft(event.target.value)}
      />
      <button
        type="button"
        className="quiet outlined"
        disabled={text.trim() === ''}
        onClick={() => {
          paste(text);
          setDraft(undefined);
        }}
      >
        Use this text
      </button>
    </div>
  );
}
