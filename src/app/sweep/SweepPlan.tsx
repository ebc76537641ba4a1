// The plan of a sweep, in the recipe: which settings vary, over which values, how many runs that
// makes, and how long they will take.

import { useEffect, useId, useRef } from 'react';
import { FIELDS, type Field, type FieldName } from '../../config';
import { type Axis, gridOf, planSweep, SWEPT, suggestedValues } from '../../runs/sweep';
import { secondsOf, valuesIn } from '../../runs/sweep-result';
import { isActive } from '../run/shown-run';
import { startProblem } from '../run/start-problem';
import { useRun } from '../run/store';
import { listed, useRuns } from '../runs/store';
import { Fold, useFolds } from '../shared/Fold';
import { formatDuration } from '../shared/format';
import { textsOf, useSweep } from './store';
import './sweep.css';

/** The field that is varied most. */
const USUAL: FieldName = 'student_lr';

export const SWEEP = 'Sweep';

export function SweepPlan() {
  const open = useFolds((folds) => folds[SWEEP]);
  return <Fold title={SWEEP}>{open && <Plan />}</Fold>;
}

function Plan() {
  const typed = useSweep((state) => state.axes);
  const setAxes = useSweep((state) => state.setAxes);
  const running = useSweep((state) => state.running);
  const config = useRun((state) => state.config);
  const corpus = useRun((state) => state.corpus);
  const active = useRun((state) => isActive(state.phase));
  const obstacle = useRun(startProblem);
  const kept = useRuns((state) => state.kept);
  const usual = { name: USUAL, text: suggestedValues(USUAL, config) };
  const [first = usual, second] = typed;
  const axes = second ? [first, second] : [first];
  const grid = gridOf(config, axes);
  const problems = 'problems' in grid ? grid.problems : [];
  const fields = axes.map(({ name }) => name);
  const configs = 'configs' in grid ? grid.configs : [];
  const seconds = secondsOf(configs, listed(kept));
  const plan = useRef<HTMLDivElement>(null);
  // The drawer was empty when it opened into view.
  useEffect(() => {
    // In newer browsers it returns a promise, which an effect must not.
    void plan.current?.scrollIntoView({ block: 'nearest' });
  }, []);
  const reason = active || running ? 'A sweep can start when no run is active.' : obstacle;
  return (
    <div className="sweep-plan" ref={plan}>
      <p className="help">
        Up to eight runs that differ in one or two settings, one after another. Each is kept with
        the other runs.
      </p>
      <AxisFields
        label="Setting"
        axis={first}
        onChange={(axis) => setAxes([axis, ...typed.slice(1)])}
      />
      {second ? (
        <AxisFields
          label="Second setting"
          axis={second}
          onChange={(axis) => setAxes([first, axis])}
          onRemove={() => setAxes([first])}
        />
      ) : (
        <button
          type="button"
          className="quiet"
          onClick={() => setAxes([first, { name: 'seed', text: '1, 2' }])}
        >
          Add a second setting
        </button>
      )}
      {problems.map((problem) => (
        <p key={problem} className="field-problem" role="alert">
          {problem}
        </p>
      ))}
      {configs.length > 0 && (
        <p className="sweep-count" role="status">
          {configs.length} runs: {configs.map((each) => valuesIn(each, fields)).join('; ')}.{' '}
          {seconds === undefined
            ? 'How long they take is known once a run has trained here.'
            : `Together about ${formatDuration(seconds)}, by the speed of your kept runs.`}
        </p>
      )}
      <button
        type="button"
        className="secondary"
        disabled={configs.length === 0 || reason !== undefined}
        onClick={() => {
          useSweep.getState().goOn(planSweep(configs, fields, textsOf(corpus)));
          void navigator.storage?.persist?.();
        }}
      >
        {configs.length > 0 ? `Start ${configs.length} runs` : 'Start the sweep'}
      </button>
      {reason && <p className="help">{reason}</p>}
    </div>
  );
}

function AxisFields({
  label,
  axis,
  onChange,
  onRemove,
}: {
  label: string;
  axis: Axis;
  onChange: (axis: Axis) => void;
  onRemove?: () => void;
}) {
  const config = useRun((state) => state.config);
  const id = useId();
  return (
    <div className="sweep-axis">
      <label htmlFor={`${id}-field`}>{label}</label>
      <select
        id={`${id}-field`}
        value={axis.name}
        onChange={({ target }) => {
          const name = target.value as FieldName;
          onChange({ name, text: suggestedValues(name, config) });
        }}
      >
        {SWEPT.map((name) => (
          <option key={name} value={name}>
            {labelOf(name)}
          </option>
        ))}
      </select>
      <label htmlFor={`${id}-values`}>Values</label>
      <input
        id={`${id}-values`}
        type="text"
        value={axis.text}
        autoComplete="off"
        spellCheck={false}
        onChange={({ target }) => onChange({ ...axis, text: target.value })}
      />
      {onRemove && (
        <button type="button" className="quiet" onClick={onRemove}>
          Remove
        </button>
      )}
    </div>
  );
}

const labelOf = (name: FieldName) => {
  const { label, symbol }: Field = FIELDS[name];
  return symbol && symbol !== label ? `${label} (${symbol})` : label;
};
