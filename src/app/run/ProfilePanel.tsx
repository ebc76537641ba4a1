// Where a step goes: the time of each kernel, its operations and bytes per second, and how close
// they are to this adapter's best. The worker measures.

import './profile.css';
import { Fragment, useId, useState } from 'react';
import type { Figures, ProfileReport } from '../../worker/protocol';
import { CopyButton } from '../shared/CopyButton';
import { formatMeasure, formatShare } from '../shared/format';
import { TableHead } from '../shared/TableHead';
import { useProfile } from './profile';
import type { RunStore } from './store';
import { useRun } from './store';

export default function ProfilePanel() {
  const reason = useRun(reasonNot);
  const run = useRun((state) => state.run);
  const { input, request, start } = useProfile();
  const current = run && input === run.id ? request : undefined;
  // A run that was lost or failed takes the measurement with it.
  const measuring = current?.status === 'running' && reason === undefined;
  return (
    <div className="profile">
      <p>Times every kernel of a step, several times. This does not change the run.</p>
      <div className="drop-tools">
        <button
          type="button"
          className="quiet outlined"
          disabled={measuring || reason !== undefined}
          onClick={() => run && start(run.id)}
        >
          {current?.status === 'done' ? 'Measure again' : 'Measure'}
        </button>
        {current?.status === 'done' && (
          <CopyButton key={current.value.text} text={current.value.text} />
        )}
      </div>
      <p className="help" role="status">
        {measuring ? 'Measuring. On a software adapter this takes up to a minute.' : reason}
      </p>
      {current?.status === 'failed' && (
        <p className="field-problem" role="alert">
          Could not measure the step. {current.failure.message} {current.failure.hint}
        </p>
      )}
      {current?.status === 'done' && <Report report={current.value.report} />}
    </div>
  );
}

/** Why a step cannot be measured now, and what to do. */
function reasonNot({ adapter, run, phase }: RunStore): string | undefined {
  if (adapter && !adapter.timestamps) {
    return (
      'This adapter has no timestamp-query, so its kernels cannot be timed. Chrome and Edge ' +
      'have it on most machines; a newer graphics driver may add it.'
    );
  }
  if (phase === 'loading') return 'The run is loading. Pause it when it trains, then measure.';
  if (phase === 'running') return 'The GPU is busy: the run is training. Pause it, then measure.';
  if (run?.source !== 'live' || (phase !== 'paused' && phase !== 'finished'))
    return 'Only a paused or finished run can be measured. Start a run first.';
  return undefined;
}

const PARTS: Record<string, string> = {
  teacher: 'Teacher',
  student: 'Student, forward and backward',
  optimiser: 'Optimiser',
};

const HEAD = ['Kernel', 'Time (ms)', 'Share', 'GFLOP/s (of best)', 'GB/s (of best)'];

function Report({ report }: { report: ProfileReport }) {
  const { roofline, quantum, repetitions, phases } = report;
  const drawn = phases.filter(({ wallClock }) => !wallClock).flatMap(({ kernels }) => kernels);
  const longest = Math.max(...drawn.map(({ nanoseconds }) => nanoseconds));
  return (
    <>
      <p>
        A step takes {milliseconds(report.stepMilliseconds)} ms of wall time; its parts, timed one
        kernel at a time, take {milliseconds(report.nanoseconds / 1e6)} ms. The best that we
        measured on this adapter is {threeDigits(roofline.flopsPerSecond / 1e9)} GFLOP/s in a large
        matrix product, and {threeDigits(roofline.bytesPerSecond / 1e9)} GB/s, read and written, in
        a copy.
      </p>
      {phases.some(({ nanoseconds }) => nanoseconds / 1e6 > report.stepMilliseconds) && (
        <p className="help">
          A part took longer than the whole step: something else slowed it down. Measure again when
          the machine is quiet.
        </p>
      )}
      <section className="profile-table" tabIndex={0} aria-label="Kernels of a step, table">
        <table>
          <TableHead names={HEAD} />
          {phases.map((phase) => (
            <tbody key={phase.name}>
              <Row figures={phase} report={report} kind="part">
                {PARTS[phase.name] ?? phase.name}
                {phase.wallClock && ', wall time'}
              </Row>
              {!phase.wallClock &&
                phase.kernels.map((kernel) => (
                  <KernelRows key={kernel.name} kernel={kernel} report={report} longest={longest} />
                ))}
            </tbody>
          ))}
        </table>
      </section>
      {phases.some(({ wallClock }) => wallClock) && (
        <p className="help">
          The teacher runs in kernels that are not ours, or is read from its cache. Its time is wall
          time, from the call until the GPU is idle.
        </p>
      )}
      {quantum !== undefined && (
        <p className="help">
          This browser rounds timestamps to {Math.round(quantum / 1000)} µs, so each time is the
          mean of {repetitions} measurements, and short times are approximate. In Chrome, the flag
          “WebGPU Developer Features” in chrome://flags makes them exact.
        </p>
      )}
    </>
  );
}

