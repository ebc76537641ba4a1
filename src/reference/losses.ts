// The losses with their gradients, and what an evaluation measures. Logits and targets are read row
// by row through their layouts.
//
// Of one row: z the student's logits (V), y the teacher's (V), T the temperature, q = softmax(z/T),
// p = softmax(y/T), t the target token, e the label smoothing, l the weight of the z-loss, β the
// mixing weight. A divergence enters the loss multiplied by T².

import type { Strided } from './arrays';
import { logSumExp } from './layers';

export interface LossOptions {
  /** `mixed`: alpha · T² · fkl + (1 − alpha) · ce. */
  kind: Divergence | 'ce' | 'mixed';
  /** T, for the divergences; cross-entropy has none. */
  temperature?: number;
  alpha?: number;
  /** β of jsd, sfkl and srkl, between 0 and 1. */
  beta?: number;
  labelSmoothing?: number;
  zLoss?: number;
  /** Rows with this target are left out; −100 by default. */
  ignoreIndex?: number;
  /**
   * Divides the sums: by default the valid targets of this call. With accumulation, those of all
   * batches.
   */
  denominator?: number;
}

export interface LossResult {
  /** Mean over valid targets; NaN without any. */
  loss: number;
  /** Mean cross-entropy. */
  ce: number;
  /** Mean divergence, without T²: fkl for `ce` and `mixed`; NaN without a teacher. */
  kd: number;
  /** (B, T): each token's loss, 0 if its target is ignored. */
  perToken: Float64Array;
  /**
   * d loss / d student, laid out as the student's storage. 0 outside the layout, and everywhere if
   * no target is valid.
   */
  gradient: Float64Array;
  /** Targets that are not ignored. */
  valid: number;
}

/** The loss of one row and its gradient (V): by z for cross-entropy, by z/T for a divergence. */
export interface RowLoss {
  value: number;
  gradient: Float64Array;
}

/** ln softmax(x), (V) → (V). */
export function logSoftmax(x: Float64Array): Float64Array {
  const lse = logSumExp(x);
  return x.map((v) => v - lse);
}

/** Σ w · f. A term of weight 0 is 0, even if f is infinite: 0 · ln 0 = 0. */
function expectation(weights: Float64Array, f: (v: number) => number): number {
  return weights.reduce((sum, w, v) => (w === 0 ? sum : sum + w * f(v)), 0);
}

/** KL(a ‖ m) = Σ a (ln a − ln m), from ln a and ln m. */
function kullbackLeibler(logA: Float64Array, logM: Float64Array): number {
  return expectation(logA.map(Math.exp), (v) => logA[v] - logM[v]);
}

/** ln(w a + (1 − w) b), from ln a and ln b, so that it exists where a and b underflow. */
function logMixture(w: number, logA: Float64Array, logB: Float64Array): Float64Array {
  return logA.map((a, v) => logSumExp([Math.log(w) + a, Math.log(1 - w) + logB[v]]));
}

/**
 * The gradient by z/T of a divergence whose derivative by ln q is q · f, taken through the softmax:
 * q (f − Σ q f).
 */
function throughSoftmax(q: Float64Array, f: (v: number) => number): Float64Array {
  const mean = expectation(q, f);
  return q.map((weight, v) => (weight === 0 ? 0 : weight * (f(v) - mean)));
}

/** A divergence of one row, from ln p and ln q, (V) each. */
type RowDivergence = (logP: Float64Array, logQ: Float64Array, beta: number) => RowLoss;

