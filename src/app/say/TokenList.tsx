// Tokens in a line, one of which is chosen, by a click, a tap or the arrow keys. One of them is a
// stop for the Tab key: the chosen one, or the last.

import { type ReactNode, useRef } from 'react';

export interface ListedToken {
  /** What a screen reader says. */
  label: string;
  /** KL(teacher ‖ student) in its place, in nats. */
  kl: number;
  /** The colour of its ground, if that does not stand for the KL: as in CSS. */
  colour?: string;
  content: ReactNode;
}

/** Nats from which a token's ground has its full colour. */
const FAR_APART = 3;
/** So much of another colour leaves the text readable in both themes. */
const OF_COLOUR = '24%';

export function TokenList({
  label,
  tokens,
  chosen,
  onChoose,
  onPoint,
}: {
  label: string;
  tokens: readonly ListedToken[];
  /** The place of the chosen one; −1 for none. */
  chosen: number;
  onChoose: (index: number) => void;
  /** The pointer is over a token. */
  onPoint?: (index: number) => void;
}) {
  const list = useRef<HTMLDivElement>(null);
  const stop = Math.max(0, chosen < 0 ? tokens.length - 1 : chosen);
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
    <div
      ref={list}
      className="said"
      role="listbox"
      aria-label={label}
      aria-orientation="horizontal"
      onKeyDown={move}
    >
      {tokens.map(({ label, kl, colour, content }, index) => (
        <span
          // biome-ignore lint/suspicious/noArrayIndexKey: a text only grows at its end
          key={index}
          className={colour ? 'token coloured' : 'token'}
          role="option"
          tabIndex={index === stop ? 0 : -1}
          aria-selected={index === chosen}
          aria-label={label}
          style={
            {
              '--apart': colour ? OF_COLOUR : `${Math.round(40 * Math.min(1, kl / FAR_APART))}%`,
              '--ground': colour,
            } as React.CSSProperties
          }
          onFocus={() => onChoose(index)}
          onPointerEnter={() => onPoint?.(index)}
        >
          {content}
        </span>
      ))}
    </div>
  );
}
