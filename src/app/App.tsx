// The Distil room: recipe, curves and words side by side on a wide window, one under the other on a narrow one.

import { LossChart, PerplexityChart } from './charts/Curves';
import { SmallCharts } from './charts/SmallCharts';
import { useMedia } from './browser';
import { Header } from './Header';
import { LogView } from './LogView';
import { Notices, RunCaption } from './Notices';
import { Recipe } from './Recipe';
import type { ShownRun } from './run';
import { RunHistory } from './history';
import { RunControls } from './RunControls';
import { StatusStrip } from './StatusStrip';
import { useRun } from './store';
import { useShownRun } from './useShownRun';
import { Words } from './Words';

/** From here on three columns have room. */
const WIDE = '(min-width: 1080px)';

export function App() {
  const wide = useMedia(WIDE);
  const announcement = useRun((state) => state.announcement);
  return (
    <div className={wide ? 'page wide' : 'page'}>
      <Header />
      <StatusStrip />
      <Notices />
      <main>
        {wide ? (
          <>
            <div className="column left"><Recipe /><RunControls /></div>
            <div className="column middle"><MainCurves /><Details /></div>
            <div className="column right"><Words /></div>
          </>
        ) : (
          <>
            <RunControls /><MainCurves /><Words /><Details /><Recipe folded />
          </>
        )}
      </main>
      <p className="visually-hidden" aria-live="polite">{announcement}</p>
    </div>
  );
}

/** The run to draw; before there is one, an empty chart of the settings' length. */
function useDrawnRun(): { run: ShownRun; commits: number } {
  const { run, commits } = useShownRun();
  const config = useRun((state) => state.config);
  return { run: run ?? { id: '', source: 'live', config, history: new RunHistory(1), marks: [], events: [] }, commits };
}

function MainCurves() {
  const drawn = useDrawnRun();
  return (
    <section className="curves" aria-label="Curves">
      <RunCaption />
      <LossChart {...drawn} />
      <PerplexityChart {...drawn} />
    </section>
  );
}

function Details() {
  const drawn = useDrawnRun();
  return (
    <section className="details" aria-label="Details">
      <SmallCharts {...drawn} />
      <LogView {...drawn} />
    </section>
  );
}
