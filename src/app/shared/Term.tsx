// A word of the glossary: its definition shows on hover, on focus and on a tap, and Escape closes
// it.

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
import { memo, useState } from 'react';
import { GLOSSARY, type TermName } from './glossary';

const OPEN_MILLISECONDS = 150;
const EDGE = 8;

/**
 * `children`: the word as the sentence has it; without them, a question mark beside a label, which
 * must not hold a button itself.
 */
export const Term = memo(function Term({ of, children }: { of: TermName; children?: string }) {
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
  const { name, definition } = GLOSSARY[of];
  return (
    <>
      <button
        ref={refs.setReference}
        type="button"
        className={children === undefined ? 'term mark' : 'term'}
        aria-label={children === undefined ? `What is ${name}?` : undefined}
        {...getReferenceProps()}
      >
        {children ?? '?'}
      </button>
      {open && (
        <FloatingPortal>
          <div
            ref={refs.setFloating}
            className="definition"
            style={floatingStyles}
            {...getFloatingProps()}
          >
            {definition}
          </div>
        </FloatingPortal>
      )}
    </>
  );
});
