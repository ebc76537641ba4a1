// The page and its worker in one process, without a browser: the page's store, its notices and its
// buttons are the real ones, and so is the worker, on a GPU that computes nothing. Tests bring on
// faults in what lies under both: GPU, storage, network, locks.

import { readFile } from 'node:fs/promises';
import { renderToStaticMarkup } from 'react-dom/server';
import { vi } from 'vitest';
import { Notices } from '../../src/app/run/Notices';
import { RunControls } from '../../src/app/run/RunControls';
import { useRun } from '../../src/app/run/store';
import { useRuns } from '../../src/app/runs/store';
import type { ToWorker } from '../../src/worker/protocol';
import { MemoryOpfs } from './memory-opfs';
import { GPU_CONSTANTS, GPUOutOfMemoryError, NullGpu } from './null-gpu';

export const gpu = new NullGpu();
export const opfs = new MemoryOpfs();
/** The server answers nothing from now on. */
export const network = { cut: false, onAsk: (_path: string) => {} };
/** Locks that another tab holds. */
export const otherTab = new Set<string>();

/** Most of the book takes most of a run's time, which is for its encoding. */
const BOOK_BYTES = 20_000;

async function fetchPublic(address: string | URL, init: RequestInit = {}): Promise<Response> {
  const { pathname } = new URL(address);
  network.onAsk(pathname);
  if (network.cut) throw new TypeError('Failed to fetch');
  const whole = await readFile(`public${pathname}`).catch(() => undefined);
  if (!whole) return new Response('', { status: 404 });
  const bytes = pathname.endsWith('moby-dick.txt')
    ? whole.subarray(0, whole.lastIndexOf('\n', BOOK_BYTES))
    : whole;
  const range = /^bytes=(\d+)-(\d+)$/.exec(new Headers(init.headers).get('range') ?? '');
  const [from, to] = range ? [Number(range[1]), Number(range[2]) + 1] : [0, bytes.length];
  const part = new Uint8Array(bytes.subarray(from, to));
  const headers = {
    'content-length': String(part.length),
    'content-range': `bytes ${from}-${from + part.length - 1}/${bytes.length}`,
  };
  const body = init.method === 'HEAD' ? null : part;
  return new Response(body, { status: range ? 206 : 200, headers });
}

const held = new Map<string, Promise<unknown>>();
type Granted = (lock: object | null) => unknown;
const locks = {
  async request(name: string, options: { ifAvailable?: boolean } | Granted, task?: Granted) {
    const [granted, { ifAvailable }] =
      typeof options === 'function' ? [options, {}] : [task as Granted, options];
    if (ifAvailable && (otherTab.has(name) || held.has(name))) return granted(null);
    await held.get(name);
    const done = Promise.resolve(granted({ name })).finally(() => held.delete(name));
    held.set(
      name,
      done.catch(() => undefined),
    );
    return done;
  },
  query: async () => ({ held: [...held.keys(), ...otherTab].map((name) => ({ name })) }),
};

/** What the page's Worker is here: each message is copied, as between two threads. */
class InProcess {
  onmessage?: (event: { data: unknown }) => void;
  onerror?: (event: { message?: string }) => void;

  constructor() {
    scope.postMessage = (message) => {
      const data = structuredClone(message);
      setImmediate(() => this.onmessage?.({ data }));
    };
  }

  postMessage(message: ToWorker): void {
    const data = structuredClone(message);
    setImmediate(() => scope.onmessage?.({ data } as MessageEvent<ToWorker>));
  }

  terminate(): void {}
}

const scope = {
  name: 'stillhouse',
  onmessage: undefined as ((event: MessageEvent<ToWorker>) => void) | undefined,
  postMessage: (_: unknown) => {},
};

/** Puts everything in place. Call once, before all tests of a file. */
export async function openWhole(): Promise<void> {
  for (const [name, value] of Object.entries({
    ...GPU_CONSTANTS,
    GPUOutOfMemoryError,
    self: scope,
    navigator: { gpu, locks, storage: opfs, userAgent: 'a test' },
    fetch: fetchPublic,
    Worker: InProcess,
  }))
    vi.stubGlobal(name, value);
  await import('../../src/worker/worker');
}

/** What stands in the notices and on the buttons. */
export function seen(): { notices: string; buttons: string } {
  const text = (node: React.ReactNode) =>
    renderToStaticMarkup(node)
      .replace(/<details.*?<\/details>/gs, '')
      .replace(/<[^>]*>/g, ' ')
      .replace(/&#x27;/g, "'")
      .replace(/&quot;/g, '"')
      .replace(/\s+/g, ' ')
      .trim();
  // Rendered without a browser, a component sees its store's first state.
  for (const store of [useRun, useRuns]) Object.assign(store.getInitialState(), store.getState());
  return { notices: text(<Notices />), buttons: text(<RunControls />) };
}
