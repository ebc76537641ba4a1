// Where the page begins: it shows the recorded run, follows the address, and asks the worker what
// this machine offers. With `?states` in the address it shows designed states instead.

import { createRoot } from 'react-dom/client';
import { PRESETS } from '../presets';
import { App, prepare } from './App';
import { keepForOffline } from './offline/store';
import { prepareWhileReading } from './run/prepare';
import { hasMeasured, isActive } from './run/shown-run';
import { useRun } from './run/store';
import { useRuns } from './runs/store';
import { followAddress } from './shared/address';
import { isRemembered } from './shared/remembered';
import './shared/base.css';
import './shared/layout.css';
import './shared/term.css';
import './run/intro.css';
import './run/recording.css';
import './run/controls.css';
import './run/presets.css';
import './run/recipe.css';
import './charts/charts.css';
import './run/check.css';
import './run/doctor.css';
import './run/log.css';
import './run/status.css';
import './data/data.css';
import './shared/touch.css';

const root = createRoot(document.getElementById('root') as HTMLElement);
if (new URLSearchParams(location.search).has('states')) {
  // A chunk of its own, which costs the page nothing until somebody asks for it.
  void import('./states/StatesPage').then(({ showStates }) => showStates(root));
} else showPage();

/** Where runs do not outlast the tab, the browser asks before it leaves one that is in progress. */
function askBeforeLoss(event: BeforeUnloadEvent): void {
  const { phase, run } = useRun.getState();
  if (useRuns.getState().kept?.lasting === false && isActive(phase) && run && hasMeasured(run))
    event.preventDefault();
}

function showPage(): void {
  useRun.getState().choosePreset(PRESETS[0]);
  followAddress();
  if (!isRemembered('introduced')) useRun.getState().welcome();
  document.addEventListener('visibilitychange', () => {
    useRun.getState().setHidden(document.hidden);
    if (document.hidden) useRun.getState().keep();
  });
  addEventListener('pagehide', () => useRun.getState().keep());
  addEventListener('beforeunload', askBeforeLoss);
  root.render(<App />);

  // The worker is large: it may come once the page stands.
  const whenIdle = window.requestIdleCallback ?? ((task: () => void) => setTimeout(task, 500));
  whenIdle(() => {
    void useRun.getState().probe().then(prepareWhileReading);
    useRuns.getState().refresh();
    void keepForOffline();
  });
  // Who has runs may want to see them at once.
  const unsubscribe = useRuns.subscribe(({ kept }) => {
    if (!kept) return;
    unsubscribe();
    if (kept.rows.length > 0) void prepare('runs');
  });
}
