// What a run of the settings will take of the GPU, worked out before anything large is loaded.

import { checkConfig } from '../../config';
import type { MemoryPlan } from '../../worker/protocol';
import { useModels } from '../models/store';
import { formatBytes } from '../shared/format';
import { sameStart } from './shown-run';
import { useRun } from './store';

export function Plan() {
  const config = useRun((state) => state.config);
  const drafts = useRun((state) => state.drafts);
  const { planned, plan } = useModels();
  const valid = Object.keys(drafts).length === 0 && checkConfig(config).length === 0;
  const current = planned && sameStart(planned.config, config) ? planned : undefined;
  return (
    <div className="plan">
      <button
        type="button"
        className="quiet outlined"
        disabled={!valid}
        onClick={() => plan(config)}
      >
        Plan the GPU memory
      </button>
      {current?.failure && (
        <p className="field-problem" role="alert">
          {current.failure.message} {current.failure.hint}
        </p>
      )}
      {current && !current.failure && (
        <p className="model-found" role="status">
          {current.plan ? told(current.plan) : 'Reading what the models say of themselves.'}
        </p>
      )}
    </div>
  );
}

/** "2.59 GB: teacher 1.1 GB, optimiser 656 MB, … The adapter gives at most 4.3 GB in one piece." */
function told({ memory, largestBuffer, atLeast }: MemoryPlan): string {
  const purposes = Object.entries(memory).sort(([, a], [, b]) => b - a);
  const total = purposes.reduce((sum, [, bytes]) => sum + bytes, 0);
  const parts = purposes.map(([purpose, bytes]) => `${purpose} ${formatBytes(bytes)}`).join(', ');
  const rest = atLeast ? ' onnxruntime needs working memory beside it.' : '';
  return (
    `This run takes ${formatBytes(total)} of GPU memory: ${parts}.${rest} ` +
    `The adapter gives at most ${formatBytes(largestBuffer)} in one piece; how much it has in all, it does not say.`
  );
}
