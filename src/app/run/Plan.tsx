// What a run with these settings needs, estimated before anything large is loaded: GPU memory, time
// and what the Doctor objects to.

import { checkConfig, type FieldName } from '../../config';
import type { Verdict } from '../../doctor/examine';
import type { RunPlan } from '../../worker/protocol';
import { usePlan } from '../models/store';
import { formatBytes, formatDuration, formatMeasure } from '../shared/format';
import { describeChanges, lockReason, sameSettings } from './shown-run';
import { useRun } from './store';

export function Plan() {
  const config = useRun((state) => state.config);
  const corpus = useRun((state) => state.corpus);
  const drafts = useRun((state) => state.drafts);
  const { input, request, start } = usePlan();
  const valid = Object.keys(drafts).length === 0 && checkConfig(config).length === 0;
  // A plan belongs to the settings and the text that it was made for.
  const isCurrent = input && sameSettings(input.config, config) && input.corpus === corpus;
  const current = isCurrent ? request : undefined;
  return (
    <div className="plan">
      <button
        type="button"
        className="quiet outlined"
        disabled={!valid}
        onClick={() => start({ config, corpus })}
      >
        Estimate memory and time
      </button>
      {current?.status === 'failed' && (
        <p className="field-problem" role="alert">
          {current.failure.message} {current.failure.hint}
        </p>
      )}
      {current?.status === 'running' && (
        <p className="model-report" role="status">
          Reading both models’ config.json and headers, and the text.
        </p>
      )}
      {current?.status === 'done' && <Planned plan={current.value} />}
    </div>
  );
}

function Planned({ plan }: { plan: RunPlan }) {
  const { verdicts, textProblem } = plan;
  return (
    <div role="status">
      <p className="model-report">{memoryText(plan)}</p>
      <p className="model-report">{timeText(plan)}</p>
      {textProblem && <p className="model-report">The text cannot be used. {textProblem}</p>}
      {verdicts.map(({ rule, title, text, advice, change }) => (
        <p className="model-report" key={rule}>
          <strong>{title}.</strong> {text} {advice} {change && <SetIt change={change} />}
        </p>
      ))}
      {verdicts.length === 0 && !textProblem && (
        <p className="model-report">The Doctor has no objection to these settings and this text.</p>
      )}
    </div>
  );
}

/** Takes a verdict's change of settings. */
function SetIt({ change }: { change: NonNullable<Verdict['change']> }) {
  const config = useRun((state) => state.config);
  const setField = useRun((state) => state.setField);
  const names = Object.keys(change) as FieldName[];
  const locked = useRun(({ phase, run }) => names.some((name) => lockReason(phase, name, run)));
  return (
    <button
      type="button"
      className="quiet outlined"
      disabled={locked}
      onClick={() => {
        for (const name of names) setField(name, String(change[name]));
      }}
    >
      Set {describeChanges(config, change)}
    </button>
  );
}

/** "2.59 GB: teacher 1.1 GB, optimiser 656 MB, … The adapter allows buffers of up to 4.3 GB…" */
function memoryText({ memory, largestBuffer, atLeast }: RunPlan): string {
  const purposes = Object.entries(memory).sort(([, a], [, b]) => b - a);
  const total = purposes.reduce((sum, [, bytes]) => sum + bytes, 0);
  const list = purposes.map(([purpose, bytes]) => `${purpose} ${formatBytes(bytes)}`).join(', ');
  const extra = atLeast ? ' onnxruntime needs working memory as well.' : '';
  return (
    `This run needs ${formatBytes(total)} of GPU memory: ${list}.${extra} ` +
    `The adapter allows buffers of up to ${formatBytes(largestBuffer)}; it does not report its ` +
    'total memory.'
  );
}

/** "It trains for about 03:10, if it computes as fast as “amber heron” did here: 2.1 GFLOP/s." */
function timeText({ time }: RunPlan): string {
  if (!time)
    return (
      'How long it trains is unknown: no kept run on this adapter has steps of about this size. ' +
      'The first steps will tell.'
    );
  const { seconds, flopsPerSecond, like } = time;
  const duration = formatDuration(seconds);
  const rate = `${formatMeasure(flopsPerSecond / 1e9)} GFLOP/s`;
  return like
    ? `It trains for about ${duration}, if it computes as fast as “${like}” did here: ${rate}.`
    : `It trains for at least ${duration}, at the ${rate} of this adapter’s fastest product. ` +
        'Small models take longer.';
}
