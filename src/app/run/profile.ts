// Where a step goes: the request that measures it. Its input is the id of the run.

import type { ProfileResult } from '../../worker/protocol';
import { request } from '../shared/client';
import { requestStore } from '../shared/request';

export const useProfile = requestStore<string, ProfileResult>((runId) =>
  request('profile', { runId }),
);
