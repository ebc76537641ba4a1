// Says when the page is offline and what still works, and offers a newer version of it. A reload
// would end a run, so it is offered when there is none.

import { isActive } from '../run/shown-run';
import { useRun } from '../run/store';
import { useConnection } from './store';

export function ConnectionNotices() {
  const { offline, models, update } = useConnection();
  const busy = useRun(({ phase }) => isActive(phase));
  return (
    <>
      {offline && (
        <section className="notice note" role="status">
          <div>
            <strong>You are offline.</strong> The page, the labs and the recorded run work.{' '}
            {models.length > 0
              ? `Runs work with what was used here: ${models.join(', ')}, and your own files.`
              : 'No built-in model has been used here, so runs work with your own files only.'}{' '}
            Hugging Face models need the connection.
          </div>
        </section>
      )}
      {update && (
        <section className="notice note" role="status">
          <div>
            <strong>A new version of this page is ready.</strong>{' '}
            {busy ? 'It waits until your run is over.' : 'A reload takes a second.'}
          </div>
          <button type="button" className="quiet outlined" disabled={busy} onClick={update}>
            Reload
          </button>
        </section>
      )}
    </>
  );
}
