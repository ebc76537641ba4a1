// The page's end of the protocol: makes the worker when something is first asked of it, and passes messages both ways.

import type { FromWorker, ToWorker } from '../worker/protocol';

export interface Client {
  send(message: ToWorker): void;
}

/** A worker that cannot start, or that throws outside a run's own errors, arrives as `failed`; the next message makes a new one. */
export function createClient(receive: (message: FromWorker) => void): Client {
  let worker: Worker | undefined;
  let runId = '';

  function open(): Worker {
    const made = new Worker(new URL('../worker/worker.ts', import.meta.url), { type: 'module', name: 'stillhouse' });
    made.onmessage = (event: MessageEvent<FromWorker>) => receive(event.data);
    const fail = (message: string) => {
      made.terminate();
      worker = undefined;
      receive({
        type: 'failed',
        runId,
        failure: { operation: 'run the worker', message, hint: 'Try again, or reload the page.', kind: 'internal' },
      });
    };
    // A worker whose script did not load reports an event without a message.
    made.onerror = (event) => fail(event.message ?? 'The worker’s script did not load.');
    made.onmessageerror = () => fail('A message from the worker could not be read.');
    return made;
  }

  return {
    send(message) {
      if ('runId' in message) runId = message.runId;
      worker ??= open();
      worker.postMessage(message);
    },
  };
}
