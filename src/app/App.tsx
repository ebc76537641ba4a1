// The page: its header, and the room that the address names. All rooms but the run's come when they
// are first opened.

import { type ReactNode, Suspense, use, useDeferredValue } from 'react';
import { ConnectionNotices } from './offline/ConnectionNotices';
import { Distil } from './run/Distil';
import { DropRun } from './runs/DropRun';
import { Guard } from './shared/Guard';
import { Header } from './shared/Header';
import { type Lab, useRoom } from './shared/rooms';

const LOAD: Record<Lab, () => Promise<() => ReactNode>> = {
  lessons: () => import('./lessons/Lessons').then(({ Lessons }) => Lessons),
  strideLab: () => import('./strides/StrideLab').then(({ StrideLab }) => StrideLab),
  bugLab: () => import('./bug/BugLab').then(({ BugLab }) => BugLab),
  runs: () => import('./runs/Runs').then(({ Runs }) => Runs),
  examples: () => import('./examples/Examples').then(({ Examples }) => Examples),
};
const loaded = new Map<Lab, Promise<() => ReactNode>>();

/** The same promise each time, so that React shows a room that is there without a fallback. */
function load(lab: Lab): Promise<() => ReactNode> {
  let room = loaded.get(lab);
  if (!room) loaded.set(lab, (room = LOAD[lab]().catch(() => NotLoaded)));
  return room;
}

/** Loads a room before it is opened. If that fails, opening it tries again. */
export function prepare(lab: Lab): Promise<unknown> {
  return LOAD[lab]().then(
    () => load(lab),
    () => undefined,
  );
}

/** One element, so that React does not render it anew on the way to another room. */
const DISTIL = <Distil />;

export function App() {
  // The room before stays until the next one is there: the boundary is around both, since React
  // shows the fallback of a new one, and then waits 300 ms, however fast the room is.
  const room = useDeferredValue(useRoom((state) => state.room));
  return (
    <div className="page">
      <Header />
      <ConnectionNotices />
      <DropRun />
      <Suspense fallback={<p className="room-note">This part of the page is loading.</p>}>
        <Guard key={room}>{room === 'distil' ? DISTIL : <LabRoom lab={room} />}</Guard>
      </Suspense>
    </div>
  );
}

function LabRoom({ lab }: { lab: Lab }) {
  const Room = use(load(lab));
  return <Room />;
}

function NotLoaded() {
  return (
    <p className="room-note" role="alert">
      This part of the page did not load. Check the connection, then reload the page.
    </p>
  );
}