/** By the names of src/divergences.ts. D is the divergence, dD its gradient by z/T. */
const DIVERGENCES = {
  // D = KL(p ‖ q), dD = q − p
  fkl: (logP, logQ) => ({
    value: kullbackLeibler(logP, logQ),
    gradient: logQ.map((lq, v) => Math.exp(lq) - Math.exp(logP[v])),
  }),
  // D = KL(q ‖ p), dD = q (ln q − ln p − D)
  rkl: (logP, logQ) => ({
    value: kullbackLeibler(logQ, logP),
    gradient: throughSoftmax(logQ.map(Math.exp), (v) => logQ[v] - logP[v]),
  }),
  // m = β p + (1 − β) q, D = β KL(p ‖ m) + (1 − β) KL(q ‖ m),
  // dD = (1 − β) q (ln q − ln m − KL(q ‖ m))
  jsd: (logP, logQ, beta) => {
    const logM = logMixture(beta, logP, logQ);
    return {
      value: beta * kullbackLeibler(logP, logM) + (1 - beta) * kullbackLeibler(logQ, logM),
      gradient: throughSoftmax(logQ.map(Math.exp), (v) => (1 - beta) * (logQ[v] - logM[v])),
    };
  },
  // m = β p + (1 − β) q, D = KL(p ‖ m), dD = (1 − β) q (Σ q p/m − p/m)
  sfkl: (logP, logQ, beta) => {
    const logM = logMixture(beta, logP, logQ);
    return {
      value: kullbackLeibler(logP, logM),
      gradient: throughSoftmax(
        logQ.map(Math.exp),
        (v) => -(1 - beta) * Math.exp(logP[v] - logM[v]),
      ),
    };
  },
  // m = (1 − β) p + β q, D = KL(q ‖ m), dD = q (h − Σ q h) with h = ln(q/m) − β q/m
  srkl: (logP, logQ, beta) => {
    const logM = logMixture(beta, logQ, logP);
    return {
      value: kullbackLeibler(logQ, logM),
      gradient: throughSoftmax(
        logQ.map(Math.exp),
        (v) => logQ[v] - logM[v] - beta * Math.exp(logQ[v] - logM[v]),
      ),
    };
  },
  // D = ½ Σ |p − q|, dD = q (s − Σ q s) with s = ½ sign(q − p)
  tvd: (logP, logQ) => {
    const p = logP.map(Math.exp);
    const q = logQ.map(Math.exp);
    return {
      value: 0.5 * p.reduce((sum, pv, v) => sum + Math.abs(pv - q[v]), 0),
      gradient: throughSoftmax(q, (v) => 0.5 * Math.sign(q[v] - p[v])),
    };
  },
} satisfies Record<string, RowDivergence>;
type Divergence = keyof typeof DIVERGENCES;

/**
 * Cross-entropy with target t, for lse = ln Σ exp z:
 *
 *     loss = (1 − e)(lse − z_t) + e (lse − mean z) + l · lse²
 *     dz (V) = (1 + 2 l · lse) softmax(z) − (1 − e) 1_t − e / V
 */
export function crossEntropy(z: Float64Array, target: number, e: number, l: number): RowLoss {
  const V = z.length;
  const lse = logSumExp(z);
  const mean = e === 0 ? 0 : z.reduce((sum, v) => sum + v, 0) / V;
  return {
    value: (1 - e) * (lse - z[target]) + (e === 0 ? 0 : e * (lse - mean)) + l * lse * lse,
    gradient: z.map(
      (v, i) => (1 + 2 * l * lse) * Math.exp(v - lse) - (i === target ? 1 - e : 0) - e / V,
    ),
  };
}

/** The storage address of the element at this index, e.g. (b, t, v) or (b, t). */
export function address({ layout }: Strided, ...index: number[]): number {
  return index.reduce((sum, i, dimension) => sum + i * layout.strides[dimension], layout.offset);
}

function row(logits: Strided, b: number, t: number): Float64Array {
  const V = logits.layout.shape[2];
  return Float64Array.from({ length: V }, (_, v) => {
    const value = logits.data[address(logits, b, t, v)];
    if (value === undefined) {
      throw new Error(
        `loss: element (${b}, ${t}, ${v}) lies outside a storage of ${logits.data.length}. ` +
          'Check the layout.',
      );
    }
    return value;
  });
}

function expectShape(name: string, { layout }: Strided, shape: readonly number[]): void {
  if (layout.shape.join() !== shape.join()) {
    throw new Error(
      `loss: ${name} is (${layout.shape.join(', ')}), not (${shape.join(', ')}). Slice both alike.`,
    );
  }
}

