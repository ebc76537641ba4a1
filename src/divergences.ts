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

/**
 * Losses for a teacher and a student without a common vocabulary: reference/aligned.ts has their
 * formulas. p and q are of groups of tokens that spell the same bytes.
 */
const ALIGNED_ROWS = {
  uld: { label: 'universal logit distillation', formula: 'Σ |p₍ₖ₎ − q₍ₖ₎|', takesBeta: false },
  gold: {
    label: 'GOLD',
    formula: 'w JSD + (1 − w) Σ |p₍ₖ₎ − q₍ₖ₎|',
    mixture: 'm = β p + (1 − β) q',
    takesBeta: true,
  },
} satisfies Record<string, DivergenceRow>;

export type AlignedLoss = keyof typeof ALIGNED_ROWS;
export const ALIGNED_NAMES = Object.keys(ALIGNED_ROWS) as AlignedLoss[];

export type Divergence = keyof typeof ROWS;
export const DIVERGENCES: Readonly<Record<Divergence, DivergenceRow>> = ROWS;
/** In the order in which people are offered them. */
export const DIVERGENCE_NAMES = Object.keys(ROWS) as Divergence[];
/** Every loss against a teacher. */
export const TEACHER_LOSSES: Readonly<Record<Divergence | AlignedLoss, DivergenceRow>> = {
  ...ROWS,
  ...ALIGNED_ROWS,
};

interface LossChoice {
  loss: Divergence | AlignedLoss | 'mixed' | 'ce';
  kd_loss: Divergence | AlignedLoss;
}

/** The loss that compares groups of tokens, if one does. */
export function alignedLossOf({ loss, kd_loss }: LossChoice): AlignedLoss | undefined {
  const chosen = loss === 'mixed' ? kd_loss : loss;
  return ALIGNED_NAMES.find((name) => name === chosen);
}

/** Why settings do not fit such a loss; undefined if they do. */
export function alignedProblem(
  config: LossChoice & { teacher_cache: string; train_loss_path: string },
): string | undefined {
  const name = alignedLossOf(config);
  if (name === undefined) return undefined;
  if (config.teacher_cache === 'on') {
    return (
      `The loss is ${name}, which reads the teacher’s tokens beside the student’s; a cache holds ` +
      'neither. Use teacher_cache=off.'
    );
  }
  if (config.train_loss_path === 'labels') return undefined;
  return (
    `The loss is ${name}, and train_loss_path is ${config.train_loss_path}. Groups of tokens ` +
    'have rows of their own. Use train_loss_path=labels.'
  );
}
