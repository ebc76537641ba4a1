// Where the runs are kept, how much they may take, and what goes first; and opening a run's file.

import { useId } from 'react';
import type { KeptRuns } from '../../worker/protocol';
import { formatBytes } from '../shared/format';
import { openRunFile, useRuns } from './store';

const BUDGETS = [250e6, 1e9, 4e9, 16e9];

export function Keeping({ kept }: { kept: KeptRuns }) {
  const { setBudget } = useRuns.getState();
  const budgetId = useId();
  const fileId = useId();
  const { bytes, budget, quota, lasting, persisted } = kept;
  const budgets = [...new Set([...BUDGETS, budget])].sort((a, b) => a - b);
  return (
    <section className="keeping" aria-label="Where runs are kept">
      <div>
        <label htmlFor={fileId}>Open a run’s file, or drop it here</label>
        <input
          id={fileId}
          type="file"
          accept=".zip,.jsonl"
          onChange={async ({ target }) => {
            const [file] = target.files ?? [];
            if (!file) return;
            await openRunFile(file);
            target.value = '';
          }}
        />
      </div>
      <div>
        <label htmlFor={budgetId}>Keep at most</label>
        <select
          id={budgetId}
          value={budget}
          onChange={(event) => setBudget(Number(event.target.value))}
        >
          {budgets.map((value) => (
            <option key={value} value={value}>
              {formatBytes(value)}
            </option>
          ))}
        </select>
      </div>
      <p className="help">
        {lasting
          ? `The runs take ${formatBytes(bytes)} of this browser’s private storage for the page` +
            `${quota === undefined ? '' : `, which may hold ${formatBytes(quota)}`}. `
          : 'This browser has no private storage for the page, so runs last until the tab is ' +
            'closed. Save those that matter as files. '}
        Beyond the limit, deleted runs go first, then the checkpoint before the last of each run,
        then the oldest finished runs. Pinned runs and runs that are not finished stay.
        {lasting &&
          !persisted &&
          ' The browser may clear them when the disk is full. Pin a run to ask it not to.'}
      </p>
    </section>
  );
}