/** Yields the rows whose target is not ignored: z and, with a teacher, y. */
export function* validRows(
  student: Strided,
  teacher: Strided | undefined,
  targets: Strided,
  ignoreIndex = -100,
) {
  const [B, T, V] = student.layout.shape;
  expectShape('targets', targets, [B, T]);
  if (teacher) expectShape('teacher', teacher, [B, T, V]);
  for (let b = 0; b < B; b++) {
    for (let t = 0; t < T; t++) {
      const target = targets.data[address(targets, b, t)];
      if (target === ignoreIndex) continue;
      if (!(target >= 0 && target < V)) {
        throw new Error(
          `loss: target ${target} at (${b}, ${t}) is outside 0..${V - 1}. ` +
            `Use ${ignoreIndex} to ignore it.`,
        );
      }
      yield { b, t, n: b * T + t, target, z: row(student, b, t), y: teacher && row(teacher, b, t) };
    }
  }
}

/**
 * A loss and its gradient. `student` and `teacher` are (B, T, V), `targets` (B, T), each read
 * through its own layout.
 * @throws if shapes differ, a target is out of range, or a divergence has no teacher
 */
export function distillationLoss(
  options: LossOptions,
  student: Strided,
  teacher: Strided | undefined,
  targets: Strided,
): LossResult {
  const {
    kind,
    temperature: T = 1,
    alpha = 0.5,
    beta = 0.5,
    labelSmoothing = 0,
    zLoss = 0,
  } = options;
  if (kind !== 'ce' && !teacher)
    throw new Error(`loss: ${kind} compares with a teacher, but none is given. Pass its logits.`);
  const [ceWeight, kdWeight] =
    kind === 'ce' ? [1, 0] : kind === 'mixed' ? [1 - alpha, alpha] : [0, 1];
  const diverge = DIVERGENCES[kind === 'ce' || kind === 'mixed' ? 'fkl' : kind];
  const perToken = new Float64Array(student.layout.shape[0] * student.layout.shape[1]);
  const gradient = new Float64Array(student.data.length);
  const sums = { ce: 0, kd: 0, loss: 0 };
  let valid = 0;
  for (const { b, t, n, target, z, y } of validRows(
    student,
    teacher,
    targets,
    options.ignoreIndex,
  )) {
    valid++;
    const ce = crossEntropy(z, target, labelSmoothing, zLoss);
    const kd = y && diverge(logSoftmax(y.map((v) => v / T)), logSoftmax(z.map((v) => v / T)), beta);
    // A term of weight 0 is skipped, since it may be infinite and 0 · ∞ is not 0.
    if (ceWeight !== 0) perToken[n] += ceWeight * ce.value;
    if (kd && kdWeight !== 0) perToken[n] += kdWeight * T * T * kd.value;
    for (let v = 0; v < z.length; v++) {
      const at = address(student, b, t, v);
      if (ceWeight !== 0) gradient[at] += ceWeight * ce.gradient[v];
      // T² from the loss, divided by the T of z/T.
      if (kd && kdWeight !== 0) gradient[at] += kdWeight * T * kd.gradient[v];
    }
    sums.ce += ce.value;
    sums.kd += kd ? kd.value : Number.NaN;
    sums.loss += perToken[n];
  }
  const denominator = options.denominator ?? valid;
  return {
    loss: sums.loss / denominator,
    ce: sums.ce / denominator,
    kd: teacher ? sums.kd / denominator : Number.NaN,
    perToken,
    gradient: valid === 0 ? gradient : gradient.map((g) => g / denominator),
    valid,
  };
}

