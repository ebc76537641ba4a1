// Check my GPU: holds every kernel against its slow twin on this machine, and shows what each was
// off by. The worker does it.

import type { CheckRow } from '../../worker/protocol';
import { CopyButton } from '../shared/CopyButton';
import { plural } from '../shared/format';
import { TableHead } from '../shared/TableHead';
import { useRun } from './store';

export function CheckDrawer() {
  const check = useRun((state) => state.check);
  const phase = useRun((state) => state.phase);
  const unavailable = useRun((state) => state.unavailable);
  const checkGpu = useRun((state) => state.checkGpu);
  const going = check !== undefined && check.text === undefined && check.failure === undefined;
  const busy = phase === 'loading' || phase === 'running';
  return (
    <details className="fold check">
      <summary>
        <span>Check my GPU</span>
        <span className="fold-value" role="status">
          {check && verdict(check.rows, going)}
        </span>
      </summary>
      <div className="check-box">
        <p>
          Runs each kernel on this GPU and compares it with plain arithmetic. It takes up to 20 s.
        </p>
        <div className="drop-tools">
          <button
            type="button"
            className="quiet outlined"
            disabled={going || busy || !!unavailable}
            onClick={checkGpu}
          >
            {check && !going ? 'Check again' : 'Check every kernel'}
          </button>
          {check?.text && <CopyButton key={check.text} text={check.text} />}
        </div>
        {busy && !going && (
          <p className="help">
            A run is {phase === 'loading' ? 'loading' : 'going on'}, and the GPU is busy with it.
            Pause or reset it first.
          </p>
        )}
        {check?.failure && (
          <p className="field-problem" role="alert">
            The check stopped: {check.failure.message} {check.failure.hint}
          </p>
        )}
        {check && check.rows.length > 0 && <Table rows={check.rows} />}
      </div>
    </details>
  );
}

/** "46 passed", "2 of 46 failed". */
function verdict(rows: readonly CheckRow[], going: boolean): string {
  const failed = rows.filter(({ passed }) => !passed).length;
  if (going) return `checking, ${plural(rows.length, 'row')} so far`;
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
            // biome-ignore lint/suspicious/noArrayIndexKey: the table only grows, and two rows may say the same
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
