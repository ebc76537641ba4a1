// The control of one setting, built from its row in the table: label, value, slider or choices,
// help and error.

import { useId } from 'react';
import type { Field, FieldName } from '../../config';
import { FIELDS } from '../../config';
import type { TermName } from '../shared/glossary';
import { Term } from '../shared/Term';
import { ladder, nearestStop } from './ladder';
import { isActive, lockReason } from './shown-run';
import { useRun } from './store';

/** Settings whose name is a word of the glossary. */
const TERMS: Partial<Record<FieldName, TermName>> = {
  train_steps: 'step',
  alpha: 'alpha',
  temperature: 'temperature',
  student_lr: 'learningRate',
  max_grad_norm: 'gradNorm',
  max_length: 'context',
  packing: 'packing',
  assistant_only_loss: 'chatTemplate',
  initial_loss_scale: 'lossScale',
};

export function FieldControl({
  name,
  slider,
  label,
}: {
  name: FieldName;
  slider?: boolean;
  label?: string;
}) {
  const field: Field = FIELDS[name];
  const value = useRun((state) => state.config[name]);
  const draft = useRun((state) => state.drafts[name]);
  const phase = useRun((state) => state.phase);
  const setField = useRun((state) => state.setField);
  const restoreDefault = useRun((state) => state.restoreDefault);
  const id = useId();
  const reason = useRun((state) => lockReason(state.phase, name, state.run));
  const locked = reason !== undefined;
  const text = draft?.text ?? String(value);
  const initial = useRun((state) => state.base[name]);
  const changed = draft !== undefined || value !== initial;
  const described = `${id}-help${draft ? ` ${id}-problem` : ''}`;
  const common = {
    id,
    disabled: locked,
    'aria-describedby': described,
    'aria-invalid': draft !== undefined,
    title: reason,
  };
  return (
    <div
      className={`field${changed ? ' changed' : ''}${field.type === 'text' ? ' wide' : ''}`}
      data-testid={`field-${name}`}
    >
      <div className="field-line">
        <label htmlFor={id} title={field.help}>
          {label ?? field.label}
          {field.live && isActive(phase) && !locked && <span className="live-tag">live</span>}
        </label>
        {TERMS[name] && <Term of={TERMS[name]} />}
        {changed && (
          <button
            type="button"
            className="restore"
            disabled={locked}
            onClick={() => restoreDefault(name)}
            aria-label={`${field.label}: reset to ${initial === '' ? 'empty' : initial}`}
            title={`Reset to ${initial === '' ? 'empty' : initial}`}
          >
            ↺ {initial}
          </button>
        )}
        {field.type === 'choice' ? (
          <select {...common} value={text} onChange={(event) => setField(name, event.target.value)}>
            {field.choices.map((choice) => (
              <option key={choice}>{choice}</option>
            ))}
          </select>
        ) : (
          <input
            {...common}
            type="text"
            inputMode={
              field.type === 'text' ? 'text' : field.type === 'integer' ? 'numeric' : 'decimal'
            }
            value={text}
            autoComplete="off"
            spellCheck={false}
            onChange={(event) => setField(name, event.target.value)}
          />
        )}
      </div>
      {slider && 'min' in field && (
        <Slider name={name} field={field} value={Number(value)} disabled={locked} />
      )}
      <p className="help" id={`${id}-help`}>
        {field.help}
      </p>
      {/* A live setting that cannot change says why. */}
      {field.live && locked && phase !== 'loading' && phase !== 'lost' && (
        <p className="locked-note">{reason}</p>
      )}
      {draft && (
        <p className="field-problem" id={`${id}-problem`} role="alert">
          {draft.problem}
        </p>
      )}
    </div>
  );
}

function Slider({
  name,
  field,
  value,
  disabled,
}: {
  name: FieldName;
  field: Extract<Field, { min: number }>;
  value: number;
  disabled: boolean;
}) {
  const setField = useRun((state) => state.setField);
  const stops = ladder(field);
  const stop = nearestStop(stops, value, field.scale);
  return (
    <input
      type="range"
      min={0}
      max={stops.length - 1}
      step={1}
      value={stop}
      disabled={disabled}
      aria-label={`${field.label}, slider`}
      aria-valuetext={String(value)}
      style={{ '--filled': `${(100 * stop) / (stops.length - 1)}%` } as React.CSSProperties}
      onChange={(event) => setField(name, String(stops[Number(event.target.value)]))}
    />
  );
}