interface KernelProps {
  kernel: ProfileReport['phases'][0]['kernels'][0];
  report: ProfileReport;
  longest: number;
}

/** A kernel, and behind a button its uses. */
function KernelRows({ kernel, report, longest }: KernelProps) {
  const [open, setOpen] = useState(false);
  const id = useId();
  const { name, kinds } = kernel;
  const bar = (
    <span className="profile-bar" style={{ width: `${(100 * kernel.nanoseconds) / longest}%` }} />
  );
  if (kinds.length === 1) {
    return (
      <Row figures={kernel} report={report} kind="kernel">
        <Name>{name}</Name>
        {bar}
      </Row>
    );
  }
  const rows = kinds.map((_, i) => `${id}-${i}`);
  return (
    <>
      <Row figures={kernel} report={report} kind="kernel">
        <button
          type="button"
          aria-expanded={open}
          aria-controls={open ? rows.join(' ') : undefined}
          onClick={() => setOpen(!open)}
        >
          <Name>{name}</Name>
        </button>
        {bar}
      </Row>
      {open &&
        kinds.map((use, i) => (
          <Row key={use.name} id={rows[i]} figures={use} report={report} kind="use">
            <Name>{use.name}</Name>
          </Row>
        ))}
    </>
  );
}

interface RowProps {
  id?: string;
  figures: Figures;
  report: ProfileReport;
  kind: 'part' | 'kernel' | 'use';
  children: React.ReactNode;
}

function Row({
  id,
  figures: { dispatches, nanoseconds, flops, bytes },
  report,
  kind,
  children,
}: RowProps) {
  const { flopsPerSecond, bytesPerSecond } = report.roofline;
  return (
    <tr id={id} className={`profile-${kind}`}>
      <th scope={kind === 'part' ? 'rowgroup' : 'row'} title={`${dispatches} per step`}>
        {children}
      </th>
      <td>{milliseconds(nanoseconds / 1e6)}</td>
      <td>{fineShare(nanoseconds / report.nanoseconds)}</td>
      <Rate perSecond={(flops / nanoseconds) * 1e9} best={flopsPerSecond} />
      <Rate perSecond={(bytes / nanoseconds) * 1e9} best={bytesPerSecond} />
    </tr>
  );
}

/** A name that may break after its underscores. */
function Name({ children: name }: { children: string }) {
  return name.split(/(?<=_)/).map((piece, i) => (
    // biome-ignore lint/suspicious/noArrayIndexKey: the pieces of one name stay where they are
    <Fragment key={i}>
      {piece}
      <wbr />
    </Fragment>
  ));
}

/** In billions per second. Work that is 0, or too short for a timestamp, has no rate. */
function Rate({ perSecond, best }: { perSecond: number; best: number }) {
  if (!(perSecond > 0 && Number.isFinite(perSecond))) return <td>n/a</td>;
  return (
    <td>
      {threeDigits(perSecond / 1e9)} <small>({formatShare(perSecond / best)})</small>
    </td>
  );
}

const threeDigits = (value: number) => (value < 1000 ? value.toPrecision(3) : formatMeasure(value));

/** Most kernels take a few hundredths. */
const fineShare = (share: number) => `${(100 * share).toFixed(1)}%`;

const milliseconds = (value: number) => (value < 10 ? value.toFixed(3) : formatMeasure(value));
