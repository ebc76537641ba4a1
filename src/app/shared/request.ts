// The state of a request to the worker, as every store of the page keeps it: idle, running, done or
// failed.

import { create } from 'zustand';
import type { Failure } from '../../worker/protocol';

/** Progress stays after the end: a check that failed half-way still shows the rows it has. */
export type RequestState<Value, Progress = never> =
  | { status: 'idle'; progress?: undefined }
  | { status: 'running'; progress?: Progress }
  | { status: 'done'; progress?: Progress; value: Value }
  | { status: 'failed'; progress?: Progress; failure: Failure };

type Ask<Value, Progress> = (report: (progress: Progress) => void) => Promise<Value>;

/**
 * Follows one request at a time and passes each of its states to `update`. A newer request, or
 * `drop`, silences the one before: its late answer changes nothing.
 */
export function latestRequest<Value, Progress = never>(
  update: (state: RequestState<Value, Progress>) => void,
) {
  let newest = 0;
  return {
    start(ask: Ask<Value, Progress>): void {
      newest += 1;
      const number = newest;
      let progress: Progress | undefined;
      const tell = (state: RequestState<Value, Progress>) => {
        if (number === newest) update(state);
      };
      tell({ status: 'running' });
      ask((value) => {
        progress = value;
        tell({ status: 'running', progress });
      }).then(
        (value) => tell({ status: 'done', progress, value }),
        (failure: Failure) => tell({ status: 'failed', progress, failure }),
      );
    },
    drop(): void {
      newest += 1;
      update({ status: 'idle' });
    },
  };
}

export interface RequestStore<Input, Value, Progress> {
  request: RequestState<Value, Progress>;
  /** What the request was about; undefined while it is idle. */
  input?: Input;
  start(input: Input): void;
  /** Back to idle; an answer on its way is ignored. */
  drop(): void;
}

/** A store of one request. `onDone` is called for the newest one only. */
export function requestStore<Input, Value, Progress = never>(
  ask: (input: Input, report: (progress: Progress) => void) => Promise<Value>,
  onDone?: (value: Value) => void,
) {
  return create<RequestStore<Input, Value, Progress>>()((set) => {
    const latest = latestRequest<Value, Progress>((request) => {
      set({ request });
      if (request.status === 'done') onDone?.(request.value);
    });
    return {
      request: { status: 'idle' },
      start(input) {
        set({ input });
        latest.start((report) => ask(input, report));
      },
      drop() {
        latest.drop();
        set({ input: undefined });
      },
    };
  });
}
