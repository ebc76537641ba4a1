// Notices: what went wrong, with the values, and what can be done.

import { useEffect } from 'react';
import type { Failure } from '../../worker/protocol';
import { studentName } from '../models/ModelPair';
import { ContinueNotice } from '../runs/ContinueNotice';
import { KeepingNotice } from '../runs/KeepingNotice';
import { canContinue, continueRun, listed, useRuns } from '../runs/store';
import { engineAndSystem } from '../shared/browser';
import { CopyButton } from '../shared/CopyButton';
import { DEAD_WORKER } from '../shared/client';
import { formatDuration, plural } from '../shared/format';
import { Notice } from '../shared/Notice';
import { labHash } from '../shared/rooms';
import { awaitsRace } from './ghost';
import { gpuHelp } from './gpu-help';
import { repeats, type ShownRun } from './shown-run';
import { useRun } from './store';
import { useShownRun } from './use-shown-run';

/** Fewer skipped steps in a row are normal while the loss scale adapts. */
const MANY_SKIPPED = 4;

export function Notices() {
  return (
    <div className="notices">
      <ContinueNotice />
      <LinkNotice />
      <GhostNotice />
      <MachineNotice />
      <StopNotice />
      <KeepingNotice />
      <EvaluationNotice />
      <LossNotice />
      <HiddenNotice />
    </div>
  );
}

function LinkNotice() {
  const problems = useRun((state) => state.linkProblems);
  const dismiss = useRun((state) => state.dismiss);
  if (problems.length === 0) return null;
  return (
    <Notice
      kind="problem"
      title="The link’s settings were not applied."
      onDismiss={() => dismiss('link')}
    >
      {problems.length === 1 ? (
        <span>{problems[0]}</span>
      ) : (
        <ul>
          {problems.map((problem) => (
            <li key={problem}>{problem}</li>
          ))}
        </ul>
      )}
    </Notice>
  );
}

function GhostNotice() {
  const problem = useRun((state) => state.ghostProblem);
  const dismiss = useRun((state) => state.dismiss);
  return problem ? (
    <Notice
      kind="problem"
      title="The link’s run is not shown; its settings are."
      onDismiss={() => dismiss('ghost')}
    >
      {problem}
    </Notice>
  ) : null;
}

function FailureText({ failure }: { failure: Failure }) {
  return (
    <>
      <span className="failure-message">{failure.message}</span>
      {failure.hint && <span> {failure.hint}</span>}
      {failure.longestContext !== undefined && <Shorten context={failure.longestContext} />}
      {failure.table !== undefined && (
        <details className="stack">
          <summary>The check’s table</summary>
          <CopyButton text={failure.table} />
          <pre tabIndex={0}>{failure.table}</pre>
        </details>
      )}
      {failure.stack && (
        <details className="stack">
          <summary>Stack trace</summary>
          <pre tabIndex={0}>{failure.stack}</pre>
        </details>
      )}
    </>
  );
}

/** Sets the context that the run's text is enough for. */
function Shorten({ context }: { context: number }) {
  const { setField } = useRun.getState();
  const done = useRun((state) => state.config.max_length <= context);
  return (
    <button
      type="button"
      className="quiet outlined"
      disabled={done}
      onClick={() => setField('max_length', String(context))}
    >
      {done ? `The context is now ${context}` : `Use a context of ${context}`}
    </button>
  );
}

function MachineNotice() {
  const unavailable = useRun((state) => state.unavailable);
  const software = useRun((state) => state.adapter?.software === true);
  const speed = useRun((state) => state.status?.tokensPerSecond);
  const run = useShownRun();
  if (unavailable) {
    const title =
      unavailable.kind === 'no-webgpu'
        ? 'This browser has no WebGPU.'
        : 'No run can start on this machine.';
    return (
      <Notice kind="problem" title={title}>
        {unavailable.message !== title && unavailable.message} <GpuHelpList failure={unavailable} />
        <p>
          Without it you can still watch recorded runs: choose a teacher, and half a minute or five
          minutes. The <a href={labHash('lessons', '')}>lessons</a> and the{' '}
          <a href={labHash('strideLab', '')}>Stride Lab</a> work in full.
        </p>
      </Notice>
    );
  }
  if (!software) return null;
  const tokens = run?.source === 'live' ? run.report?.tokensPerStep : undefined;
  const twoFigures = (value: number) => value.toLocaleString('en', { maximumSignificantDigits: 2 });
  const measured =
    speed && tokens
      ? `${twoFigures(speed / tokens)} steps per second here.`
      : 'expect a few steps per second.';
  return (
    <Notice kind="note" title="This adapter is a software renderer:">
      {measured}
    </Notice>
  );
}

/** What to switch on in this browser. Only the worker knows about limits: its own hint. */
function GpuHelpList({ failure: { kind, hint } }: { failure: Failure }) {
  if (kind !== 'no-webgpu' && kind !== 'no-adapter') return hint;
  const help = gpuHelp({
    ...engineAndSystem(),
    secure: globalThis.isSecureContext !== false,
    hasWebGpu: kind === 'no-adapter',
  });
  return (
    <ul className="gpu-help">
      {help.map(({ text, address }) => (
        <li key={text}>
          {text}
          {address && (
            <>
              {' '}
              <code>{address}</code> <CopyButton text={address} />
            </>
          )}
        </li>
      ))}
    </ul>
  );
}

