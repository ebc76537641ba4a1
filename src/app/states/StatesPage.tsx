// The development page `?states`: a list of every designed state of the page, and `?states=NAME`
// for one of them. It needs no worker and no GPU. `&theme=dark` or `light` shows it in that theme.

import './states.css';
import { useEffect } from 'react';
import { App } from '../App';
import { useRun } from '../run/store';
import { STATES } from './states';

const THEMES = ['light', 'dark'] as const;

/** The page for the address's `?states=…`. */
export function StatesPage({ query }: { query: URLSearchParams }) {
  const name = query.get('states') ?? '';
  const theme = query.get('theme');
  const state = STATES.find((designed) => designed.name === name);
  useEffect(() => {
    if (theme) document.documentElement.dataset.theme = theme;
  }, [theme]);
  if (!state) return <StateList unknown={name} />;
  return <App />;
}

/** Puts a designed state into the page's store. Unknown names change nothing. */
export function enterState(name: string | null): void {
  const state = STATES.find((designed) => designed.name === name);
  if (state) useRun.setState(state.make());
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
                  <a key={theme} href={address}>
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
