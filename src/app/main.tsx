// Where the page begins: it shows the recorded run, follows the address, and asks the worker what
// this machine offers.

import { createRoot } from 'react-dom/client';
import { App } from './App';
import { useRun } from './run/store';
import { followAddress } from './shared/address';
import './shared/base.css';
import './shared/layout.css';
import './run/controls.css';
import './run/recipe.css';
import './charts/charts.css';
import './run/check.css';
import './data/data.css';

followAddress();
document.addEventListener('visibilitychange', () => useRun.getState().setHidden(document.hidden));
createRoot(document.getElementById('root') as HTMLElement).render(<App />);
void useRun.getState().showRecording(new URL('recorded/default.json', document.baseURI).href);

// The worker is large: it may come once the page stands.
const whenIdle = window.requestIdleCallback ?? ((task: () => void) => setTimeout(task, 500));
whenIdle(() => useRun.getState().probe());
