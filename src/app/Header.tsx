// The page's header: its name, the link to these settings, the theme.

import { useState } from 'react';
import { checkConfig } from '../config';
import { linkTo } from './address';
import type { Theme } from './browser';
import { copyText, THEMES, useTheme } from './browser';
import { Icon } from './Icon';
import { useRun } from './store';

export function Header() {
  return (
    <header className="header">
      <h1>
        <Icon name="still" /> Stillhouse
      </h1>
      <p className="tagline">A language model, distilled in this tab</p>
      <div className="header-tools">
        <ShareButton />
        <ThemeButton />
      </div>
    </header>
  );
}

export function ShareButton() {
  const config = useRun((state) => state.config);
  const ownText = useRun((state) => state.corpus !== undefined);
  const [copied, setCopied] = useState<'yes' | 'refused'>();
  const share = async () => setCopied((await copyText(linkTo(config))) ? 'yes' : 'refused');
  return (
    <span className="share">
      <button
        type="button"
        className="quiet"
        onClick={share}
        disabled={checkConfig(config).length > 0}
        title="Copy the link to these settings"
        onBlur={() => setCopied(undefined)}
      >
        <Icon name="link" /> <span>{copied === 'yes' ? 'Link copied' : 'Share'}</span>
      </button>
      <span role="status" className={copied ? 'share-note' : 'visually-hidden'}>
        {copied === 'yes' &&
          `The link holds the settings${ownText ? '; your own text stays here.' : '. Opening it starts nothing.'}`}
        {copied === 'refused' && 'The browser did not let the page copy. The same link is in the address bar.'}
      </span>
    </span>
  );
}

const NAMES: Record<Theme, string> = { system: 'System', light: 'Light', dark: 'Dark' };

function ThemeButton() {
  const [theme, setTheme] = useTheme();
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  return (
    <button
      type="button"
      className="quiet"
      onClick={() => setTheme(next)}
      aria-label={`Theme: ${NAMES[theme]}. Change to ${NAMES[next]}`}
    >
      <Icon name={theme} /> <span aria-hidden="true">{NAMES[theme]}</span>
    </button>
  );
}
