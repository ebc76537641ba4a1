// "Which cause explains this log?": four causes, each reproduced, with unlabelled logs. The user
// matches logs to causes, first from what the script printed, then from a better log, and reads the
// evidence.

import { useState } from 'react';
import type { Cause } from '../../worker/protocol';
import { formatMeasure } from '../shared/format';
import { TableHead } from '../shared/TableHead';
import { CAUSES, identicalLogs, LETTERS, orderOf, percent } from './cause-rows';
import { RunBar } from './RunBar';
import { scriptLog, totalsOf } from './script';
import { choicesOf } from './settings';
import type { BugLabRun, ColumnRun } from './store';
import { COLUMNS, useBugLab } from './store';

export function Causes() {
  const run = useBugLab((state) => state.runs.causes);
  const seed = useBugLab((state) => state.settings.causes.seed);
  return (
    <>
      <section className="bug-intro" aria-labelledby="causes-title">
        <h2 id="causes-title">Which cause explains this log?</h2>
        <p>
          Four small runs, each with one fault. Every step uses the same batch, so any change of the
          weights must show in the loss. The logs are unlabelled: choose the cause that explains
          each one.
        </p>
        <ul className="cause-list">
          {COLUMNS.causes.map((cause) => (
            <li key={cause}>
              <strong>{CAUSES[cause].label}.</strong> {CAUSES[cause].description}
            </li>
          ))}
        </ul>
        <RunBar label="Run the four causes" />
      </section>
      {/* A new order or a new run is a new question: the key drops the old answers. */}
      {run?.state === 'done' && <Logs key={`${seed} ${run.startedAt}`} run={run} />}
    </>
  );
}

function Logs({ run }: { run: BugLabRun }) {
  const { seed, log } = useBugLab((state) => state.settings.causes);
  const choose = useBugLab((state) => state.choose);
  const [answers, setAnswers] = useState<Partial<Record<Cause, Cause>>>({});
  const [checked, setChecked] = useState(false);
  const order = orderOf(Number(seed));
  const columns = order.map((cause) => run.columns[cause] as ColumnRun);
  const better = log === 'better';
  const correct = order.filter((cause) => answers[cause] === cause).length;
  const answered = order.filter((cause) => answers[cause]).length;
  const shuffle = () => {
    const seeds = choicesOf('causes', 'seed').filter((other) => other !== seed);
    choose({ seed: seeds[Math.floor(Math.random() * seeds.length)] });
  };
  return (
    <>
      <div className="bug-tools">
        <label className="toggle">
          <input
            type="checkbox"
            checked={better}
            onChange={() => choose({ log: better ? 'story' : 'better' })}
          />{' '}
          Show what a better log prints
        </label>
        <button type="button" className="quiet outlined" onClick={shuffle}>
          Shuffle the logs
        </button>
      </div>
      {!better && <IdenticalLogs groups={identicalLogs(columns)} />}
      <section className="bug-logs" aria-label="Four logs">
        {order.map((cause, index) => (
          <section
            key={cause}
            className="bug-column"
            aria-labelledby={`log-${index}`}
            data-testid={`log-${LETTERS[index]}`}
          >
            <h3 id={`log-${index}`}>Log {LETTERS[index]}</h3>
            <ol
              className="script-log"
              aria-label={`Log ${LETTERS[index]}, as the script printed it`}
            >
              {scriptLog(columns[index], true).map((line) => (
                <li key={line.step}>{line.text}</li>
              ))}
            </ol>
            {better && <BetterLog column={columns[index]} letter={LETTERS[index]} />}
            <label className="answer">
              <span>Cause of log {LETTERS[index]}</span>
              <select
                value={answers[cause] ?? ''}
                onChange={(event) => {
                  setChecked(false);
                  setAnswers({ ...answers, [cause]: event.target.value as Cause });
                }}
              >
                <option value="" disabled>
                  choose
                </option>
                {COLUMNS.causes.map((option) => (
                  <option key={option} value={option}>
                    {CAUSES[option].label}
                  </option>
                ))}
              </select>
            </label>
            {checked && (
              <p className="answer-text">
                <strong>{answers[cause] === cause ? 'Correct.' : 'No. Answer:'}</strong>{' '}
                {CAUSES[cause].label}. {CAUSES[cause].evidence(columns[index])}
              </p>
            )}
          </section>
        ))}
      </section>
      <div className="bug-tools">
        <button
          type="button"
          className="secondary"
          disabled={answered < order.length}
          onClick={() => setChecked(true)}
        >
          Check the answers
        </button>
        <p role="status">
          {checked
            ? `${correct} of ${order.length} correct.`
            : answered < order.length && `${answered} of ${order.length} answered.`}
        </p>
      </div>
    </>
  );
}

function IdenticalLogs({ groups }: { groups: string[][] }) {
  if (groups.length === 0) return null;
  const names = groups.map((letters) => `${letters.slice(0, -1).join(', ')} and ${letters.at(-1)}`);
  return (
    <p className="bug-verdict" data-testid="identical-logs">
      Logs {names.join('; ')} print the same lines. This log cannot tell them apart.
    </p>
  );
}

/** The figures that tell the causes apart. Printing them takes one line per step. */
function BetterLog({ column, letter }: { column: ColumnRun; letter: string }) {
  const totals = totalsOf(column);
  return (
    <section className="better-log" tabIndex={0} aria-label={`Better log ${letter}, table`}>
      <table>
        <TableHead names={['step', 'loss', 'gradient norm', 'update', 'loss scale']} />
        <tbody>
          {column.attempts.map(({ step, record }) => (
            <tr key={step}>
              <th scope="row">{step}</th>
              <td>{record?.loss.toFixed(4) ?? 'n/a'}</td>
              <td>{formatMeasure(record?.gradNorm)}</td>
              <td>{record ? (record.applied ? 'applied' : 'skipped') : 'raised'}</td>
              <td>{formatMeasure(record?.lossScale)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p>
        Evaluation batches: {totals.succeeded} of {totals.tried} succeeded. Weights changed by{' '}
        {percent(totals.weightChange)}.
      </p>
    </section>
  );
}
