// The ghost of a link as the page has it: the run of somebody else, drawn behind one's own. Pure.

import type { Config } from '../../config';
import type { parseLink } from '../../link';
import { formatGhost, type Ghost, ghostOf, parseGhost } from '../../runs/ghost';
import type { EvaluationRecord, StepRecord } from '../../worker/protocol';
import { type ComparedRun, comparedRun, differences } from '../charts/compare';
import { formatMeasure } from '../shared/format';
import { isActive, type Phase, type ShownRun } from './shown-run';

export interface ShownGhost extends ComparedRun {
  name: string;
  /** It read its user's own text, or its settings were changed while it trained. */
  own: boolean;
  changed: boolean;
  /** As the link has it. */
  text: string;
}

/** A link with what it carries, read. */
export type OpenedLink =
  | { config: Config; ghost?: ShownGhost; ghostProblem?: string }
  | { problems: string[] };

/** Reads the ghost of a parsed link. */
export function withGhost(link: ReturnType<typeof parseLink>): OpenedLink {
  if ('problems' in link) return link;
  const { config, ghost: text } = link;
  if (text === undefined) return { config };
  const answer = parseGhost(text, config);
  if ('problem' in answer) return { config, ghostProblem: answer.problem };
  return { config, ghost: shown(answer.ghost, text, answer.fits ? config : undefined) };
}

/** `config`: of its run; undefined if it is not known. */
function shown(ghost: Ghost, text: string, config: Config | undefined): ShownGhost {
  const { name, adapter, own, changed } = ghost;
  const label = `${adapter ? `${name} · ${adapter}` : name} (shared)`;
  const steps = ghost.curve.map((point, i): StepRecord => {
    const taken = point.step - (ghost.curve[i - 1]?.step ?? 0);
    return { ...UNKNOWN_STEP, ...point, tokens: ghost.targets * taken };
  });
  const evaluations = ghost.evaluations.map((point): EvaluationRecord => {
    return { ...UNKNOWN_EVALUATION, ...point };
  });
  // Its checksum: another ghost is another line.
  const id = `ghost ${text.slice(-6)}`;
  const run = comparedRun(id, label, { steps, evaluations }, config);
  return { ...run, means: true, name, own, changed, text };
}

const UNKNOWN_STEP = {
  gradNorm: Number.NaN,
  learningRate: Number.NaN,
  lossScale: Number.NaN,
  applied: true,
  appliedTotal: Number.NaN,
  skippedTotal: Number.NaN,
};
const UNKNOWN_EVALUATION = {
  tried: 0,
  succeeded: 0,
  failed: 0,
  tokens: 0,
  path: 'strided' as const,
  bytesCopied: 0,
  milliseconds: Number.NaN,
};

/** Whether the ghost stands alone, until one's own run begins: no recording is drawn over it. */
export const awaitsRace = ({
  ghost,
  run,
  unavailable,
}: {
  ghost?: ShownGhost;
  run?: ShownRun;
  unavailable?: unknown;
}): boolean => ghost !== undefined && run?.source !== 'live' && unavailable === undefined;

/** Whether a run has anything that a ghost could show. */
export const canShare = (run: ShownRun | undefined): run is ShownRun =>
  run?.source === 'live' && run.history.length > 0;

/** The text of a run's ghost. */
export function ghostText(run: ShownRun, name: string): string {
  const { history, config, adapter, corpus, marks } = run;
  const facts = {
    name,
    adapter: adapter?.name ?? '',
    own: corpus !== undefined,
    changed: marks.length > 0,
  };
  const steps = Array.from({ length: history.length }, (_, index) => history.at(index));
  return formatGhost(ghostOf(facts, steps, history.evaluations), config);
}

/**
 * What there is to say of one's own run beside the ghost, as sentences. `config`: one's own
 * settings; `run`: one's own run, if there is one; `ownText`: it reads one's own text.
 */
export function raceSentences(
  ghost: ShownGhost,
  {
    config,
    run,
    phase,
    ownText,
  }: {
    config: Config;
    run?: ShownRun;
    phase: Phase;
    ownText: boolean;
  },
): string[] {
  const theirs = ghost.history.evaluations;
  const last = theirs.at(-1);
  const reached = last
    ? [
        `“${ghost.name}” reached perplexity ${formatMeasure(last.studentPerplexity)} at step ` +
          `${last.step.toLocaleString('en')}.`,
      ]
    : [];
  const obstacle = whyNoRace(ghost, config, ownText);
  if (obstacle) return [...reached, obstacle];
  if (!run) return [...reached, 'Press Distil to race it.'];
  const mine = run.history.evaluations.findLast(
    ({ step }) => step > 0 && theirs.some((other) => other.step === step),
  );
  if (!mine) return reached;
  const its = theirs.find(({ step }) => step === mine.step);
  const [yours, other] = [mine, its].map((record) => formatMeasure(record?.studentPerplexity));
  if (!isActive(phase) && mine.step === config.train_steps)
    return [`Yours ended at perplexity ${yours}, theirs at ${other}.`];
  const step = mine.step.toLocaleString('en');
  return [`At step ${step} yours was at perplexity ${yours}, theirs at ${other}.`];
}

/** Why the two runs are no race. */
function whyNoRace(
  { config, own, changed }: ShownGhost,
  mine: Config,
  ownText: boolean,
): string | undefined {
  if (!config) return 'The link’s settings were edited after it was shared, so yours differ.';
  const differing = differences(mine, config);
  if (differing) return `Your settings differ: ${differing}.`;
  if (changed) return 'Its settings were changed while it trained, so yours differ.';
  if (own !== ownText)
    return own ? 'It read its user’s own text, so yours differs.' : 'It read the built-in text.';
  return own ? 'It read its user’s own text, which may not be yours.' : undefined;
}
