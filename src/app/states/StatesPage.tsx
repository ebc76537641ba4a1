// The development page `?states`: a list of every designed state of the page, and `?states=NAME`
// for one of them. It needs no worker and no GPU. `&theme=dark` or `light` shows it in that theme.

import './states.css';
import { useEffect } from 'react';
import { flushSync } from 'react-dom';
import type { Root } from 'react-dom/client';
import { App } from '../App';
import { useExpected, usePassages } from '../learned/store';
import { useConnection } from '../offline/store';
import { LEARNED } from '../run/Distil';
import { useRun } from '../run/store';
import { useRuns } from '../runs/store';
import { useAnswers, useSayForm } from '../say/store';
import { TRY_IT } from '../say/TryIt';
import { useFolds } from '../shared/Fold';
import { SWEEP } from '../sweep/SweepPlan';
import { useSweep } from '../sweep/store';
import { STATES } from './states';

const THEMES = ['light', 'dark'] as const;

/**
 * Shows the state that the address names, and follows the address without another load. Returns a
 * function that stops following.
 */
export function showStates(root: Root): () => void {
  const show = () => {
    const query = new URLSearchParams(location.search);
    const name = query.get('states') ?? '';
    const state = STATES.find((designed) => designed.name === name);
    if (!state) return root.render(<StateList unknown={name} />);
    // The state before leaves first: it need not show what its successor's stores hold.
    flushSync(() => root.render(null));
    useRun.setState({ ...useRun.getInitialState(), ...state.make() }, true);
    useConnection.setState({ ...useConnection.getInitialState(), ...state.connection }, true);
    useFolds.setState({
      [TRY_IT]: !!state.saying,
      [LEARNED]: !!state.learning,
      [SWEEP]: !!state.sweep?.axes,
    });
    useSweep.setState({ ...useSweep.getInitialState(), ...state.sweep }, true);
    useRuns.setState({ ...useRuns.getInitialState(), kept: state.kept }, true);
    useSayForm.setState(useSayForm.getInitialState(), true);
    useAnswers.setState({ ...useAnswers.getInitialState(), ...state.saying }, true);
    usePassages.setState({ ...usePassages.getInitialState(), ...state.learning?.passages }, true);
    useExpected.setState({ ...useExpected.getInitialState(), ...state.learning?.expected }, true);
    root.render(<DesignedPage key={name} theme={query.get('theme')} />);
  };
  addEventListener('popstate', show);
  show();
  return () => removeEventListener('popstate', show);
}

function DesignedPage({ theme }: { theme: string | null }) {
  // Runs after the effect in useTheme, which sets the visitor's theme.
  useEffect(() => {
    if (theme) document.documentElement.dataset.theme = theme;
  }, [theme]);
  return <App />;
}

function StateList({ unknown }: { unknown: string }) {
  return (
    <main className="states">
      <h1>Designed states</h1>
      {unknown && <p role="alert">There is no state “{unknown}”.</p>}
      <ul>
        {STATES.map(({ name, title }) => (
          <li key={name}>
            <h2>{title}</h2>
            <p>
              <code>?states={name}</code>
            </p>
            <div className="states-frames">
              {THEMES.map((theme) => {
                const address = `?states=${name}&theme=${theme}`;
                return (
                  <a key={theme} href={address} aria-label={`${title}, ${theme}`}>
                    <iframe src={address} title={`${title}, ${theme}`} loading="lazy" inert />
                  </a>
                );
              })}
            </div>
          </li>
        ))}
      </ul>
    </main>
  );
}
