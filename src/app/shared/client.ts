// The page's end of the protocol. It makes the worker when the page first needs it, turns each
// request into a promise, and passes on what the worker reports about a run. It keeps no state of
// the page.

import type { Config } from '../../config';
import type {
  Failure,
  FromWorker,
  RequestMessage,
  RequestName,
  Requests,
  RunCommand,
  RunEvent,
  ToWorker,
} from '../../worker/protocol';
import workerScript from '../../worker/worker.ts?worker&url';

interface Pending {
  report(progress: unknown): void;
  resolve(result: unknown): void;
  reject(failure: Failure): void;
}

/** What failed if the worker is gone. */
export const DEAD_WORKER = 'run the worker';

let worker: Worker | undefined;
/** The run that the worker holds, if any. */
let runId: string | undefined;
let lastId = 0;
const pending = new Map<number, Pending>();
const listeners = new Set<(event: RunEvent) => void>();

/** Calls `listener` with whatever the worker reports about a run. */
export function onRunEvent(listener: (event: RunEvent) => void): void {
  listeners.add(listener);
}

/** Sends a command about a run; its effects arrive as run events. */
export function command(message: RunCommand): void {
  runId = message.runId;
  post(message);
}

/** Has the worker build a run, so that it trains sooner if it is started next. */
export function prepareRun(config: Config): void {
  post({ type: 'prepare', config });
}

/** Ends the answers of `say`: its request then resolves. */
export function stopSaying(): void {
  post({ type: 'say-stop' });
}

/** Ends the Bug Lab's experiment: its request then resolves. */
export function stopExperiment(): void {
  post({ type: 'bug-lab-stop' });
}

/**
 * Asks the worker and resolves with its result. `report` is called with each progress before that.
 * Rejects with a Failure: the worker's own, or that the worker could not start or died.
 */
export function request<Name extends RequestName>(
  type: Name,
  input: Requests[Name]['input'],
  report: (progress: Requests[Name]['progress']) => void = () => {},
): Promise<Requests[Name]['result']> {
  lastId += 1;
  const id = lastId;
  return new Promise((resolve, reject) => {
    // The worker answers an id with the types of its request.
    pending.set(id, { report, resolve, reject } as Pending);
    post({ type, id, ...input } as RequestMessage);
  });
}

function post(message: ToWorker): void {
  worker ??= open();
  worker.postMessage(message);
}

/**
 * A worker that is loaded from an address has only the policy that its server sends, and a static
 * host sends none. One that begins as a blob has the page's (policy.ts).
 */
function workerUrl(): string {
  if (import.meta.env.DEV) return workerScript;
  const address = new URL(workerScript, location.href).href;
  const start = new Blob([`import ${JSON.stringify(address)};`], { type: 'text/javascript' });
  return URL.createObjectURL(start);
}

function open(): Worker {
  const name = `stillhouse worker ${Math.random()}`;
  const opened = new Worker(workerUrl(), { type: 'module', name });
  const fail = (message: string) => {
    opened.terminate();
    if (worker !== opened) return;
    worker = undefined;
    failAll({
      operation: DEAD_WORKER,
      message,
      hint: 'Try again, or reload the page.',
      kind: 'internal',
    });
  };
  opened.onmessage = ({ data }: MessageEvent<FromWorker>) => {
    if (data.type !== 'alive') return receive(data);
    // No event tells of a worker that the browser has ended. It gives back the lock that it held.
    void navigator.locks.request(name, () =>
      fail('The browser has ended it, perhaps because there was no memory left.'),
    );
  };
  // A worker whose script did not load reports an event without a message.
  opened.onerror = (event) => fail(event.message ?? 'The worker’s script did not load.');
  opened.onmessageerror = () => fail('A message from the worker could not be read.');
  return opened;
}

function receive(message: Exclude<FromWorker, { type: 'alive' }>): void {
  if (!('id' in message)) {
    for (const listener of listeners) listener(message);
    return;
  }
  const waiting = pending.get(message.id);
  if (message.type === 'progress') waiting?.report(message.progress);
  else {
    pending.delete(message.id);
    if (message.type === 'result') waiting?.resolve(message.result);
    else waiting?.reject(message.failure);
  }
}

/** The worker is gone, with its run and every request. The next message makes a new one. */
function failAll(failure: Failure): void {
  const requests = [...pending.values()];
  pending.clear();
  for (const { reject } of requests) reject(failure);
  if (runId === undefined) return;
  for (const listener of listeners) listener({ type: 'failed', runId, failure });
  runId = undefined;
}
