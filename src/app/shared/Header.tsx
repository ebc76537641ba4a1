// The page's header: name, navigation between the rooms, share button, theme.

import { useState } from 'react';
import { checkConfig } from '../../config';
import { formatLink } from '../../link';
import { useRun } from '../run/store';
import { linkTo } from './address';
import type { Theme } from './browser';
import { copyText, THEMES, useTheme } from './browser';
import { Icon } from './Icon';
import type { Room } from './rooms';
import { labHash, useRoom } from './rooms';

export function Header() {
  return (
    <header className="header">
      <h1>
        <Icon name="still" /> Stillhouse
      </h1>
      <Rooms />
      <div className="header-tools">
        <AboutButton />
        <ShareButton />
        <ThemeButton />
      </div>
    </header>
  );
}

function Rooms() {
  const { room, lessons, strideLab, bugLab, runs } = useRoom();
  const config = useRun((state) => state.config);
  const training = useRun((state) => state.phase === 'running');
  const distil = checkConfig(config).length === 0 ? formatLink(config) : '';
  const rooms: { name: Room; label: string; href: string }[] = [
    { name: 'distil', label: 'Distil', href: `#${distil}` },
    { name: 'runs', label: 'Runs', href: labHash('runs', runs) },
    { name: 'lessons', label: 'Lessons', href: labHash('lessons', lessons) },
    { name: 'strideLab', label: 'Strides', href: labHash('strideLab', strideLab) },
    { name: 'bugLab', label: 'The bug', href: labHash('bugLab', bugLab) },
    { name: 'examples', label: 'Examples', href: labHash('examples', '') },
  ];
  return (
    <nav className="rooms" aria-label="Rooms">
      {rooms.map(({ name, label, href }) => (
        <a key={name} href={href} aria-current={name === room ? 'page' : undefined}>
          {label}
          {name === 'distil' && training && room !== 'distil' && (
            <span className="rooms-note"> training</span>
          )}
        </a>
      ))}
    </nav>
  );
}

/** Brings the introduction back. */
function AboutButton() {
  const welcome = useRun((state) => state.welcome);
  const shown = useRun((state) => state.welcoming);
  const room = useRoom((state) => state.room);
  if (room !== 'distil' || shown) return null;
  return (
    <button type="button" className="quiet" onClick={welcome}>
      About
    </button>
  );
}

/** Copies the link to the current room and its state. */
export function ShareButton() {
  const room = useRoom((state) => state.room);
  const config = useRun((state) => state.config);
  const hasOwnText = useRun((state) => state.corpus !== undefined);
  const [copied, setCopied] = useState<'yes' | 'refused'>();
  const link = () => (room === 'distil' ? linkTo(config) : location.href);
  const share = async () => setCopied((await copyText(link())) ? 'yes' : 'refused');
  return (
    <span className="share">
      <button
        type="button"
        className="quiet"
        onClick={share}
        disabled={room === 'distil' && checkConfig(config).length > 0}
        title={
          room === 'distil'
            ? 'Copy the link to these settings'
            : 'Copy the link to what the page shows now'
        }
        onBlur={() => setCopied(undefined)}
      >
        <Icon name="link" /> <span>{copied === 'yes' ? 'Link copied' : 'Share'}</span>
      </button>
      <span role="status" className={copied ? 'share-note' : 'visually-hidden'}>
        {copied === 'yes' && room !== 'distil' && 'The link opens the page as it is now.'}
        {copied === 'yes' &&
          room === 'distil' &&
          (hasOwnText
            ? 'The link holds the settings, but not your own text.'
            : 'The link holds the settings. Opening it starts nothing.')}
        {copied === 'refused' &&
          'The browser blocked copying. The same link is in the address bar.'}
      </span>
    </span>
  );
}

const THEME_NAMES: Record<Theme, string> = { system: 'System', light: 'Light', dark: 'Dark' };

function ThemeButton() {
  const [theme, setTheme] = useTheme();
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  return (
    <button
      type="button"
      className="quiet"
      onClick={() => setTheme(next)}
      aria-label={`Theme: ${THEME_NAMES[theme]}. Change to ${THEME_NAMES[next]}`}
    >
      <Icon name={theme} /> <span aria-hidden="true">{THEME_NAMES[theme]}</span>
    </button>
  );
}
