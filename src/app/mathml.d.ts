// The MathML elements that the formulas use; React renders them, its types do not list them.

import type { HTMLAttributes } from 'react';

interface MathAttributes extends HTMLAttributes<MathMLElement> {
  form?: 'prefix' | 'infix' | 'postfix';
  stretchy?: 'false';
  width?: string;
}

declare module 'react' {
  namespace JSX {
    interface IntrinsicElements
      extends Record<'math' | 'mi' | 'mn' | 'mo' | 'msup' | 'mspace' | 'mtext', MathAttributes> {}
  }
}
