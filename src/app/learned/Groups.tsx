// Figures of the latest evaluation by groups of its tokens, as tables with bars; where a group
// stood at the first evaluation is a mark on its bar.

import type { EvaluationRecord } from '../../worker/protocol';
import { percent } from '../say/texts';
import { formatMeasure } from '../shared/format';

type Evaluations = readonly EvaluationRecord[];

const KL = {
  klByPosition: {
    title: 'KL by place in the context',
    group: 'tokens before',
    read:
      'How far the student is from its teacher after so many tokens of context. Bars that grow ' +
      'towards the end mean that it cannot use a long context as its teacher does.',
  },
  klByFrequency: {
    title: 'KL by how common the token is',
    group: 'times in the text',
    read:
      'The tokens that follow, by how often each is in the training text. Long bars at the top ' +
      'mean that rare tokens are not learned: they need more steps, or more text.',
  },
} as const;

export function KlTable({ by, evaluations }: { by: keyof typeof KL; evaluations: Evaluations }) {
  const { title, group, read } = KL[by];
  const [first, last] = ends(evaluations, by);
  const start = new Map(first[by]?.map(([from, , , kl]) => [from, kl]));
  const groups = last[by] ?? [];
  const largest = Math.max(...groups.map(([, , , kl]) => kl), ...start.values());
  const compares = first !== last;
  return (
    <Groups
      title={title}
      step={last.step}
      head={[group, 'tokens', 'KL', ...(compares ? [`step ${first.step}`] : [])]}
      read={read}
    >
      {groups.map(([from, to, tokens, kl]) => {
        const before = start.get(from);
        return (
          <tr key={from}>
            <th scope="row">{range(from, to)}</th>
            <td>{tokens.toLocaleString('en')}</td>
            <td className="bar-cell">
              <span className="group-bar" aria-hidden="true">
                <span className="student" style={{ width: `${(100 * kl) / largest}%` }} />
                {compares && before !== undefined && (
                  <span className="start" style={{ left: `${(100 * before) / largest}%` }} />
                )}
              </span>
              {formatMeasure(kl)}
            </td>
            {compares && <td>{formatMeasure(before)}</td>}
          </tr>
        );
      })}
    </Groups>
  );
}

export function CalibrationTable({ evaluations }: { evaluations: Evaluations }) {
  const [, last] = ends(evaluations, 'calibration');
  return (
    <Groups
      title="Calibration"
      step={last.step}
      head={['confidence', 'tokens', 'student says', 'is right']}
      read={
        'How likely the student says its likeliest token is, and how often that is the one that ' +
        'follows. Where both bars of a row are alike, its probabilities mean what they say. ' +
        'Where the upper one is longer, it is too sure of itself.'
      }
    >
      {last.calibration?.map(([from, to, tokens, confidence, accuracy]) => (
        <tr key={from}>
          <th scope="row">
            {Math.round(100 * from)}–{Math.round(100 * to)}%
          </th>
          <td>{tokens.toLocaleString('en')}</td>
          <td className="bar-cell">
            <span className="group-bar two" aria-hidden="true">
              <span className="student" style={{ width: `${100 * confidence}%` }} />
              <span className="right" style={{ width: `${100 * accuracy}%` }} />
            </span>
            {percent(confidence)}
          </td>
          <td>{percent(accuracy)}</td>
        </tr>
      ))}
    </Groups>
  );
}

function Groups({
  title,
  step,
  head,
  read,
  children,
}: {
  title: string;
  step: number;
  head: string[];
  read: string;
  children: React.ReactNode;
}) {
  return (
    <section className="groups" aria-label={title}>
      <table>
        <caption>
          <strong>{title}</strong> <span className="unit">step {step}, held-out text</span>
        </caption>
        <thead>
          <tr>
            {head.map((name) => (
              <th key={name} scope="col">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
      <p className="help">{read}</p>
    </section>
  );
}

/** The first and the last evaluation that measured this; there is one. */
function ends(evaluations: Evaluations, name: 'klByPosition' | 'klByFrequency' | 'calibration') {
  const measured = evaluations.filter((record) => record[name] !== undefined);
  return [measured[0], measured[measured.length - 1]] as const;
}

/** "1", "4–7", "never" */
function range(from: number, to: number): string {
  if (from === 0 && to === 0) return 'never';
  const [low, high] = [from, to].map((value) => value.toLocaleString('en'));
  return from === to ? low : `${low}–${high}`;
}
