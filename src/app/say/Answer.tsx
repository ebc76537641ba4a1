// An answer, token by token. Under each token are two bars: how likely it was to the student and to
// the teacher. A token is chosen by pointing at it, by a tap, or with the arrow keys.

import { useRef } from 'react';
import type { SaidToken } from '../../worker/protocol';
import { percent, visible } from './texts';

const NAMES = { student: 'Student', teacher: 'Teacher' } as const;
/** Nats from which a token's ground has its full colour. */
const FAR_APART = 3;

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
  const list = useRef<HTMLDivElement>(null);
  // One stop for the Tab key: the chosen token, or the last.
  const stop = Math.max(
    0,
    shown && tokens.includes(shown) ? tokens.indexOf(shown) : tokens.length - 1,
  );
  const moves: Record<string, number> = {
    ArrowLeft: stop - 1,
    ArrowRight: stop + 1,
    Home: 0,
    End: tokens.length - 1,
  };
  const move = (event: React.KeyboardEvent) => {
    const to = moves[event.key];
    if (to === undefined) return;
    event.preventDefault();
    list.current?.querySelectorAll<HTMLElement>('[role=option]')[to]?.focus();
  };
  return (
    <figure className={`quote ${author} answer`}>
      <figcaption>{NAMES[author]}</figcaption>
      <div className="answer-text">
        <span className="prompt">{prompt}</span>
        <div
          ref={list}
          className="said"
          role="listbox"
          aria-label={`${NAMES[author]}’s tokens`}
          aria-orientation="horizontal"
          onKeyDown={move}
        >
          {tokens.map((token, index) => (
            <Token
              // biome-ignore lint/suspicious/noArrayIndexKey: an answer only grows at its end
              key={index}
              token={token}
              stop={index === stop}
              chosen={token === shown}
              onChoose={onChoose}
            />
          ))}
        </div>
      </div>
    </figure>
  );
}

function Token({
  token,
  stop,
  chosen,
  onChoose,
}: {
  token: SaidToken;
  stop: boolean;
  chosen: boolean;
  onChoose: (token: SaidToken) => void;
}) {
  const { text, choices, said, kl = 0 } = token;
  const { student, teacher } = choices[said];
  const likely =
    `student ${percent(student)}` + (teacher === undefined ? '' : `, teacher ${percent(teacher)}`);
  const choose = () => onChoose(token);
  return (
    <span
      className="token"
      role="option"
      tabIndex={stop ? 0 : -1}
      aria-selected={chosen}
      aria-label={`${visible(text)}, ${likely}`}
      style={
        { '--apart': `${Math.round(40 * Math.min(1, kl / FAR_APART))}%` } as React.CSSProperties
      }
      onFocus={choose}
      onPointerEnter={choose}
    >
      {visible(text)}
      <span className="likely" aria-hidden="true">
        <span className="student" style={{ width: `${100 * student}%` }} />
        {teacher !== undefined && (
          <span className="teacher" style={{ width: `${100 * teacher}%` }} />
        )}
      </span>
    </span>
  );
}
