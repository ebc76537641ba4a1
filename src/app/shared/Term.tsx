// What has more to say than it shows, such as a word of the glossary: the rest shows on hover, on
// focus and on a tap, and Escape closes it.

import {
  autoUpdate,
  FloatingPortal,
  flip,
  offset,
  safePolygon,
  shift,
  useClick,
  useDismiss,
  useFloating,
  useFocus,
  useHover,
  useInteractions,
  useRole,
} from '@floating-ui/react';
import { memo, type ReactNode, useState } from 'react';
import { GLOSSARY, type TermName } from './glossary';

const OPEN_MILLISECONDS = 150;
const EDGE = 8;

interface HintProps {
  text: string;
  className?: string;
  /** What the button is called, where its text does not say it. */
  label?: string;
  children: ReactNode;
}

/** Something short that has more to say: `text`. */
export function Hint({ text, className = 'term', label, children }: HintProps) {
  const [open, setOpen] = useState(false);
  const { refs, floatingStyles, context } = useFloating({
    open,
    onOpenChange: setOpen,
    placement: 'top',
    whileElementsMounted: autoUpdate,
    middleware: [offset(6), flip(), shift({ padding: EDGE })],
  });
  const { getReferenceProps, getFloatingProps } = useInteractions([
    useHover(context, {
      move: false,
      delay: { open: OPEN_MILLISECONDS },
      handleClose: safePolygon(),
    }),
    useFocus(context),
    // A tap gives no focus in Safari. A click on a word that is open keeps it open.
    useClick(context, { toggle: false }),
    useDismiss(context),
    useRole(context, { role: 'tooltip' }),
  ]);
  return (
    <>
      <button
        ref={refs.setReference}
        type="button"
        className={className}
        aria-label={label}
        {...getReferenceProps()}
      >
        {children}
      </button>
      {open && (
        <FloatingPortal>
          <div
            ref={refs.setFloating}
            className="definition"
            style={floatingStyles}
            {...getFloatingProps()}
          >
            {text}
          </div>
        </FloatingPortal>
      )}
    </>
  );
}

/**
 * `children`: the word as the sentence has it; without them, a question mark beside a label, which
 * must not hold a button itself.
 */
export const Term = memo(function Term({ of, children }: { of: TermName; children?: string }) {
  const { name, definition } = GLOSSARY[of];
  if (children !== undefined) return <Hint text={definition}>{children}</Hint>;
  return (
    <Hint text={definition} className="term mark" label={`What is ${name}?`}>
      ?
    </Hint>
  );
});
