// The GPU memory that a run with these settings needs, estimated before anything large is loaded.

import { checkConfig } from '../../config';
import type { MemoryPlan } from '../../worker/protocol';
import { usePlan } from '../models/store';
import { formatBytes } from '../shared/format';
import { sameStart } from './shown-run';
import { useRun } from './store';

export function Plan() {
  const config = useRun((state) => state.config);
  const drafts = useRun((state) => state.drafts);
  const { input, request, start } = usePlan();
  const valid = Object.keys(drafts).length === 0 && checkConfig(config).length === 0;
  // A plan belongs to the settings that it was made for.
  const current = input && sameStart(input, config) ? request : undefined;
  return (
    <div className="plan">
      <button
        type="button"
        className="quiet outlined"
        disabled={!valid}
        onClick={() => start(config)}
      >
        Estimate GPU memory
      </button>
      {current?.status === 'failed' && (
        <p className="field-problem" role="alert">
          {current.failure.message} {current.failure.hint}
        </p>
      )}
      {current?.status === 'running' && (
        <p className="model-report" role="status">
          Reading both models’ config.json and headers.
        </p>
      )}
      {current?.status === 'done' && (
        <div role="status">
          <p className="model-report">{planText(current.value)}</p>
          {current.value.verdicts.map(({ rule, text, advice }) => (
            <p className="model-report" key={rule}>
              {text} {advice}
            </p>
          ))}
        </div>
      )}
    </div>
  );
}

/** "2.59 GB: teacher 1.1 GB, optimiser 656 MB, … The adapter allows buffers of up to 4.3 GB…" */
function planText({ memory, largestBuffer, atLeast }: MemoryPlan): string {
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
