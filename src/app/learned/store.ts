// What was learned, and what was not: the request for the worst and the best predicted passages,
// and the one for what both models expect in the place of one of their tokens.

import type { Expectation, Passage, Passages } from '../../worker/protocol';
import { request } from '../shared/client';
import { requestStore } from '../shared/request';

/** A token of a passage, by its place in it. */
export interface Place {
  runId: string;
  passage: Passage;
  index: number;
}

/** Its input is the id of the run. Then the token that is furthest off is asked about. */
export const usePassages = requestStore<string, Passages>(
  (runId) => request('passages', { runId }),
  ({ worst: [passage] }) => {
    const index = passage.kl.indexOf(Math.max(...passage.kl));
    const runId = usePassages.getState().input;
    if (runId !== undefined) useExpected.getState().start({ runId, passage, index });
  },
);

export const useExpected = requestStore<Place, Expectation>(({ runId, passage, index }) => {
  const at = passage.from + index;
  return request('expect', { runId, before: passage.ids.slice(0, at), token: passage.ids[at] });
});
