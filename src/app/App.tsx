// The page: its header, and the room that the address names. All rooms but the run's come when they
// are first opened.

import { lazy, Suspense, useDeferredValue } from 'react';
import { ConnectionNotices } from './offline/ConnectionNotices';
import { Distil } from './run/Distil';
import { DropRun } from './runs/DropRun';
import { Header } from './shared/Header';
import { type Lab, useRoom } from './shared/rooms';

const LABS: Record<Lab, React.LazyExoticComponent<() => React.ReactNode>> = {
  lessons: lazy(() => import('./lessons/Lessons').then((file) => only(file.Lessons), missing)),
  strideLab: lazy(() =>
    import('./strides/StrideLab').then((file) => only(file.StrideLab), missing),
  ),
  bugLab: lazy(() => import('./bug/BugLab').then((file) => only(file.BugLab), missing)),
  runs: lazy(() => import('./runs/Runs').then((file) => only(file.Runs), missing)),
  examples: lazy(() => import('./examples/Examples').then((file) => only(file.Examples), missing)),
};

/** One element, so that React does not render it anew on the way to another room. */
const DISTIL = <Distil />;

/** A module as `lazy` takes it. */
const only = (room: () => React.ReactNode) => ({ default: room });

/** In the place of a room whose script did not arrive. */
function missing() {
  return only(NotLoaded);
}

export function App() {
  // The room before stays until the next one is there. A fallback in between would stand for
  // 300 ms, however fast the room is.
  const room = useDeferredValue(useRoom((state) => state.room));
  const Lab = room === 'distil' ? undefined : LABS[room];
  return (
    <div className="page">
      <Header />
      <ConnectionNotices />
      <DropRun />
      {Lab ? (
        <Suspense fallback={<p className="room-note">This part of the page is loading.</p>}>
          <Lab />
        </Suspense>
      ) : (
        DISTIL
      )}
    </div>
  );
}

function NotLoaded() {
  return (
    <p className="room-note" role="alert">
      This part of the page did not load. Check the connection, then reload the page.
    </p>
  );
}
