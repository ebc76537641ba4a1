// Every sweep that is kept, in the room of the runs: what came of it, and going on with it.

import { isDone, type Sweep, settled } from '../../runs/sweep';
import { fieldsInWords } from '../../runs/sweep-result';
import type { KeptRuns } from '../../worker/protocol';
import { useRun } from '../run/store';
import { linkTo } from '../shared/address';
import { SweepResult } from './SweepResult';
import { useSweep } from './store';

const SHORT = { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' } as const;

export function Sweeps({ kept }: { kept: KeptRuns }) {
  if (kept.sweeps.length === 0) return null;
  return (
    <section className="sweeps" aria-label="Sweeps">
      <h2>Sweeps</h2>
      {kept.sweeps.map((sweep) => (
        <KeptSweep key={sweep.id} sweep={settled(sweep, kept.rows)} />
      ))}
    </section>
  );
}

function KeptSweep({ sweep }: { sweep: Sweep }) {
  const busy = useRun(({ phase }) => phase === 'running' || phase === 'loading');
  const running = useSweep((state) => state.running);
  const ended = sweep.runs.filter(({ outcome }) => outcome).length;
  return (
    <details>
      <summary>
        {fieldsInWords(sweep.fields)}, {ended} of {sweep.runs.length} runs done,{' '}
        {new Date(sweep.time).toLocaleString('en-GB', SHORT)}
      </summary>
      <SweepResult sweep={sweep} />
      {!isDone(sweep) && (
        <button
          type="button"
          className="secondary"
          disabled={busy || running}
          title={busy ? 'Pause the run that trains first.' : undefined}
          onClick={() => {
            useSweep.getState().goOn(sweep);
            location.hash = linkTo(sweep.runs[0].config).split('#')[1];
          }}
        >
          Continue the sweep
        </button>
      )}
    </details>
  );
}
