// The reward: the same prompt continued by the teacher and by the student, now and before training.

import { useState } from 'react';
import type { Sample } from '../../worker/protocol';
import { formatMeasure, formatShare } from '../shared/format';
import { Term } from '../shared/Term';
import { FieldControl } from './FieldControl';
import { Scrubber } from './Scrubber';
import { sampleStops } from './sample-stops';
import { useShownRun } from './use-shown-run';

export function Samples() {
  const run = useShownRun();
  const evaluations = run?.history.evaluations ?? [];
  const stops = sampleStops(run?.history.samples ?? []);
  // The step that is looked at, of which run; otherwise the latest.
  const [look, setLook] = useState<{ run: string; step: number }>();
  const last = stops.length - 1;
  const looked = look?.run === run?.id ? stops.findIndex(({ step }) => step === look?.step) : -1;
  const at = looked < 0 ? last : looked;
  const before = stops[0]?.step === 0 ? stops[0].sample : undefined;
  const shown = stops[at];
  const latest = evaluations[evaluations.length - 1];
  const agreement = formatShare(latest?.agreement);
  const answers = latest?.answers;
  const compared = latest?.agreement !== undefined && latest.tokens.toLocaleString('en');
  return (
    <section className={`samples ${run?.source ?? ''}`} aria-label="What they say">
      <h2>
        What they say {run?.source === 'recorded' && <span className="chip">Recording</span>}{' '}
        {shown && <span className="unit">after step {shown.step}</span>}
      </h2>
      <FieldControl name="prompt" />
      <Quote who="Teacher" kind="teacher" sample={shown?.sample} text={shown?.sample.teacher} />
      <Quote
        who={at === last ? 'Student, now' : `Student, after step ${shown.step}`}
        kind="student"
        sample={shown?.sample}
        text={shown?.sample.student}
      />
      {last > 0 && (
        <Scrubber
          stops={stops}
          at={at}
          choose={(index) =>
            setLook(index === last ? undefined : { run: run?.id ?? '', step: stops[index].step })
          }
        />
      )}
      <Quote who="Student, before" kind="before" sample={before} text={before?.student} />
      {run?.report?.otherVocabulary ? (
        <p className="help">
          Teacher and student have different vocabularies. Agreement, KL and the teacher’s
          perplexity compare token by token, so they are not measured.
        </p>
      ) : (
        <div className="agreement">
          <p>
            <span className="figure-large">{agreement}</span> of next tokens{' '}
            <Term of="agreement">agree</Term>
            {compared && <span className="unit"> on {compared} held-out tokens</span>}
          </p>
          <div className="bar" aria-hidden="true">
            <span style={{ width: `${100 * (latest?.agreement ?? 0)}%` }} />
          </div>
        </div>
      )}
      {answers && answers.tried > 0 && (
        <p>
          The student gets <span className="figure-large">{answers.studentRight}</span> of{' '}
          {answers.tried} held-out answers right, the teacher {answers.teacherRight}.
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
  const compared = !run?.report?.otherVocabulary;
  return (
    <table className="distance">
      <caption className="visually-hidden">The student on held-out text</caption>
      <thead>
        <tr>
          <th scope="col">
            <Term of="heldOut">Held-out text</Term>
          </th>
          <th scope="col">step {first.step}</th>
          <th scope="col">step {last.step}</th>
          {compared && <th scope="col">teacher</th>}
        </tr>
      </thead>
      <tbody>
        <tr>
          <th scope="row">
            <Term of="perplexity">Perplexity</Term>
          </th>
          <td>{formatMeasure(first.studentPerplexity)}</td>
          <td>{formatMeasure(last.studentPerplexity)}</td>
          {compared && <td>{formatMeasure(last.teacherPerplexity)}</td>}
        </tr>
        {last.tokens === 0 && (
          <tr>
            <td colSpan={4} className="why">
              n/a: 0 valid tokens at step {last.step}
            </td>
          </tr>
        )}
        {compared && (
          <>
            <tr>
              <th scope="row">
                <Term of="kl">KL</Term>
                {last.klWords && `, top ${last.klWords} tokens and tail`},{' '}
                <Term of="nats">nats</Term>
              </th>
              <td>{formatMeasure(first.kl)}</td>
              <td>{formatMeasure(last.kl)}</td>
              <td>0</td>
            </tr>
            <tr>
              <th scope="row">
                <Term of="agreement">Agreement</Term>
              </th>
              <td>{formatShare(first.agreement)}</td>
              <td>{formatShare(last.agreement)}</td>
              <td>100%</td>
            </tr>
          </>
        )}
      </tbody>
    </table>
  );
}
