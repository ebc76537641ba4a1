// What the worker's parts share: the way to the page, the page's files, and the one GPU device.

import { type Gpu, openGpu } from '../gpu/device';
import type { FromWorker } from './protocol';

export const BUILT_IN_CORPUS = 'corpus/moby-dick.txt';

/**
 * The built worker lies in the page's assets folder; the dev server serves it from src, and the
 * page's files from its root.
 */
export const base = new URL(import.meta.env.DEV ? '/' : '../', self.location.href);

export const post = (message: FromWorker) => self.postMessage(message);

/** Whoever is told of what befalls the device while no call of its own is under way. */
export interface DeviceUser {
  fail(operation: string, error: unknown): void;
  lose(gpu: Gpu, info: GPUDeviceLostInfo): void;
}

let device: Promise<Gpu> | undefined;

/**
 * The page's one device, until it is lost. `users` are those that are there when something befalls
 * it.
 */
export function openDevice(users: () => (DeviceUser | undefined)[]): Promise<Gpu> {
  if (device) return device;
  const opened = openGpu();
  device = opened;
  const forget = () => {
    if (device === opened) device = undefined;
  };
  opened.then((gpu) => {
    gpu.onError = (error) => {
      for (const user of users()) user?.fail('use the GPU', error);
    };
    void gpu.lost.then((info) => {
      forget();
      for (const user of users()) user?.lose(gpu, info);
    });
  }, forget);
  return opened;
}

/** What waits for its turn; one message to ourselves a turn. */
const turns: (() => void)[] = [];
const { port1, port2 } = new MessageChannel();
port1.onmessage = () => turns.shift()?.();

/** Lets messages in between two steps; a timer would wait longer. */
export function nextTask(): Promise<void> {
  return new Promise((resolve) => {
    turns.push(resolve);
    port2.postMessage(null);
  });
}
