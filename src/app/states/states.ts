// Every designed state of the page: a scene (a phase of the run), alone or with a notice. The
// page's reducer makes each from the messages that would lead to it, so none shows what cannot
// happen.

import type { KeptRuns } from '../../worker/protocol';
import type { Connection } from '../offline/store';
import type { RunMessage, RunState } from '../run/reduce';
import { INITIAL, reduce } from '../run/reduce';
import { record } from '../run/shown-run';
import type { Learning } from './learnings';
import { MILLISECONDS_PER_STEP } from './measurements';
import { ALL, NOTICES, type Notice } from './notices';
import type { Saying } from './sayings';
import { SCENES, type Scene } from './scenes';
import type { Swept } from './sweeps';

export interface DesignedState {
  /** As the address has it: `scene` or `scene,notice`. */
  name: string;
  title: string;
  make(): RunState;
  /** The box in which people try the result is open, and its request stands here. */
  saying?: Saying;
  /** The drawer on what was learned is open, and its requests stand here. */
  learning?: Learning;
  /** Online, with nothing new, unless it says otherwise. */
  connection?: Partial<Connection>;
  sweep?: Swept;
  /** The runs that are kept; unknown unless given. */
  kept?: KeptRuns;
}

/** The state after these messages. Only a step takes time. */
function play(messages: readonly RunMessage[]): RunState {
  let state = INITIAL;
  let now = 0;
  for (const message of messages) {
    if (message.type === 'steps') now += message.records.length * MILLISECONDS_PER_STEP;
    // Long enough for the notice.
    if (message.type === 'visibility' && !message.hidden) now += 65_000;
    if ('runId' in message && message.type !== 'start' && state.run) record(state.run, message);
    state = reduce(state, message, now);
  }
  return state;
}

/** Every scene alone, then with each notice that can stand in it. */
export const STATES: readonly DesignedState[] = ALL.flatMap((name) => {
  const scene: Scene = SCENES[name];
  const notices = Object.entries<Notice>(NOTICES).filter(([, { scenes }]) => scenes.includes(name));
  return [
    { name, title: scene.title, make: () => play(scene.messages()) },
    ...notices.map(([notice, { title, messages, noAdapter, ...rest }]) => ({
      saying: rest.saying,
      learning: rest.learning,
      connection: rest.connection,
      sweep: rest.sweep,
      kept: rest.kept,
      name: `${name},${notice}`,
      title: `${scene.title}: ${title}`,
      make: () => {
        const before = scene.messages().filter(({ type }) => !noAdapter || type !== 'adapter');
        return play([...before, ...messages]);
      },
    })),
  ];
});