/** What an evaluation measures, at temperature 1: (B, T) each, 0 where the target is ignored. */
export interface EvaluationRows {
  /** −ln of the student's probability of the target. */
  studentNll: Float64Array;
  /** −ln of the teacher's. */
  teacherNll: Float64Array;
  /** KL(teacher ‖ student). */
  kl: Float64Array;
  /** 1 if both models have the same most likely token; in a tie, the lowest id counts. */
  agreement: Float64Array;
  /** 1 if the student's most likely token is the target. */
  studentRight: Float64Array;
  /** 1 if the teacher's is. */
  teacherRight: Float64Array;
  valid: number;
}

/** Compares two models on held-out text. Shapes as in `distillationLoss`. */
export function evaluateRows(
  student: Strided,
  teacher: Strided,
  targets: Strided,
  ignoreIndex = -100,
): EvaluationRows {
  const rows = student.layout.shape[0] * student.layout.shape[1];
  const [studentNll, teacherNll, kl, agreement, studentRight, teacherRight] = Array.from(
    { length: 6 },
    () => new Float64Array(rows),
  );
  let valid = 0;
  for (const { n, target, z, y } of validRows(student, teacher, targets, ignoreIndex)) {
    const logQ = logSoftmax(z);
    const logP = logSoftmax(y!);
    valid++;
    studentNll[n] = -logQ[target];
    teacherNll[n] = -logP[target];
    kl[n] = kullbackLeibler(logP, logQ);
    agreement[n] = argmax(z) === argmax(y!) ? 1 : 0;
    studentRight[n] = argmax(z) === target ? 1 : 0;
    teacherRight[n] = argmax(y!) === target ? 1 : 0;
  }
  return { studentNll, teacherNll, kl, agreement, studentRight, teacherRight, valid };
}

/** How two models' predictions differ at each token: (B, T) each, 0 where the target is ignored. */
export interface DiagnosisRows {
  /** −Σ p ln p of the teacher, of the student, and of the teacher at a temperature. */
  teacherEntropy: Float64Array;
  studentEntropy: Float64Array;
  softEntropy: Float64Array;
  /** Share of the k likeliest tokens of both that are the same; in a tie, the lowest ids count. */
  overlap: Float64Array;
  /** The teacher's probability of the student's k likeliest tokens. */
  overlapMass: Float64Array;
  /** The student's probability of its likeliest token. */
  confidence: Float64Array;
}

const entropy = (logP: Float64Array) => -expectation(logP.map(Math.exp), (v) => logP[v]);

/** The ids of the k largest elements; of equal ones, the lower ids. */
function likeliest(x: Float64Array, k: number): number[] {
  const ids = [...x.keys()].sort((a, b) => x[b] - x[a] || a - b);
  return ids.slice(0, k);
}

/** Compares two models' predictions. Shapes as in `distillationLoss`. */
export function diagnoseRows(
  student: Strided,
  teacher: Strided,
  targets: Strided,
  { temperature, k = 5 }: { temperature: number; k?: number },
): DiagnosisRows {
  const rows = student.layout.shape[0] * student.layout.shape[1];
  const column = () => new Float64Array(rows);
  const result: DiagnosisRows = {
    teacherEntropy: column(),
    studentEntropy: column(),
    softEntropy: column(),
    overlap: column(),
    overlapMass: column(),
    confidence: column(),
  };
  for (const { n, z, y } of validRows(student, teacher, targets)) {
    const logQ = logSoftmax(z);
    const logP = logSoftmax(y!);
    const [mine, other] = [likeliest(z, k), likeliest(y!, k)];
    result.teacherEntropy[n] = entropy(logP);
    result.studentEntropy[n] = entropy(logQ);
    result.softEntropy[n] = entropy(logSoftmax(y!.map((v) => v / temperature)));
    result.overlap[n] = mine.filter((id) => other.includes(id)).length / k;
    result.overlapMass[n] = mine.reduce((sum, id) => sum + Math.exp(logP[id]), 0);
    result.confidence[n] = Math.exp(logQ[mine[0]]);
  }
  return result;
}

/** The index of the largest element; in a tie, the lowest. */
export function argmax(x: Float64Array): number {
  return x.reduce((best, value, i) => (value > x[best] ? i : best), 0);
}
