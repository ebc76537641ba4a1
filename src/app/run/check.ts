// Check my GPU: the request that runs every kernel against its reference, and the rows so far.

import type { CheckRow } from '../../worker/protocol';
import { request } from '../shared/client';
import { requestStore } from '../shared/request';

/** Its value is the table as text, for a bug report. */
export const useCheck = requestStore<undefined, string, CheckRow[]>((_, report) => {
  const rows: CheckRow[] = [];
  return request('check', {}, (row) => {
    rows.push(row);
    report([...rows]);
  });
});
