// Check my GPU: compares every kernel with its slow reference on this machine, and shows the
// errors. The worker does it.

import type { CheckRow } from '../../worker/protocol';
import { CopyButton } from '../shared/CopyButton';
import { Fold } from '../shared/Fold';
import { plural } from '../shared/format';
import { TableHead } from '../shared/TableHead';
import { useCheck } from './check';
import { useRun } from './store';

export function CheckDrawer() {
  const { request, start } = useCheck();
  const phase = useRun((state) => state.phase);
  const unavailable = useRun((state) => state.unavailable);
  const rows = request.progress ?? [];
  const checking = request.status === 'running';
  const busy = phase === 'loading' || phase === 'running';
  return (
    <Fold
      title="Check my GPU"
      aside={
        <span className="fold-value" role="status">
          {request.status !== 'idle' && verdict(rows, checking)}
        </span>
      }
    >
      <div className="check-box">
        <p>
          Runs each kernel on this GPU and compares it with a plain reference. It takes up to 30 s.
        </p>
        <div className="drop-tools">
          <button
            type="button"
            className="quiet outlined"
            disabled={checking || busy || !!unavailable}
            onClick={() => start(undefined)}
          >
            {request.status === 'done' || request.status === 'failed'
              ? 'Check again'
              : 'Check every kernel'}
          </button>
          {request.status === 'done' && <CopyButton key={request.value} text={request.value} />}
        </div>
        {busy && !checking && (
          <p className="help">
            The GPU is busy: a run is {phase === 'loading' ? 'loading' : 'training'}. Pause or reset
            it first.
          </p>
        )}
        {request.status === 'failed' && (
          <p className="field-problem" role="alert">
            The check stopped: {request.failure.message} {request.failure.hint}
          </p>
        )}
        {rows.length > 0 && <Table rows={rows} />}
      </div>
    </Fold>
  );
}

/** "all 46 passed", "2 of 46 failed". */
function verdict(rows: readonly CheckRow[], checking: boolean): string {
  const failed = rows.filter(({ passed }) => !passed).length;
  if (checking) return `checking, ${plural(rows.length, 'row')} so far`;
  if (rows.length === 0) return 'stopped';
  return failed > 0 ? `${failed} of ${rows.length} failed` : `all ${rows.length} passed`;
}

const HEAD = ['Kernel', 'Type', 'Verdict', 'Error', 'Tolerance', 'Layout', 'Sizes', 'Result'];

function Table({ rows }: { rows: readonly CheckRow[] }) {
  return (
    <section className="check-table" tabIndex={0} aria-label="Kernels, table">
      <table>
        <TableHead names={HEAD} />
        <tbody>
          {rows.map((row, index) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: the table only grows at its end
            <tr key={index} className={row.passed ? undefined : 'failed'}>
              <th scope="row">
                {row.kernel}
                {row.message && <pre>{row.message}</pre>}
              </th>
              <td>{row.dtype}</td>
              <td>{row.passed ? 'passed' : 'failed'}</td>
              <td>{row.error === undefined ? 'n/a' : scientific(row.error)}</td>
              <td title={row.reason}>{scientific(row.tolerance)}</td>
              <td>{row.layout}</td>
              <td>{row.sizes}</td>
              <td>{row.output}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

const scientific = (value: number) => (value === 0 ? '0' : value.toExponential(1));
