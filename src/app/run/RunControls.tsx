// The primary button, which says what it will do; a single step, a reset; and the run's progress.

import { useRef } from 'react';
import type { LoadingStage } from '../../worker/protocol';
import { FitContext } from '../data/FitContext';
import { useData } from '../data/store';
import { useModels } from '../models/store';
import { formatBytes, formatDuration, plural } from '../shared/format';
import type { IconName } from '../shared/Icon';
import { Icon } from '../shared/Icon';
import { Rate } from './rate';
import type { Phase } from './shown-run';
import { repeats } from './shown-run';
import { startProblem } from './start-problem';
import type { RunStore } from './store';
import { useRun } from './store';

interface Primary {
  label: string;
  icon: IconName;
  act: () => void;
  disabled?: boolean;
}

function primaryOf(state: RunStore): Primary {
  const problem = startProblem(state);
  const start = { icon: 'play' as const, act: state.start, disabled: problem !== undefined };
  const again =
    state.run?.source === 'live' &&
    repeats(state.run, state.config) &&
    state.run.corpus === state.corpus;
  const byPhase: Record<Phase, () => Primary> = {
    idle: () => ({ ...start, label: 'Distil' }),
    loading: () => ({ label: 'Stop loading', icon: 'stop', act: state.reset }),
    running: () => ({
      label: state.requested === 'pause' ? 'Pausing' : 'Pause',
      icon: 'pause',
      act: state.pause,
      disabled: state.requested === 'pause',
    }),
    paused: () => ({
      label: state.requested === 'resume' ? 'Continuing' : 'Continue',
      icon: 'play',
      act: state.resume,
      disabled: state.requested === 'resume',
    }),
    finished: () => ({ ...start, label: again ? 'Again, from the same start' : 'Distil' }),
    failed: () => ({ ...start, label: 'Try again' }),
    lost: () =>
      state.lost?.resumeStep === undefined
        ? { ...start, label: 'Start again' }
        : {
            label: `Continue from step ${state.lost.resumeStep}`,
            icon: 'play',
            act: state.recover,
          },
  };
  return byPhase[state.phase]();
}

export function RunControls() {
  const state = useRun();
  useModels((models) => models.dropped);
  useData((data) => data.proposed && data.busy);
  const { phase, run } = state;
  const primary = primaryOf(state);
  const problem = primary.disabled && !state.requested ? startProblem(state) : undefined;
  return (
    <section className="run-controls" aria-label="Run">
      <Progress />
      <div className="run-buttons">
        <button type="button" className="primary" onClick={primary.act} disabled={primary.disabled}>
          <Icon name={primary.icon} /> {primary.label}
        </button>
        <button
          type="button"
          className="secondary"
          aria-label="Step"
          onClick={state.step}
          disabled={phase !== 'paused'}
          title="Run one step"
        >
          <Icon name="step" /> <span>Step</span>
        </button>
        <button
          type="button"
          className="secondary"
          aria-label="Reset"
          onClick={state.reset}
          disabled={run?.source !== 'live' || phase === 'loading'}
          title="Discard the run and free its memory"
        >
          <Icon name="reset" /> <span>Reset</span>
        </button>
      </div>
      {problem && <p className="field-problem">{problem}</p>}
      {problem && <FitContext />}
    </section>
  );
}

const STAGES: Record<LoadingStage, string> = {
  device: 'Requesting the GPU',
  corpus: 'Reading the text',
  tokenizer: 'Loading the tokenizer',
  cache: 'Caching the teacher',
  teacher: 'Loading the teacher',
  student: 'Building the student',
  compile: 'Compiling shaders',
  evaluate: 'Evaluating',
};

function Progress() {
  const { phase, run, config, loading, status, trainedMilliseconds } = useRun();
  const rate = useRef(new Rate());
  if (loading && (phase === 'loading' || loading.stage === 'evaluate')) {
    const { loaded, total, stage, detail, unit = 'bytes' } = loading;
    const known = loaded !== undefined && total !== undefined && total > 0;
    const speed =
      unit === 'bytes' && rate.current.tell(detail, performance.now() / 1000, loaded, total);
    const shown = unit === 'bytes' ? formatBytes : String;
    const size = [
      loaded !== undefined && shown(loaded),
      known && `of ${shown(total)}`,
      loaded !== undefined && unit !== 'bytes' && unit,
    ];
    return (
      <Bar
        label={STAGES[stage]}
        detail={[detail === STAGES[stage] ? '' : detail, speed].filter(Boolean).join(' · ')}
        right={size.filter(Boolean).join(' ')}
        share={known ? loaded / total : undefined}
      />
    );
  }
  if (run?.source !== 'live') {
    return (
      <Bar label="Nothing is loaded yet" right={plural(config.train_steps, 'step')} share={0} />
    );
  }
  const total = run.config.train_steps;
  const step = Math.max(run.history.lastStep, status?.step ?? 0);
  const left = status?.secondsLeft;
  // The driver finishes its kernels when it first runs them.
  if (phase === 'running' && step === 0)
    return (
      <Bar
        label="Taking the first step"
        detail="the slowest one: the driver finishes its kernels"
        right=""
      />
    );
  const right: Record<Phase, string> = {
    idle: '',
    loading: '',
    running: left === undefined ? '' : `${formatDuration(left)} left`,
    paused: 'paused',
    failed: 'stopped',
    lost: 'stopped',
    finished: formatDuration(trainedMilliseconds / 1000),
  };
  return (
    <Bar
      label={`Step ${step.toLocaleString('en')} of ${total.toLocaleString('en')}`}
      right={right[phase]}
      share={step / total}
    />
  );
}

function Bar({
  label,
  detail,
  right,
  share,
}: {
  label: string;
  detail?: string;
  right: string;
  share?: number;
}) {
  return (
    <div className="progress">
      <div className="progress-text">
        <span>{label}</span>
        <span>{right}</span>
      </div>
      <div
        className={share === undefined ? 'bar unknown' : 'bar'}
        role="progressbar"
        aria-label={label}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={share === undefined ? undefined : Math.round(100 * share)}
        aria-valuetext={`${label} ${right}`}
      >
        <span style={{ width: `${100 * Math.min(1, share ?? 1)}%` }} />
      </div>
      {detail && <p className="progress-detail">{detail}</p>}
    </div>
  );
}
