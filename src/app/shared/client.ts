// The page's end of the protocol: makes the worker when something is first asked of it, and passes
// messages both ways.

import type { FromWorker, ToWorker } from '../../worker/protocol';

type Listener = (message: FromWorker) => void;

const listeners = new Set<Listener>();
let worker: Worker | undefined;
let runId = '';

/**
 * Every message of the worker goes to every listener; each takes what concerns it. Returns what
 * ends it.
 */
export function listen(listener: Listener): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/**
 * A worker that cannot start, or that throws outside a run's own errors, arrives as `failed`; the
 * next message makes a new one.
 */
export function send(message: ToWorker): void {
  if ('runId' in message) runId = message.runId;
  worker ??= open();
  worker.postMessage(message);
}

function receive(message: FromWorker): void {
  for (const listener of listeners) listener(message);
}

function open(): Worker {
  const made = new Worker(new URL('../../worker/worker.ts', import.meta.url), {
    type: 'module',
    name: 'stillhouse',
  });
  made.onmessage = (event: MessageEvent<FromWorker>) => receive(event.data);
  const fail = (message: string) => {
    made.terminate();
    worker = undefined;
    const hint = 'Try again, or reload the page.';
    const failure = { operation: 'run the worker', message, hint, kind: 'internal' as const };
    receive({ type: 'failed', runId, failure });
    receive({ type: 'bug-lab-failed', failure });
  };
  // A worker whose script did not load reports an event without a message.
  made.onerror = (event) => fail(event.message ?? 'The worker’s script did not load.');
  made.onmessageerror = () => fail('A message from the worker could not be read.');
  return made;
}
