// What the Doctor says of the run that is shown: one quiet line, or a verdict with its evidence, a
// change to try, and afterwards whether it helped.

import type { Verdict } from '../../doctor/examine';
import { describeChanges } from './shown-run';
import { useRun } from './store';
import { useShownRun } from './use-shown-run';

const KINDS: Record<Verdict['severity'], string> = {
  problem: 'Problem',
  warning: 'Warning',
  note: 'Note',
};

export function DoctorPanel() {
  const run = useShownRun();
  const outcome = useRun((state) => state.outcome);
  if (run?.source !== 'live' || !(run.diagnosis || outcome)) return null;
  const { line, verdicts } = run.diagnosis ?? { line: undefined, verdicts: [] };
  return (
    <section className="doctor" aria-label="Doctor">
      {outcome && (
        <p className={`doctor-outcome ${outcome.state.replace(' ', '-')}`}>{outcome.text}</p>
      )}
      {verdicts.length === 0 ? (
        line && <p className="doctor-line">{line}</p>
      ) : (
        <ul>
          {verdicts.map((verdict, index) => (
            <VerdictItem key={verdict.rule} verdict={verdict} open={index === 0} />
          ))}
        </ul>
      )}
    </section>
  );
}

/** The gravest verdict is open; of the others the title is enough until somebody asks. */
function VerdictItem({ verdict, open }: { verdict: Verdict; open: boolean }) {
  const { severity, title, text, advice, caveat } = verdict;
  return (
    <li className={`verdict ${severity}`}>
      <details open={open}>
        <summary>
          <span className="kind">{KINDS[severity]}</span> <strong>{title}.</strong>
        </summary>
        <p>
          {text} {advice} <TryIt verdict={verdict} />
        </p>
        <p className="caveat">What this does not say: {caveat}</p>
      </details>
    </li>
  );
}

function TryIt({ verdict }: { verdict: Verdict }) {
  const config = useRun((state) => state.run?.config);
  const unavailable = useRun((state) => state.unavailable !== undefined);
  const tryCure = useRun((state) => state.tryCure);
  if (!verdict.change || !config) return null;
  const difference = describeChanges(config, verdict.change);
  return (
    <button
      type="button"
      className="quiet outlined"
      disabled={unavailable}
      title={`Starts a run from the beginning with ${difference}. This run ends.`}
      onClick={() => tryCure(verdict)}
    >
      Try it: {difference}
    </button>
  );
}
