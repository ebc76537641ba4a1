// The effect of alpha and temperature as formulas, with the current settings, and during a run with
// the values of its last step.

import { TEACHER_LOSSES } from '../../divergences';
import { formatMeasure } from '../shared/format';
import { Term } from '../shared/Term';
import { useRun } from './store';
import { useShownRun } from './use-shown-run';

export function LossFormula() {
  const { loss, alpha, temperature } = useRun((state) => state.config);
  const run = useShownRun();
  // With other settings than the last step's, the sum would be of no real step.
  const current =
    run?.source === 'live' && run.config.alpha === alpha && run.config.temperature === temperature;
  const last = current ? run.history.last() : undefined;
  if (loss === 'ce') {
    return <p className="formula-note">The loss is CE alone. Alpha and T have no effect.</p>;
  }
  if (loss !== 'mixed') {
    return (
      <p className="formula-note">
        The loss is T² · KD alone: it uses the teacher, not the data. Alpha has no effect.
      </p>
    );
  }
  const dataWeight = Number((1 - alpha).toPrecision(6));
  return (
    <figure className="formula" aria-label="The loss">
      <math>
        <mi>loss</mi>
        <mo>=</mo>
        <mi>α</mi>
        <mo>·</mo>
        <msup>
          <mi>T</mi>
          <mn>2</mn>
        </msup>
        <mo>·</mo>
        <mi className="kd">KD</mi>
        <mo>+</mo>
        <mo form="prefix" stretchy="false">
          (
        </mo>
        <mn>1</mn>
        <mo>−</mo>
        <mi>α</mi>
        <mo form="postfix" stretchy="false">
          )
        </mo>
        <mo>·</mo>
        <mi className="ce">CE</mi>
      </math>
      <math>
        <mo form="infix">=</mo>
        <mn>{alpha}</mn>
        <mo>·</mo>
        <msup>
          <mn>{temperature}</mn>
          <mn>2</mn>
        </msup>
        <mo>·</mo>
        {last ? <mn className="kd">{formatMeasure(last.kd)}</mn> : <mi className="kd">KD</mi>}
        <mo>+</mo>
        <mn>{dataWeight}</mn>
        <mo>·</mo>
        {last ? <mn className="ce">{formatMeasure(last.ce)}</mn> : <mi className="ce">CE</mi>}
        {last && (
          <>
            <mo>=</mo>
            <mn className="total">
              {formatMeasure(alpha * temperature ** 2 * last.kd + dataWeight * last.ce)}
            </mn>
          </>
        )}
      </math>
      <figcaption>
        <Term of="kd">KD</Term> compares with the teacher, <Term of="ce">CE</Term> with the text.
      </figcaption>
    </figure>
  );
}

export function TemperatureFormula() {
  const { loss, kd_loss, kd_beta, temperature } = useRun((state) => state.config);
  if (loss === 'ce') return null;
  const { formula, mixture, takesBeta } = TEACHER_LOSSES[loss === 'mixed' ? kd_loss : loss];
  const model = (name: string, logits: string, className: string) => (
    <>
      <mi className={className}>{name}</mi>
      <mo>=</mo>
      <mi>softmax</mi>
      <mo form="prefix" stretchy="false">
        (
      </mo>
      <mi>{logits}</mi>
      <mo stretchy="false">/</mo>
      <mn>{temperature}</mn>
      <mo form="postfix" stretchy="false">
        )
      </mo>
    </>
  );
  return (
    <figure className="formula" aria-label="The divergence">
      <math>
        <mi className="kd">KD</mi>
        <mo>=</mo>
        <mtext>{formula}</mtext>
      </math>
      <math>
        {model('p', 'y', 'teacher')}
        <mspace width="0.9em" />
        {model('q', 'z', 'student')}
      </math>
      {takesBeta && (
        <math>
          <mtext>
            {mixture && `${mixture}, `}β = {kd_beta}
          </mtext>
        </math>
      )}
    </figure>
  );
}
