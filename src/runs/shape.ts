// Whether a line of a journal has the shape of its type. A journal may come from anywhere, as part
// of a run's file, and one that is wrong must not spoil the list of all runs. Fields that are not
// listed are of later versions, or only repeated.

import { checkField, isFieldName, isLive } from '../config';

type Check = (value: unknown) => boolean;

const isText: Check = (value) => typeof value === 'string';
const isStep: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
/** JSON has null for NaN. */
const isFigure: Check = (value) => value === null || typeof value === 'number';
const isObject: Check = (value) =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isFigures: Check = (value) => Array.isArray(value) && value.every(isFigure);
/** Of each group, where it begins and ends, its tokens, and so many figures of them. */
const isGroups =
  (figures: number): Check =>
  (value) =>
    Array.isArray(value) &&
    value.every(
      (group) =>
        isFigures(group) && group.length === 3 + figures && !group.slice(0, 3).includes(null),
    );
const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value);
const object =
  (fields: Record<string, Check>): Check =>
  (value) =>
    isObject(value) &&
    Object.entries(fields).every(([name, check]) =>
      check(Object.hasOwn(value as object, name) ? (value as never)[name] : undefined),
    );
const figures = (...names: string[]): Record<string, Check> =>
  Object.fromEntries(names.map((name) => [name, optional(isFigure)]));

const isUse: Check = object({
  layer: isStep,
  chosen: isStep,
  load: (value) => isFigures(value) && (value as unknown[]).length > 0,
  entropy: isFigure,
});
/** Nothing is measured of a student without experts. */
const isUses: Check = (value) => Array.isArray(value) && value.length > 0 && value.every(isUse);

const sample = object({ prompt: isText, teacher: isText, student: isText });

const step = object({
  step: isStep,
  applied: (value) => typeof value === 'boolean',
  loss: isFigure,
  lossScale: isFigure,
  ...figures('ce', 'kd', 'gradNorm', 'learningRate', 'tokens', 'seconds'),
  ...figures('appliedTotal', 'skippedTotal', 'routerBalance', 'routerZ', 'routerKd'),
});
const evaluation = object({
  step: isStep,
  tried: isStep,
  succeeded: isStep,
  failed: isStep,
  tokens: isStep,
  firstError: optional(isText),
  sample: optional(sample),
  klByPosition: optional(isGroups(1)),
  klByFrequency: optional(isGroups(1)),
  calibration: optional(isGroups(2)),
  experts: optional(isUses),
  answers: optional(object(figures('tried', 'studentRight', 'teacherRight'))),
  ...figures('studentPerplexity', 'teacherPerplexity'),
  ...figures('kl', 'klWords', 'agreement', 'teacherEntropy', 'studentEntropy', 'softEntropy'),
  ...figures('overlap', 'overlapMass', 'confidence', 'accuracy', 'updateRatio', 'equalTimePace'),
  ...figures('bytesCopied', 'milliseconds'),
});

/** Of settings that are live here; a later version may have others. */
const isChanges: Check = (value) =>
  isObject(value) &&
  Object.entries(value as object).every(
    ([name, setting]) =>
      !isFieldName(name) || !isLive(name) || checkField(name, setting) === undefined,
  );

const SHAPES = new Map<string, Check>([
  [
    'config',
    object({
      version: optional((value) => typeof value === 'number'),
      time: optional(isText),
      link: optional(isText),
      config: optional(isObject),
      adapter: optional(object({ name: isText })),
      dtype: optional((value) => value === 'f16' || value === 'f32'),
      id: optional(isText),
      engine: optional(isText),
      stepFlops: optional(isFigure),
      data: optional(object({ name: isText })),
      texts: optional(
        object({
          names: (value) => Array.isArray(value) && value.every(isText),
          reading: isObject,
        }),
      ),
    }),
  ],
  ['step', step],
  ['twin-step', step],
  ['evaluation', evaluation],
  ['twin-evaluation', evaluation],
  ['sample', object({ step: isStep, sample })],
  ['changed', object({ step: isStep, changes: isChanges })],
  ['note', object({ step: isStep, text: isText })],
  ['timing', object({ step: isStep, seconds: (value) => Number.isFinite(value) })],
]);

/** A type that is not known here has any shape. */
export const hasShape = (type: string, record: object): boolean =>
  SHAPES.get(type)?.(record) ?? true;

/** What a person said about a run; what is of another shape is left out. */
export function readLabel(json: unknown): {
  name?: string;
  note?: string;
  pinned?: boolean;
  deleted?: string;
} {
  const { name, note, pinned, deleted } = (isObject(json) ? json : {}) as Record<string, unknown>;
  return {
    ...(typeof name === 'string' && { name }),
    ...(typeof note === 'string' && { note }),
    ...(typeof pinned === 'boolean' && { pinned }),
    ...(typeof deleted === 'string' && { deleted }),
  };
}
