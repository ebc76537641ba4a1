// The divergences between the teacher's distribution p and the student's q that a student can be
// trained with, one row each. Pure. The choices of `loss` and `kd_loss`, the page's formula, the
// table of losses, the GPU check and the tests derive from these rows.
//
// To add one, write a row here, a function of the same name in reference/losses.ts, and
// kernels/NAME.wgsl. The compiler asks for the function, the unit tests for the kernel and for
// PyTorch's goldens (tests/fixtures/goldens/make_losses.py), tests/mutate.mjs for a mutation.

export interface DivergenceRow {
  /** The name that people read, lower case inside a sentence. */
  label: string;
  /** As typeset under the recipe. */
  formula: string;
  /** What m is, where the formula has one. */
  mixture?: string;
  /** Whether it depends on β, the setting kd_beta. */
  takesBeta: boolean;
}

const ROWS = {
  fkl: { label: 'forward KL', formula: 'KL(p ‖ q)', takesBeta: false },
  rkl: { label: 'reverse KL', formula: 'KL(q ‖ p)', takesBeta: false },
  jsd: {
    label: 'generalised JSD',
    formula: 'β KL(p ‖ m) + (1 − β) KL(q ‖ m)',
    mixture: 'm = β p + (1 − β) q',
    takesBeta: true,
  },
  sfkl: {
    label: 'skew forward KL',
    formula: 'KL(p ‖ m)',
    mixture: 'm = β p + (1 − β) q',
    takesBeta: true,
  },
  srkl: {
    label: 'skew reverse KL',
    formula: 'KL(q ‖ m)',
    mixture: 'm = (1 − β) p + β q',
    takesBeta: true,
  },
  tvd: { label: 'total variation', formula: '½ Σ |p − q|', takesBeta: false },
} satisfies Record<string, DivergenceRow>;

export type Divergence = keyof typeof ROWS;
export const DIVERGENCES: Readonly<Record<Divergence, DivergenceRow>> = ROWS;
/** In the order in which people are offered them. */
export const DIVERGENCE_NAMES = Object.keys(ROWS) as Divergence[];
