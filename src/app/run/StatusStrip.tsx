// The machine and the run right now. A figure that is not measured is left out, never guessed.

import { formatBytes, formatCount, formatDuration } from '../shared/format';
import { Hint, Term } from '../shared/Term';
import { useRun } from './store';
import { useShownRun } from './use-shown-run';

export function StatusStrip() {
  const run = useShownRun();
  const adapter = useRun((state) => state.adapter);
  const unavailable = useRun((state) => state.unavailable);
  const status = useRun((state) => state.status);
  const phase = useRun((state) => state.phase);
  const live = run?.source === 'live' ? run : undefined;
  const last = live?.history.last();
  const tried = live?.history.evaluations.reduce((sum, record) => sum + record.tried, 0) ?? 0;
  const failed = live?.history.evaluations.reduce((sum, record) => sum + record.failed, 0) ?? 0;
  // Outside training the last measured speed is not the present one.
  const measured = status && (phase === 'running' || phase === 'finished');
  const dtype = live?.report?.dtype;
  return (
    <section className="status" aria-label="Status">
      <dl>
        <Item term="GPU" className="status-gpu">
          {adapter ? (
            <>
              {adapter.name}
              {adapter.software && <span className="chip">software</span>}
            </>
          ) : unavailable ? (
            'none usable'
          ) : (
            'not checked yet'
          )}
        </Item>
        {(dtype || adapter) && (
          <Item term="precision">
            <Term of="f16">
              {dtype ? short(dtype) : adapter?.f16 ? 'f16 available' : 'f32 only'}
            </Term>
          </Item>
        )}
        {live?.report?.teacherEngine && (
          <Item term="teacher in">
            <Hint text={live.report.teacherEngine.reason}>{live.report.teacherEngine.name}</Hint>
          </Item>
        )}
        {measured && status.tokensPerSecond > 0 && (
          <Item term="speed">
            {formatCount(status.tokensPerSecond)} <Term of="token">tok/s</Term>
          </Item>
        )}
        {status?.secondsLeft !== undefined && phase === 'running' && (
          <Item term="left">{formatDuration(status.secondsLeft)}</Item>
        )}
        {status && <Memory memory={status.memory} />}
        {last && (
          <Item term="steps" warn={!last.applied}>
            {last.appliedTotal.toLocaleString('en')} applied,{' '}
            {last.skippedTotal.toLocaleString('en')} skipped
          </Item>
        )}
        {tried > 0 && (
          <Item term="evaluation batches" warn={failed > 0}>
            {tried.toLocaleString('en')} tried, {failed.toLocaleString('en')} failed
          </Item>
        )}
        {!live && <Item term="run">not started</Item>}
      </dl>
    </section>
  );
}

const short = (dtype: 'float16' | 'float32') => (dtype === 'float16' ? 'f16' : 'f32');

function Item({
  term,
  warn,
  className = '',
  children,
}: {
  term: string;
  warn?: boolean;
  className?: string;
  children: React.ReactNode;
}) {
  return (
    <div className={`status-item ${className}${warn ? ' warn' : ''}`}>
      <dt>{term}</dt>
      <dd>{children}</dd>
    </div>
  );
}

/** The total, and by purpose on a click. */
function Memory({ memory }: { memory: Record<string, number> }) {
  const purposes = Object.entries(memory).sort(([, a], [, b]) => b - a);
  const total = purposes.reduce((sum, [, bytes]) => sum + bytes, 0);
  return (
    <Item term="GPU memory">
      <details className="memory">
        <summary
          title={purposes.map(([purpose, bytes]) => `${purpose}: ${formatBytes(bytes)}`).join('\n')}
        >
          {formatBytes(total)}
        </summary>
        <div className="memory-box">
          <p>By purpose</p>
          <table>
            <tbody>
              {purposes.map(([purpose, bytes]) => (
                <tr key={purpose}>
                  <th scope="row">{purpose}</th>
                  <td>{formatBytes(bytes)}</td>
                  <td className="memory-bar">
                    <span style={{ width: `${(100 * bytes) / Math.max(1, total)}%` }} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
    </Item>
  );
}
