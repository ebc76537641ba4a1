// The reward: the same prompt continued by the teacher and by the student, now and before training.

import type { Sample } from '../../worker/protocol';
import { formatMeasure, formatShare, plural } from '../shared/format';
import { ShareButton } from '../shared/Header';
import { answersRight, perplexity } from './evaluation';
import { FieldControl } from './FieldControl';
import { useRun } from './store';
import { useShownRun } from './use-shown-run';

export function Samples() {
  const run = useShownRun();
  const phase = useRun((state) => state.phase);
  const evaluations = run?.history.evaluations ?? [];
  const before = evaluations.find((record) => record.step === 0)?.sample;
  const latest = evaluations.findLast((record) => record.sample !== undefined);
  const last = evaluations[evaluations.length - 1];
  return (
    <section className="samples" aria-label="What they say">
      {phase === 'finished' && <Result />}
      <h2>What they say {latest && <span className="unit">after step {latest.step}</span>}</h2>
      <FieldControl name="prompt" />
      <Quote who="Teacher" kind="teacher" sample={latest?.sample} text={latest?.sample?.teacher} />
      <Quote
        who="Student, now"
        kind="student"
        sample={latest?.sample}
        text={latest?.sample?.student}
      />
      <Quote who="Student, before" kind="before" sample={before} text={before?.student} />
      <div className="agreement">
        <p>
          <span className="figure-large">{formatShare(last?.agreement)}</span> of next tokens agree
          {last && last.agreement !== undefined && (
            <span className="unit"> on {last.tokens.toLocaleString('en')} held-out tokens</span>
          )}
        </p>
        <div className="bar" aria-hidden="true">
          <span style={{ width: `${100 * (last?.agreement ?? 0)}%` }} />
        </div>
      </div>
      {last && answersRight(last, 'student') && (
        <p>
          Of the held-out answers the student gives{' '}
          <span className="figure-large">{answersRight(last, 'student')}</span>, the teacher{' '}
          {answersRight(last, 'teacher')}.
        </p>
      )}
      <Distance />
    </section>
  );
}

function Quote({
  who,
  kind,
  sample,
  text,
}: {
  who: string;
  kind: string;
  sample?: Sample;
  text?: string;
}) {
  // Line ends inside a paragraph of the book mean nothing.
  const continued = text?.replace(/([^\n])\n(?!\n)/g, '$1 ');
  return (
    <figure className={`quote ${kind}`}>
      <figcaption>{who}</figcaption>
      {sample ? (
        <blockquote>
          <span className="prompt">{sample.prompt}</span>
          {continued}
        </blockquote>
      ) : (
        <p className="nothing">Nothing yet.</p>
      )}
    </figure>
  );
}

/** The student's distance to the teacher, at the start and now. */
function Distance() {
  const run = useShownRun();
  const evaluations = run?.history.evaluations ?? [];
  const first = evaluations[0];
  const last = evaluations[evaluations.length - 1];
  if (!first) return null;
  return (
    <table className="distance">
      <caption className="visually-hidden">The student on held-out text</caption>
      <thead>
        <tr>
          <th scope="col">Held-out text</th>
          <th scope="col">step {first.step}</th>
          <th scope="col">step {last.step}</th>
          <th scope="col">teacher</th>
        </tr>
      </thead>
      <tbody>
        <tr>
          <th scope="row">Perplexity</th>
          <td>{formatMeasure(first.studentPerplexity)}</td>
          <td>{formatMeasure(last.studentPerplexity)}</td>
          <td>{formatMeasure(last.teacherPerplexity)}</td>
        </tr>
        {last.tokens === 0 && (
          <tr>
            <td colSpan={4} className="why">
              n/a: 0 valid tokens at step {last.step}
            </td>
          </tr>
        )}
        <tr>
          <th scope="row">
            {last.klWords ? `KL, top ${last.klWords} tokens and tail, nats` : 'KL, nats'}
          </th>
          <td>{formatMeasure(first.kl)}</td>
          <td>{formatMeasure(last.kl)}</td>
          <td>0</td>
        </tr>
        <tr>
          <th scope="row">Agreement</th>
          <td>{formatShare(first.agreement)}</td>
          <td>{formatShare(last.agreement)}</td>
          <td>100%</td>
        </tr>
      </tbody>
    </table>
  );
}

/** What was achieved, against the start and against the teacher. */
function Result() {
  const run = useShownRun();
  const evaluations = run?.history.evaluations ?? [];
  const first = evaluations[0];
  const last = evaluations[evaluations.length - 1];
  const point = run?.history.last();
  if (!run || !first || !last || !point) return null;
  const ratio =
    last.studentPerplexity && last.teacherPerplexity
      ? last.studentPerplexity / last.teacherPerplexity
      : undefined;
  return (
    <div className="result" data-testid="result">
      <h2>Finished</h2>
      <p>
        In {point.appliedTotal.toLocaleString('en')} steps the student’s perplexity went from{' '}
        {perplexity(first)} to <strong>{perplexity(last)}</strong>.
        {ratio !== undefined &&
          ` The teacher’s is ${formatMeasure(last.teacherPerplexity)}, ` +
            `${ratio > 1 ? `${ratio.toFixed(1)} times lower` : 'no lower'}.`}
        {point.skippedTotal > 0 && ` ${plural(point.skippedTotal, 'step')} skipped.`}
      </p>
      <ShareButton />
    </div>
  );
}
