// "Which cause explains this log?": four causes, each reproduced for real, their logs without
// names. First as the script printed them, then as a better log would; the person says which is
// which, and then reads why.

import { useState } from 'react';
import type { Cause } from '../../worker/protocol';
import { formatMeasure } from '../shared/format';
import { TableHead } from '../shared/TableHead';
import { alike, CAUSES, LETTERS, orderOf, percent } from './cause-rows';
import { RunBar } from './RunBar';
import { scriptLog, totalsOf } from './script';
import { choicesOf } from './settings';
import type { ColumnRun, LabRun } from './store';
import { COLUMNS, useBug } from './store';

export function Causes() {
  const run = useBug((state) => state.runs.causes);
  const seed = useBug((state) => state.settings.causes.seed);
  return (
    <>
      <section className="bug-intro" aria-labelledby="causes-title">
        <h2 id="causes-title">Which cause explains this log?</h2>
        <p>
          Four small runs, each with one thing wrong, on one batch that is the same in every step:
          any change of the weights must show. Their logs come without names. Say which cause is
          behind which log.
        </p>
        <ul className="cause-list">
          {COLUMNS.causes.map((cause) => (
            <li key={cause}>
              <strong>{CAUSES[cause].label}.</strong> {CAUSES[cause].means}
            </li>
          ))}
        </ul>
        <RunBar label="Run the four causes" />
      </section>
      {/* Another order or another run is another question: no answer is carried over. */}
      {run?.state === 'done' && <Logs key={`${seed} ${run.startedAt}`} run={run} />}
    </>
  );
}

function Logs({ run }: { run: LabRun }) {
  const { seed, log } = useBug((state) => state.settings.causes);
  const choose = useBug((state) => state.choose);
  const [answers, setAnswers] = useState<Partial<Record<Cause, Cause>>>({});
  const [checked, setChecked] = useState(false);
  const order = orderOf(Number(seed));
  const columns = order.map((cause) => run.columns[cause] as ColumnRun);
  const better = log === 'better';
  const right = order.filter((cause) => answers[cause] === cause).length;
  const given = order.filter((cause) => answers[cause]).length;
  const shuffle = () => {
    const others = choicesOf('causes', 'seed').filter((other) => other !== seed);
    choose({ seed: others[Math.floor(Math.random() * others.length)] });
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
          Lay them out anew
        </button>
      </div>
      {!better && <Alike groups={alike(columns)} />}
      <section className="bug-logs" aria-label="Four logs">
        {order.map((cause, index) => (
          <section
            key={cause}
            className="bug-column"
            aria-labelledby={`log-${index}`}
            data-testid={`log-${LETTERS[index]}`}
          >
            <h3 id={`log-${index}`}>Log {LETTERS[index]}</h3>
            <ol className="lab-log" aria-label={`Log ${LETTERS[index]}, as the script printed it`}>
              {scriptLog(columns[index], true).map((line) => (
                <li key={line.step}>{line.text}</li>
              ))}
            </ol>
            {better && <BetterLog column={columns[index]} letter={LETTERS[index]} />}
            <label className="answer">
              <span>Log {LETTERS[index]} comes from</span>
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
                <strong>{answers[cause] === cause ? 'Right.' : 'No.'}</strong> {CAUSES[cause].label}
                . {CAUSES[cause].why(columns[index])}
              </p>
            )}
          </section>
        ))}
      </section>
      <div className="bug-tools">
        <button
          type="button"
          className="secondary"
          disabled={given < order.length}
          onClick={() => setChecked(true)}
        >
          Check the answers
        </button>
        <p role="status">
          {checked
            ? `${right} of ${order.length} right.`
            : given < order.length && `${given} of ${order.length} given.`}
        </p>
      </div>
    </>
  );
}

function Alike({ groups }: { groups: string[][] }) {
  if (groups.length === 0) return null;
  const names = groups.map((letters) => `${letters.slice(0, -1).join(', ')} and ${letters.at(-1)}`);
  return (
    <p className="bug-verdict" data-testid="alike">
      Logs {names.join('; ')} print the same lines. This log cannot tell them apart.
    </p>
  );
}

/** What tells the causes apart, and costs a line to print. */
function BetterLog({ column, letter }: { column: ColumnRun; letter: string }) {
  const totals = totalsOf(column);
  return (
    <section className="better-log" tabIndex={0} aria-label={`Log ${letter}, better: table`}>
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
