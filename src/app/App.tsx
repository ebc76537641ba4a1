// The page: its header, and the room that the address names. The labs come when they are first
// opened.

import { lazy, Suspense } from 'react';
import { Distil } from './run/Distil';
import { Header } from './shared/Header';
import { useRoom } from './shared/rooms';

const StrideLab = lazy(() =>
  import('./strides/StrideLab').then(({ StrideLab: room }) => ({ default: room }), missing),
);
const BugLab = lazy(() =>
  import('./bug/BugLab').then(({ BugLab: room }) => ({ default: room }), missing),
);

const Runs = lazy(() =>
  import('./runs/Runs').then(({ Runs: room }) => ({ default: room }), missing),
);

/** In the place of a room whose script did not arrive. */
function missing() {
  return { default: NotLoaded };
}

export function App() {
  const room = useRoom((state) => state.room);
  return (
    <div className="page">
      <Header />
      {room === 'distil' ? (
        <Distil />
      ) : (
        <Suspense fallback={<p className="room-note">The lab is loading.</p>}>
          {room === 'strideLab' ? <StrideLab /> : room === 'bugLab' ? <BugLab /> : <Runs />}
        </Suspense>
      )}
    </div>
  );
}

function NotLoaded() {
  return (
    <p className="room-note" role="alert">
      This lab did not load. Check the connection, then reload the page.
    </p>
  );
}
