// The page's header: name, navigation between the rooms, share button, theme.

import { useRun } from '../run/store';
import { settingsHash } from './address';
import type { Theme } from './browser';
import { THEMES, useTheme } from './browser';
import { Icon } from './Icon';
import type { Room } from './rooms';
import { labHash, useRoom } from './rooms';
import { ShareButton } from './Share';

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
  const distil = useRun(settingsHash) ?? '#';
  const training = useRun((state) => state.phase === 'running');
  const rooms: { name: Room; label: string; href: string }[] = [
    { name: 'distil', label: 'Distil', href: distil },
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
      <Icon name={theme} />{' '}
      <span className="theme-name" aria-hidden="true">
        {THEME_NAMES[theme]}
      </span>
    </button>
  );
}