function StopNotice() {
  const failure = useRun((state) => state.failure);
  const lost = useRun((state) => state.lost);
  const id = useRun((state) => state.run?.id);
  const row = useRuns(({ kept }) => listed(kept).find((other) => other.id === id));
  const alone = failure?.operation === DEAD_WORKER;
  // A worker that fails tells what is kept; of one that is gone, the next one does.
  useEffect(() => {
    if (alone) useRuns.getState().refresh();
  }, [alone]);
  if (lost) {
    const next =
      lost.resumeStep === undefined
        ? 'There was no evaluation yet, so there are no weights to continue from.'
        : `The weights of the evaluation at step ${lost.resumeStep} are saved.`;
    const again = lost.failure;
    return (
      <Notice
        kind="problem"
        title={again ? `Could not ${again.operation}.` : 'The GPU device was lost.'}
      >
        {again ? (
          <FailureText failure={again} />
        ) : (
          <span className="failure-message">{lost.message}</span>
        )}{' '}
        {next}
        {again &&
          again.kind !== 'withdrawn' &&
          ' Try again in a moment; nothing is lost while this tab is open.'}
      </Notice>
    );
  }
  if (!failure) return null;
  return (
    <Notice kind="problem" title={`Could not ${failure.operation}.`}>
      <FailureText failure={failure} />
      {row && canContinue(row) && (
        <p>
          The run is kept.{' '}
          <button type="button" className="secondary" onClick={() => continueRun(row)}>
            Continue from step {row.checkpoint}
          </button>
        </p>
      )}
    </Notice>
  );
}

function EvaluationNotice() {
  const run = useShownRun();
  const evaluations = run?.history.evaluations ?? [];
  const last = evaluations[evaluations.length - 1];
  if (!last || last.failed === 0) return null;
  return (
    <Notice
      kind="problem"
      title={`${last.failed} of ${last.tried} evaluation batches failed at step ${last.step}.`}
    >
      {last.firstError && (
        <>
          First error: <pre tabIndex={0}>{last.firstError}</pre>
        </>
      )}
    </Notice>
  );
}

function LossNotice() {
  const run = useShownRun();
  const phase = useRun((state) => state.phase);
  const last = run?.history.last();
  if (!run || !last || run.source === 'recorded') return null;
  const skipped = run.history.skippedInARow();
  if (!Number.isFinite(last.loss)) {
    const why =
      last.tokens === 0 ? 'There were no valid targets.' : 'No parameter changed in this step.';
    const title = `The loss of step ${last.step} is ${last.loss}.`;
    return (
      <Notice kind="problem" title={title}>
        {why} {skipped > 1 && `${plural(skipped, 'step')} skipped in a row. `}Try a lower learning
        rate or float32.
      </Notice>
    );
  }
  if (skipped < MANY_SKIPPED || phase === 'finished') return null;
  return (
    <Notice kind="problem" title={`The last ${skipped} steps were skipped.`}>
      A gradient was not finite at loss scale {last.lossScale}. Each skipped step halves the scale.
    </Notice>
  );
}

function HiddenNotice() {
  const note = useRun((state) => state.hiddenNote);
  const dismiss = useRun((state) => state.dismiss);
  return note ? (
    <Notice kind="note" title="The tab was hidden." onDismiss={() => dismiss('hidden')}>
      {note}
    </Notice>
  ) : null;
}

/**
 * The caption above the curves. It distinguishes the recording from the user's own run; a ghost
 * that stands alone has a line of its own.
 */
export function RunCaption() {
  const run = useShownRun();
  const recording = useRun((state) => state.recording);
  const awaited = useRun(awaitsRace);
  const phase = useRun((state) => state.phase);
  const unavailable = useRun((state) => state.unavailable !== undefined);
  const trained = useRun((state) => state.trainedMilliseconds);
  const measured = useRun((state) => state.status?.submissionsPerStep);
  if (awaited) return null;
  if (!run) {
    return (
      <p className="run-caption">
        {recording === null
          ? 'No recorded run is available. The curves start with your own run.'
          : 'The recorded run is loading.'}
      </p>
    );
  }
  if (run.source === 'recorded') return <RecordingCaption run={run} unavailable={unavailable} />;
  const captions: Record<typeof phase, string> = {
    idle: '',
    loading: 'Your run is loading.',
    running: 'Your run.',
    paused: 'Your run, paused.',
    failed: 'Your run, up to where it stopped.',
    lost: 'Your run, up to where the GPU was lost.',
    finished: `Your run, finished in ${formatDuration(trained / 1000)}.`,
  };
  const report = run.report;
  const submissions = measured ?? report?.submissionsPerStep ?? 1;
  return (
    <p className="run-caption">
      {captions[phase]}
      {report &&
        ` ${plural(report.tokensPerStep, 'target')} per step, ${report.dispatchesPerStep} ` +
          `dispatches in ${plural(submissions, 'submission')}.`}
    </p>
  );
}

/** Whose run the recording is, and with which settings: never the reader's own. */
function RecordingCaption({ run, unavailable }: { run: ShownRun; unavailable: boolean }) {
  const config = useRun((state) => state.config);
  const { date = '', adapter } = run;
  const day = new Date(date).toLocaleDateString('en-GB', {
    day: 'numeric',
    month: 'long',
    year: 'numeric',
  });
  const { train_steps, alpha, temperature } = run.config;
  // Drivers append their versions.
  const machine = adapter?.name.split(':')[0];
  const settings = `a student of ${studentName(run.config)}, α ${alpha} and T ${temperature}`;
  return (
    <p className="run-caption">
      <span className="chip">Recording</span> An example, not your run:{' '}
      {plural(train_steps, 'step')} <span title={adapter?.name}>on {machine}</span>, {day}.
      {!repeats(run, config) && ` Your settings are different; it has ${settings}.`}
      {!unavailable && ' Press Distil to start your own.'}
    </p>
  );
}
