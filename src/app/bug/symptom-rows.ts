// What each line of the story's log comes from, what it does not come from, and what the replay
// measured of it just now. Pure.

import type { LossPath } from '../../worker/protocol';
import { formatBytes, formatMeasure, plural } from '../shared/format';
import { percent } from './cause-rows';
import type { Totals } from './script';
import { CLAMP, honestPerplexity, scriptPerplexity, scriptSuccess, totalsOf } from './script';
import type { LabRun } from './store';
import { COLUMNS } from './store';

/** The loss of the story's log, and GPT-2's vocabulary. */
const STORY_LOSS = 9.7453;
const GPT2_VOCABULARY = 50_257;
/** A slice of GPT-2's logits as the story had them: (4, 127, 50257) in f16. */
const STORY_SLICE_BYTES = 4 * 127 * GPT2_VOCABULARY * 2;

interface Symptom {
  id: string;
  /** As the log or the reader says it. */
  title: string;
  from: string;
  notFrom: string;
  /** From a replay's reports; undefined where this replay did not measure it. */
  measured: (replay: Replayed) => string | undefined;
}

interface Replayed {
  where: 'evaluation' | 'training';
  context: number;
  columns: Partial<Record<LossPath, Totals>>;
  /** What the script printed as Success in the view column. */
  success?: number;
}

export function replayed(run: LabRun | undefined): Replayed | undefined {
  if (run?.experiment.kind !== 'replay' || Object.keys(run.columns).length === 0) return undefined;
  const columns = Object.fromEntries(
    COLUMNS.replay.flatMap((path) => {
      const column = run.columns[path];
      return column ? [[path, totalsOf(column)]] : [];
    }),
  );
  const { where, contextLength } = run.experiment;
  return {
    where,
    context: contextLength,
    columns,
    success: run.columns.view && scriptSuccess(run.columns.view),
  };
}

const each = (replay: Replayed, say: (totals: Totals) => string) =>
  COLUMNS.replay
    .flatMap((path) => {
      const totals = replay.columns[path];
      return totals ? [`${path}: ${say(totals)}`] : [];
    })
    .join('; ');

const batches = ({ succeeded, tried }: Totals) =>
  `${succeeded} of ${tried} evaluation batches succeeded`;
const loss = (value: number | undefined) => value?.toFixed(4) ?? 'n/a';

export const SYMPTOMS: readonly Symptom[] = [
  {
    id: 'exception',
    title: 'RuntimeError: view size is not compatible with input tensor’s size and stride',
    from:
      'view(-1, V) on logits[:, :-1]: sizes (B, T − 1, V), strides (T·V, V, 1). It raises exactly when B > 1 and T − 1 > 1. ' +
      'labels[:, 1:].view(-1) raises under the same condition.',
    notFrom:
      'Chance, the data, or what the model has learnt. With B = 1 the same line works, so the bug hides at batch size one.',
    measured: (replay) =>
      `${each(replay, ({ succeeded, tried, raised, stopped }) => {
        if (stopped) return 'raised, and stopped';
        return `${succeeded} of ${tried} batches succeeded${raised > 0 ? `, ${plural(raised, 'step')} raised` : ''}`;
      })}.`,
  },
  {
    id: 'perplexity',
    title: 'PPL=10000.0',
    from: 'A clamp. With no valid evaluation batch there is nothing to average, and the script printed min(∞, 10000).',
    notFrom: `It is no evidence of the failing view: exp(${STORY_LOSS}) = ${formatMeasure(Math.exp(STORY_LOSS))}, and the clamp prints ${CLAMP}.0 for that with no error at all.`,
    measured: (replay) =>
      `${each(replay, ({ evaluation }) => `${honestPerplexity(evaluation)}, printed as ${evaluation ? scriptPerplexity(evaluation.studentPerplexity) : 'nothing'}`)}.`,
  },
  {
    id: 'flat',
    title: `Loss=${STORY_LOSS}, the same for 500 steps`,
    from:
      'No effective update, and a value that stays or is stale: every step skipped by the loss scaler, a loss that is not connected, ' +
      'a learning rate lost in f16 weights (0.02 − 0.000005 is 0.02 in f16).',
    notFrom:
      'The failing evaluation. Evaluation does not train, so the flat loss of the story is not explained by it.',
    measured: ({ columns: { view }, where }) => {
      if (!view || view.steps === 0) return undefined;
      if (where === 'training' && view.raised > 0) {
        return `view: ${view.raised} of ${plural(view.steps, 'training step')} raised before there was a loss, so there is none to print; the weights changed by ${percent(view.weightChange)}.`;
      }
      return `view: the loss went from ${loss(view.firstLoss)} to ${loss(view.lastLoss)} in ${plural(view.steps, 'step')} and the weights changed by ${percent(view.weightChange)}, while ${batches(view)}.`;
    },
  },
  {
    id: 'success',
    title: 'Success=1.000',
    from: 'The script counted training steps that came back. A swallowed exception comes back too.',
    notFrom:
      'Anything that was measured: where every evaluation batch failed, 1.000 is a contradiction.',
    measured: ({ columns: { view }, success }) =>
      view && success !== undefined
        ? `view: Success=${success.toFixed(3)} was printed, ${batches(view)}, and ${view.raised} of ${plural(view.steps, 'training step')} raised.`
        : undefined,
  },
  {
    id: 'level',
    title: `A loss of ${STORY_LOSS}`,
    from: `A GPT-2 that knows nothing has a cross-entropy of ln ${GPT2_VOCABULARY.toLocaleString('en')} = ${Math.log(GPT2_VOCABULARY).toFixed(3)}. If the log’s value is one, it lies ${(Math.log(GPT2_VOCABULARY) - STORY_LOSS).toFixed(3)} below: a model that knows next to nothing.`,
    notFrom:
      'view. Where it raises there is no loss at all; where it works the rows are the right ones.',
    measured: ({ columns: { strided } }) =>
      strided?.before?.studentPerplexity === undefined
        ? undefined
        : `strided: before the first step the student’s perplexity was ${formatMeasure(strided.before.studentPerplexity)}, a cross-entropy of ${Math.log(strided.before.studentPerplexity).toFixed(3)}. It has a smaller vocabulary.`,
  },
  {
    id: 'quiet',
    title: 'No error at T = 2',
    from:
      'view succeeds there with strides (2·V, 1): rows that are not side by side. A kernel that takes V for the row stride then reads ' +
      'other rows, and raises nothing.',
    notFrom: 'A kernel that reads the strides it is given, as PyTorch’s and ours do.',
    measured: (replay) =>
      replay.context === 2
        ? `${each(replay, (totals) => `${batches(totals)}, perplexity ${honestPerplexity(totals.evaluation)}`)}.`
        : undefined,
  },
  {
    id: 'cost',
    title: 'What the fix costs',
    from: `Where view raises, reshape copies. A slice of GPT-2’s logits, (4, 127, ${GPT2_VOCABULARY}) in f16, is ${formatBytes(STORY_SLICE_BYTES)}, each time.`,
    notFrom:
      'Any need. Shift the labels instead and nothing is sliced; or read offset and strides in the kernel, and nothing is copied.',
    measured: (replay) =>
      `${each(replay, ({ bytesCopied }) => `${formatBytes(bytesCopied)} copied`)}.`,
  },
];
