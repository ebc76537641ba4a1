// What both models expected in a token's place: the likeliest tokens of either, as bars.

import type { Expectation } from '../../worker/protocol';
import { percent, quoted } from './texts';

/** So much of the text before the token is quoted. */
const QUOTED = 24;

export function Expected({
  token,
  before,
  label,
  mark,
}: {
  token: Expectation;
  before: string;
  /** Names the table. */
  label: string;
  /** What the marked token was: said, or in the text. */
  mark: string;
}) {
  const { choices, said, kl } = token;
  const end = before.replace(/\s+/g, ' ');
  const heading = end.length > QUOTED ? `…${end.slice(-QUOTED)}` : end;
  const both = kl !== undefined;
  return (
    <section className="expected" aria-label={label}>
      <h3>
        After “{heading}”{both && <span className="unit"> KL {kl.toFixed(2)} nats</span>}
      </h3>
      <table>
        <thead>
          <tr>
            <th scope="col">Token</th>
            <th scope="col">Student</th>
            {both && <th scope="col">Teacher</th>}
          </tr>
        </thead>
        <tbody>
          {choices.map(({ text, student, teacher }, index) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: two tokens may have the same text
            <tr key={index} className={index === said ? 'was-said' : undefined}>
              <th scope="row">
                {quoted(text)}
                {index === said && <span className="visually-hidden">, {mark}</span>}
              </th>
              <Share of={student} who="student" />
              {both && <Share of={teacher ?? 0} who="teacher" />}
            </tr>
          ))}
        </tbody>
      </table>
      <p className="help">
        {both
          ? 'Each model’s own probabilities, at temperature 1. The stronger a token’s colour, ' +
            'the further apart they are.'
          : 'The student’s own probabilities, at temperature 1.'}
      </p>
    </section>
  );
}

function Share({ of, who }: { of: number; who: 'student' | 'teacher' }) {
  return (
    <td>
      <span className="share-bar">
        <span className={who} style={{ width: `${100 * of}%` }} />
      </span>
      <span className="share-value">{percent(of)}</span>
    </td>
  );
}
