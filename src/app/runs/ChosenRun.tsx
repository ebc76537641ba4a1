// The run that is chosen in the table: its name and note to edit, what differs, and what can be
// done with it.

import { useId, useState } from 'react';
import type { Config } from '../../config';
import { PRESETS } from '../../presets';
import { differences, inWords } from '../../runs/difference';
import { formatGhost, ghostOf } from '../../runs/ghost';
import type { RunRow } from '../../runs/row';
import type { Failure } from '../../worker/protocol';
import { useChartView } from '../charts/view';
import { useRun } from '../run/store';
import { linkTo } from '../shared/address';
import { copyText } from '../shared/browser';
import { request } from '../shared/client';
import { writeRoom } from '../shared/rooms';
import { CopyRefused } from '../shared/Share';
import { downloadFile } from './download-file';
import { draw } from './draw';
import { canContinue, canOpen, continueRun, useRuns } from './store';

/** @param before the run before it in time */
export function ChosenRun({ row, before }: { row: RunRow; before?: RunRow }) {
  const { label, remove, save } = useRuns.getState();
  const phase = useRun((state) => state.phase);
  const [problem, setProblem] = useState<string>();
  const [shared, setShared] = useState<{ link: string; copied: boolean }>();
  const heading = useId();
  const drawn = useChartView(
    ({ others, chosen }) => chosen[row.id] ?? others.some(({ id }) => id === row.id),
  );
  const busy = phase === 'running' || phase === 'loading';
  const readable = row.state !== 'unreadable';
  const against = (config: Config) => inWords(differences(config, row.config));
  const fail = ({ message }: Failure) => setProblem(message);
  const download = () => save(row.id).then(({ name, zip }) => downloadFile(name, zip), fail);
  return (
    <section className="chosen-run" aria-labelledby={heading}>
      <h2 id={heading}>{row.name}</h2>
      {readable ? (
        <p>
          {before && `Against the run before it, “${before.name}”: ${against(before.config)}. `}
          Against the settings that the page starts with: {against(PRESETS[0].config)}.
        </p>
      ) : (
        <p>
          This run cannot be read: a later version of Stillhouse wrote it, or its first line is
          damaged. It is kept as it is.
        </p>
      )}
      <div className="chosen-fields">
        <Text
          label="Name"
          value={row.name}
          maxLength={60}
          onCommit={(name) => label(row.id, { name: name || undefined })}
        />
        <Text
          label="Note"
          value={row.label.note ?? ''}
          maxLength={500}
          onCommit={(note) => label(row.id, { note })}
        />
      </div>
      <div className="chosen-actions">
        {canOpen(row) && (
          <button
            type="button"
            className="secondary"
            disabled={busy}
            title={busy ? 'Pause the run that trains first.' : undefined}
            onClick={() => {
              continueRun(row);
              location.hash = linkTo(row.config).split('#')[1];
            }}
          >
            {canContinue(row) ? `Continue from step ${row.checkpoint}` : 'Open this run'}
          </button>
        )}
        <button
          type="button"
          className="quiet"
          onClick={() => {
            label(row.id, { pinned: !row.label.pinned });
            void navigator.storage?.persist?.();
          }}
        >
          {row.label.pinned ? 'Unpin' : 'Pin'}
        </button>
        {readable && (
          <button
            type="button"
            className="quiet"
            onClick={() => void draw(row, !drawn).catch(fail)}
          >
            {drawn ? 'No longer in the charts' : 'Draw in the charts'}
          </button>
        )}
        {readable && <a href={linkTo(row.config)}>Open its settings</a>}
        {row.step > 0 && readable && (
          <button
            type="button"
            className="quiet"
            onClick={() => void share(row).then(setShared, fail)}
            onBlur={() => setShared((last) => (last?.copied ? undefined : last))}
          >
            {shared?.copied ? 'Link copied' : 'Share this run'}
          </button>
        )}
        <button type="button" className="quiet" onClick={download}>
          Save as one file
        </button>
        <button
          type="button"
          className="quiet"
          disabled={row.open}
          title={row.open ? 'It is open. Reset it first.' : undefined}
          onClick={() => {
            remove(row);
            writeRoom('runs', '');
          }}
        >
          Delete
        </button>
      </div>
      {row.own && (
        <p className="help">Its file contains your own texts, if they are at most 64 MB.</p>
      )}
      {shared?.copied === false && (
        <p role="alert">
          <CopyRefused link={shared.link} />
        </p>
      )}
      {problem && (
        <p className="field-problem" role="alert">
          {problem}
        </p>
      )}
    </section>
  );
}

/** Copies the link to the run's settings with its curve. */
async function share(row: RunRow): Promise<{ link: string; copied: boolean }> {
  const { steps, evaluations, changes } = await request('run', { runId: row.id });
  const changed = changes.some((change) =>
    Object.keys(change.changes).some((name) => name !== 'prompt'),
  );
  const ghost = ghostOf({ ...row, changed }, steps, evaluations);
  const link = linkTo(row.config, formatGhost(ghost, row.config));
  return { link, copied: await copyText(link) };
}

/** Takes effect when it is left or Enter is pressed; Escape restores it. */
function Text({
  label,
  value,
  maxLength,
  onCommit,
}: {
  label: string;
  value: string;
  maxLength: number;
  onCommit: (value: string) => void;
}) {
  const [text, setText] = useState(value);
  const [committed, setCommitted] = useState(value);
  // Without a name, the run has its first one back.
  if (committed !== value) {
    setCommitted(value);
    setText(value);
  }
  const id = useId();
  const commit = () => {
    if (text.trim() !== value) onCommit(text.trim());
  };
  return (
    <div>
      <label htmlFor={id}>{label}</label>
      <input
        id={id}
        type="text"
        value={text}
        maxLength={maxLength}
        onChange={(event) => setText(event.target.value)}
        onBlur={commit}
        onKeyDown={({ key }) => {
          if (key === 'Enter') commit();
          if (key === 'Escape') setText(value);
        }}
      />
    </div>
  );
}
