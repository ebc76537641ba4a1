// The Distil room: recipe, curves and samples, side by side in a wide window and stacked in a
// narrow one.

import { Suspense } from 'react';
import { ChartOptions } from '../charts/ChartOptions';
import { LossChart, PerplexityChart } from '../charts/Curves';
import { RunHistory } from '../charts/history';
import { SmallCharts } from '../charts/SmallCharts';
import { useComparedRuns, useXView } from '../charts/use-compared';
import { TryIt } from '../say/TryIt';
import { useMedia, WIDE } from '../shared/browser';
import { Fold } from '../shared/Fold';
import { LazyFold, lazyPanel } from '../shared/LazyFold';
import { SweepPanel } from '../sweep/SweepPanel';
import { CheckDrawer } from './CheckDrawer';
import { DoctorPanel } from './DoctorPanel';
import { DownloadStudent } from './DownloadStudent';
import { GhostLine } from './GhostLine';
import { Glossary } from './Glossary';
import { awaitsRace } from './ghost';
import { Intro } from './Intro';
import { LogView } from './LogView';
import { Notices, RunCaption } from './Notices';
import { ProfileDrawer } from './ProfileDrawer';
import { Recipe } from './Recipe';
import { Result } from './Result';
import { RunControls } from './RunControls';
import { Samples } from './Samples';
import { StatusStrip } from './StatusStrip';
import { Story } from './Story';
import type { ShownRun } from './shown-run';
import { useRun } from './store';
import { TwinVerdict } from './TwinVerdict';
import { useShownRun } from './use-shown-run';

const Experts = lazyPanel(() => import('../charts/Experts'));
const LearnedPanel = lazyPanel(() => import('../learned/LearnedPanel'));
/** The drawer's title. */
export const LEARNED = 'What was learned';

export function Distil() {
  const wide = useMedia(WIDE);
  const announcement = useRun((state) => state.announcement);
  return (
    <div className={wide ? 'room wide' : 'room'}>
      <Intro />
      <StatusStrip />
      <Notices />
      <main>
        {wide ? (
          <>
            <div className="column left">
              <Recipe />
              <RunControls />
              <DownloadStudent />
            </div>
            <div className="column middle">
              <MainCurves />
              <Details />
            </div>
            <div className="column right">
              <Result />
              <TryIt />
              <Samples />
            </div>
          </>
        ) : (
          <>
            <RunControls />
            <Result />
            <MainCurves />
            <TryIt />
            <Samples />
            <DownloadStudent />
            <Recipe />
            <Details />
          </>
        )}
      </main>
      <p className="visually-hidden" aria-live="polite">
        {announcement}
      </p>
    </div>
  );
}

/** The run to draw; without one, empty charts as long as the settings say. */
function useDrawnRun(): ShownRun {
  const run = useShownRun();
  const config = useRun((state) => state.config);
  const awaited = useRun(awaitsRace);
  return run && !awaited
    ? run
    : { id: '', source: 'live', config, history: new RunHistory(1), marks: [], events: [] };
}

function MainCurves() {
  const run = useDrawnRun();
  const compared = useComparedRuns();
  const x = useXView(run, compared);
  return (
    <section className={`curves ${run.source}`} aria-label="Curves">
      <RunCaption />
      {(run.id !== '' || run.source === 'recorded') && <Story run={run} />}
      <DoctorPanel />
      <ChartOptions />
      <TwinVerdict />
      <GhostLine />
      <SweepPanel />
      <LossChart run={run} compared={compared} x={x} />
      <PerplexityChart run={run} compared={compared} x={x} />
    </section>
  );
}

function Details() {
  const run = useDrawnRun();
  const x = useXView(run, useComparedRuns());
  return (
    <section className={`details ${run.source}`} aria-label="Details">
      <SmallCharts run={run} x={x} />
      {run.history.evaluations.some(({ experts }) => experts) && (
        <Suspense>
          <Experts run={run} x={x} />
        </Suspense>
      )}
      <LazyFold title={LEARNED}>
        <LearnedPanel run={run} x={x} />
      </LazyFold>
      <LogView run={run} />
      <CheckDrawer />
      <ProfileDrawer />
      <Fold title="Glossary">
        <Glossary />
      </Fold>
    </section>
  );
}
