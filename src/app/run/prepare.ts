// While somebody reads the page, the worker builds the run that the page offers. It then trains as
// soon as it is started. Only presets are built so: their models and texts come with the page, and
// their sizes are known.

import { presetOf } from '../../presets';
import { prepareRun } from '../shared/client';
import { useRoom } from '../shared/rooms';
import { useRun } from './store';

/** Somebody who looks through the presets pauses at the one that is wanted. */
const PAUSE_MILLISECONDS = 400;

/** What browsers know of a connection, where they tell. */
interface Frugal {
  connection?: { saveData?: boolean };
}

/** From now on. Returns a function that stops it; undefined where data are to be saved. */
export function prepareWhileReading(): (() => void) | undefined {
  if ((navigator as Frugal).connection?.saveData) return undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  /** What the worker was asked to build last; it drops that once another run starts. */
  let asked: object | undefined;
  const look = () => {
    const { phase, config, adapter, corpus } = useRun.getState();
    const seen = !document.hidden && useRoom.getState().room === 'distil';
    clearTimeout(timer);
    if (phase !== 'idle') asked = undefined;
    if (phase !== 'idle' || !adapter || corpus || !seen) return;
    const preset = presetOf(config);
    if (!preset || preset.config === asked) return;
    timer = setTimeout(() => {
      asked = preset.config;
      prepareRun(preset.config);
    }, PAUSE_MILLISECONDS);
  };
  const unsubscribe = [useRun.subscribe(look), useRoom.subscribe(look)];
  look();
  return () => {
    clearTimeout(timer);
    for (const each of unsubscribe) each();
  };
}
