// The symptoms in the story's log: the cause of each, what does not explain it, and what the replay
// has just measured. Pure.

import type { LossPath } from '../../worker/protocol';
import { formatBytes, formatMeasure, plural } from '../shared/format';
import { percent } from './cause-rows';
import type { Totals } from './script';
import { CLAMP, measuredPerplexity, scriptPerplexity, scriptSuccess, totalsOf } from './script';
import type { BugLabRun } from './store';
import { COLUMNS } from './store';

/** The loss in the story's log, and GPT-2's vocabulary. */
const STORY_LOSS = 9.7453;
const GPT2_VOCABULARY = 50_257;
/** Cross-entropy in nats of a model that finds all of GPT-2's tokens equally likely. */
const UNIFORM_LOSS = Math.log(GPT2_VOCABULARY);
/** The slice of GPT-2's logits in the story: (4, 127, 50257) in f16. */
const STORY_SLICE_BYTES = 4 * 127 * GPT2_VOCABULARY * 2;

interface Symptom {
  id: string;
  /** The line of the log, or how a reader would describe it. */
  title: string;
  cause: string;
  notTheCause: string;
  /** What the replay measured; undefined if it did not measure this symptom. */
  measured: (replay: ReplaySummary) => string | undefined;
}

interface ReplaySummary {
  where: 'evaluation' | 'training';
  context: number;
  columns: Partial<Record<LossPath, Totals>>;
  /** The Success that the script printed in the view column. */
  success?: number;
}

export function summariseReplay(run: BugLabRun | undefined): ReplaySummary | undefined {
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

const perColumn = (replay: ReplaySummary, describe: (totals: Totals) => string) =>
  COLUMNS.replay
    .flatMap((path) => {
      const totals = replay.columns[path];
      return totals ? [`${path}: ${describe(totals)}`] : [];
    })
    .join('; ');

const batches = ({ succeeded, tried }: Totals) =>
  `${succeeded} of ${tried} evaluation batches succeeded`;
const loss = (value: number | undefined) => value?.toFixed(4) ?? 'n/a';

export const SYMPTOMS: readonly Symptom[] = [
  {
    id: 'exception',
    title: 'RuntimeError: view size is not compatible with input tensor’s size and stride',
    cause:
      'view(-1, V) on logits[:, :-1]: sizes (B, T − 1, V), strides (T·V, V, 1). It raises ' +
      'exactly ' +
      'when B > 1 and T − 1 > 1. labels[:, 1:].view(-1) raises under the same condition.',
    notTheCause:
      'Chance, the data, or what the model has learnt. With B = 1 the same line works, so batch ' +
      'size 1 hides the bug.',
    measured: (replay) =>
      `${perColumn(replay, ({ succeeded, tried, raised, stopped }) => {
        if (stopped) return 'raised and stopped';
        const steps = raised > 0 ? `, ${plural(raised, 'step')} raised` : '';
        return `${succeeded} of ${tried} batches succeeded${steps}`;
      })}.`,
  },
  {
    id: 'perplexity',
    title: 'PPL=10000.0',
    cause:
      'A clamp. With no valid evaluation batch there is nothing to average, so the script ' +
      'printed ' +
      'min(∞, 10000).',
    notTheCause:
      `Not necessarily the failing view. exp(${STORY_LOSS}) = ` +
      `${formatMeasure(Math.exp(STORY_LOSS))}, and for that the clamp prints ${CLAMP}.0 even if ` +
      'nothing raises.',
    measured: (replay) =>
      `${perColumn(replay, ({ evaluation }) => {
        const measured = measuredPerplexity(evaluation);
        if (!evaluation) return `${measured}, not printed`;
        return `${measured}, printed as ${scriptPerplexity(evaluation.studentPerplexity)}`;
      })}.`,
  },
  {
    id: 'flat',
    title: `Loss=${STORY_LOSS}, the same for 500 steps`,
    cause:
      'No update takes effect, or the printed loss is stale. For example, the loss scaler skips ' +
      'every step, the loss is detached from the graph, or the updates are lost in f16 weights ' +
      '(0.02 − 0.000005 is 0.02 in f16).',
    notTheCause:
      'The failing evaluation. Evaluation does not train, so it cannot explain the flat loss.',
    measured: ({ columns: { view }, where }) => {
      if (!view || view.steps === 0) return undefined;
      const weights = `the weights changed by ${percent(view.weightChange)}`;
      if (where === 'training' && view.raised > 0) {
        return (
          `view: ${view.raised} of ${plural(view.steps, 'training step')} raised before the loss ` +
          `was computed, so there is no loss to print; ${weights}.`
        );
      }
      return (
        `view: the loss went from ${loss(view.firstLoss)} to ${loss(view.lastLoss)} in ` +
        `${plural(view.steps, 'step')} and ${weights}, while ${batches(view)}.`
      );
    },
  },
  {
    id: 'success',
    title: 'Success=1.000',
    cause:
      'The script counted training steps that returned. A step whose exception is swallowed ' +
      'returns too.',
    notTheCause: 'Any measurement. Where every evaluation batch failed, 1.000 is a contradiction.',
    measured: ({ columns: { view }, success }) =>
      view && success !== undefined
        ? `view: the script printed Success=${success.toFixed(3)}, while ${batches(view)} and ` +
          `${view.raised} of ${plural(view.steps, 'training step')} raised.`
        : undefined,
  },
  {
    id: 'level',
    title: `A loss of ${STORY_LOSS}`,
    cause:
      `A GPT-2 that knows nothing has a cross-entropy of ln ` +
      `${GPT2_VOCABULARY.toLocaleString('en')} = ${UNIFORM_LOSS.toFixed(3)}. If the logged loss ` +
      'is ' +
      `a cross-entropy, it is only ${(UNIFORM_LOSS - STORY_LOSS).toFixed(3)} lower: the model ` +
      'knows next to nothing.',
    notTheCause:
      'view. Where it raises there is no loss at all; where it works, the rows are the right ones.',
    measured: ({ columns: { strided } }) => {
      const perplexity = strided?.before?.studentPerplexity;
      if (perplexity === undefined) return undefined;
      return (
        'strided: before the first step the student’s perplexity was ' +
        `${formatMeasure(perplexity)}, ` +
        `a cross-entropy of ${Math.log(perplexity).toFixed(3)}. Its vocabulary is smaller.`
      );
    },
  },
  {
    id: 'quiet',
    title: 'No error at T = 2',
    cause:
      'There view succeeds with strides (2·V, 1): the rows are not adjacent. A kernel that ' +
      'assumes ' +
      'a row stride of V reads the wrong rows, and raises nothing.',
    notTheCause: 'A kernel that uses the strides it is given, as PyTorch’s and ours do.',
    measured: (replay) =>
      replay.context === 2
        ? `${perColumn(replay, (totals) => {
            return `${batches(totals)}, perplexity ${measuredPerplexity(totals.evaluation)}`;
          })}.`
        : undefined,
  },
  {
    id: 'cost',
    title: 'What the fix costs',
    cause:
      'Where view raises, reshape copies. A slice of GPT-2’s logits, (4, 127, ' +
      `${GPT2_VOCABULARY}) ` +
      `in f16, is ${formatBytes(STORY_SLICE_BYTES)} per copy.`,
    notTheCause:
      'Necessity: no copy is needed. Shift the labels instead, and nothing is sliced. Or read ' +
      'offset and strides in the kernel, and nothing is copied.',
    measured: (replay) =>
      `${perColumn(replay, ({ bytesCopied }) => `${formatBytes(bytesCopied)} copied`)}.`,
  },
];
