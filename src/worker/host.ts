// Shared by the worker's files: messages to the page, the page's base URL, and the one GPU device.

import { type Gpu, GpuError, openGpu } from '../gpu/device';
import { explain } from './failure';
import type { FromWorker, RequestName, Requests } from './protocol';

/**
 * The page's folder. The built worker is in the page's assets folder; the dev server serves it from
 * src/ and the page from the root.
 */
export const base = new URL(import.meta.env.DEV ? '/' : '../', import.meta.url);

export const post = (message: FromWorker) => self.postMessage(message);

/** Each request's operation, as in "Could not check the GPU". */
const OPERATIONS: Record<RequestName, string> = {
  probe: 'open the GPU',
  check: 'check the GPU',
  inspect: 'look up the model',
  preview: 'read the data',
  plan: 'plan the memory',
  export: 'export the student',
  recipe: 'write the recipe',
  profile: 'measure a step',
  passages: 'find the worst and the best passages',
  expect: 'ask both models',
  runs: 'list the runs',
  run: 'read the run',
  'label-run': 'change the run’s label',
  'keep-runs': 'choose how much is kept',
  'keep-sweep': 'keep the sweep',
  'save-run': 'save the run',
  'open-run': 'open the run’s file',
  say: 'answer',
  'bug-lab': 'run the experiment',
};

/** Does the work of a request and posts its answer: progress, then the result or why it failed. */
export async function answer<Name extends RequestName>(
  name: Name,
  id: number,
  work: (
    report: (progress: Requests[Name]['progress']) => void,
  ) => Promise<Requests[Name]['result']>,
): Promise<void> {
  try {
    const result = await work((progress) => post({ type: 'progress', id, progress }));
    post({ type: 'result', id, result });
  } catch (error) {
    post({ type: 'failure', id, failure: await explain(OPERATIONS[name], error, newest) });
  }
}

/** Told about device errors and loss that no pending call reports. */
export interface DeviceUser {
  /** Returns whether it has used the device, and so takes the error as its own. */
  fail(operation: string, error: unknown): boolean;
  lose(gpu: Gpu, info: GPUDeviceLostInfo): void;
}

let device: Promise<Gpu> | undefined;
/** The device opened last, even if it is lost by now. */
let newest: Gpu | undefined;

/**
 * The page's one device, until it is lost. `users` lists who is told about the loss; an error is
 * told to the first of them who takes it.
 */
export function openDevice(users: () => (DeviceUser | undefined)[]): Promise<Gpu> {
  if (device) return device;
  const opened = openGpu().catch((error: Error) => {
    throw newest && error instanceof GpuError && error.kind === 'no-adapter' ? withdrawn() : error;
  });
  device = opened;
  const forget = () => {
    if (device === opened) device = undefined;
  };
  opened.then((gpu) => {
    newest = gpu;
    gpu.onError = (error) => {
      users().some((user) => user?.fail('use the GPU', error));
    };
    void gpu.lost.then((info) => {
      forget();
      for (const user of users()) user?.lose(gpu, info);
    });
  }, forget);
  return opened;
}

/**
 * Chromium does this for two minutes, or until the page is reloaded, once its GPU process has ended
 * twice in that time.
 */
const withdrawn = () =>
  new GpuError(
    'withdrawn',
    'The browser no longer gives this page a GPU.',
    'It does so for a while when the GPU’s own process has ended more than once, often for want ' +
      'of memory. Try again in two minutes, or reload the page; if neither helps, restart the ' +
      'browser.',
  );

/** Resolvers of pending `nextTask` calls; each message to ourselves runs one. */
const turns: (() => void)[] = [];
const { port1, port2 } = new MessageChannel();
port1.onmessage = () => turns.shift()?.();

/** Lets messages from the page in between two steps. A timer would take longer. */
export function nextTask(): Promise<void> {
  return new Promise((resolve) => {
    turns.push(resolve);
    port2.postMessage(null);
  });
}
