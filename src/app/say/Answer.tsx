// An answer, token by token, each of which is chosen by pointing at it, too. Under each token are
// two bars: how likely it was to the student and to the teacher.

import type { SaidToken } from '../../worker/protocol';
import { TokenList } from './TokenList';
import { percent, visible } from './texts';

const NAMES = { student: 'Student', teacher: 'Teacher' } as const;

export function Answer({
  author,
  prompt,
  tokens,
  shown,
  onChoose,
}: {
  author: SaidToken['author'];
  prompt: string;
  tokens: readonly SaidToken[];
  /** The token whose table is shown, in this answer or the other. */
  shown: SaidToken | undefined;
  onChoose: (token: SaidToken) => void;
}) {
  const choose = (index: number) => onChoose(tokens[index]);
  return (
    <figure className={`quote ${author} answer`}>
      <figcaption>{NAMES[author]}</figcaption>
      <div className="answer-text">
        <span className="prompt">{prompt}</span>
        <TokenList
          label={`${NAMES[author]}’s tokens`}
          tokens={tokens.map(listed)}
          chosen={shown ? tokens.indexOf(shown) : -1}
          onChoose={choose}
          onPoint={choose}
        />
      </div>
    </figure>
  );
}

function listed({ text, choices, said, kl = 0 }: SaidToken) {
  const { student, teacher } = choices[said];
  const likely =
    `student ${percent(student)}` + (teacher === undefined ? '' : `, teacher ${percent(teacher)}`);
  return {
    label: `${visible(text)}, ${likely}`,
    kl,
    content: (
      <>
        {visible(text)}
        <span className="likely" aria-hidden="true">
          <span className="student" style={{ width: `${100 * student}%` }} />
          {teacher !== undefined && (
            <span className="teacher" style={{ width: `${100 * teacher}%` }} />
          )}
        </span>
      </>
    ),
  };
}
