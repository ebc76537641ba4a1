// The drawer's content: how the student compares with its teacher on the held-out text, step by
// step and by kind of token, and the passages that it predicts worst and best. Each figure says
// what to read from it.

import '../say/say.css';
import './learned.css';
import type { XView } from '../charts/x-axis';
import type { ShownRun } from '../run/shown-run';
import { CalibrationTable, KlTable } from './Groups';
import { EntropyChart, OverlapChart } from './OverSteps';
import { Passages } from './Passages';

export default function LearnedPanel({ run, x }: { run: ShownRun; x: XView }) {
  const { evaluations } = run.history;
  const has = (name: 'overlap' | 'klByPosition' | 'klByFrequency' | 'calibration') =>
    evaluations.some((record) => record[name] !== undefined);
  const groups = (['klByPosition', 'klByFrequency'] as const).filter(has);
  return (
    <div className="learned">
      {has('overlap') && (
        <>
          <OverlapChart run={run} x={x} />
          <EntropyChart run={run} x={x} />
        </>
      )}
      {groups.map((by) => (
        <KlTable key={by} by={by} evaluations={evaluations} />
      ))}
      {groups.length === 0 && (
        <p className="help">
          {run.source === 'live'
            ? 'Nothing is measured yet. The first evaluation does it.'
            : 'This run was recorded without these figures. Start one to see them.'}
        </p>
      )}
      {has('calibration') && <CalibrationTable evaluations={evaluations} />}
      {run.source === 'live' && <Passages run={run} />}
    </div>
  );
}
