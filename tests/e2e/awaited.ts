// What the page's worker waits for: each call of the browser that it has asked and that has not
// answered, and its last messages. It shows why a run stands still, on a machine that nobody can
// look at. It stands before the worker's script, where a page's own scripts do not reach.

import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import type { Site } from './site';

/** Runs in the worker. */
function watchCalls(): void {
  const worker = globalThis as unknown as DedicatedWorkerGlobalScope & { awaited(): string };
  const MESSAGES = 12;
  const open = new Map<number, { what: string; since: number }>();
  const messages: string[] = [];
  let calls = 0;
  const seconds = () => (performance.now() / 1000).toFixed(1);
  const begin = (what: string) => {
    const id = ++calls;
    open.set(id, { what, since: performance.now() });
    return () => open.delete(id);
  };
  type Method = (this: unknown, ...args: unknown[]) => unknown;
  const wrap = (of: string, names: string[], around: (real: Method, name: string) => Method) => {
    const { prototype } =
      (globalThis as unknown as Record<string, { prototype: object }>)[of] ?? {};
    const methods = prototype as Record<string, Method> | undefined;
    for (const name of names) if (methods?.[name]) methods[name] = around(methods[name], name);
  };
  const CALLS: Record<string, string[]> = {
    GPUBuffer: ['mapAsync'],
    GPUQueue: ['onSubmittedWorkDone'],
    GPUDevice: ['createComputePipelineAsync', 'popErrorScope'],
    GPUShaderModule: ['getCompilationInfo'],
    FileSystemFileHandle: ['createSyncAccessHandle', 'getFile', 'move'],
    FileSystemHandle: ['move'],
    FileSystemDirectoryHandle: ['getDirectoryHandle', 'getFileHandle', 'removeEntry'],
    StorageManager: ['getDirectory', 'estimate', 'persisted'],
    CacheStorage: ['open'],
    Cache: ['match', 'put'],
    LockManager: ['query'],
  };
  for (const [of, names] of Object.entries(CALLS))
    wrap(
      of,
      names,
      (real, name) =>
        function (...args) {
          const answer = real.apply(this, args) as Promise<unknown>;
          const label = (this as { label?: string }).label ?? args[0];
          const done = begin(`${of}.${name} ${typeof label === 'string' ? label : ''}`);
          answer.then(done, done);
          return answer;
        },
    );
  // A lock that is held is no longer waited for.
  wrap(
    'LockManager',
    ['request'],
    (real) =>
      function (...args) {
        const task = args.pop() as Method;
        const done = begin(`lock ${args[0]}`);
        return real.call(this, ...args, (lock: unknown) => {
          done();
          return task.call(undefined, lock);
        });
      },
  );
  const note = (way: string, { type, status }: { type?: string; status?: { state: string } }) => {
    messages.push(`${seconds()} ${way} ${type} ${status?.state ?? ''}`);
    if (messages.length > MESSAGES) messages.shift();
  };
  const { postMessage } = worker;
  worker.postMessage = (message: object, ...rest: []) => {
    note('says', message);
    postMessage.call(worker, message, ...rest);
  };
  worker.addEventListener('message', ({ data }) => note('hears', data));
  worker.awaited = () => {
    const waiting = [...open.values()].map(
      ({ what, since }) => `${what} for ${Math.round(performance.now() - since)} ms`,
    );
    return `at ${seconds()} s, awaited: ${waiting.join('; ') || 'nothing'}; ${messages.join(', ')}`;
  };
}

/** Has a site of the built page serve a worker that can be asked what it waits for. */
export async function watchWorker(site: Site, folder: string): Promise<void> {
  const assets = join(folder, 'assets');
  if (!existsSync(assets)) return;
  const names = (await readdir(assets)).filter((name) => /^worker-.*\.js$/.test(name));
  for (const name of names) {
    const script = await readFile(join(assets, name));
    site.files.set(`assets/${name}`, Buffer.concat([Buffer.from(`(${watchCalls})();`), script]));
  }
}

/** Whether each worker of the page answers, and what it waits for. */
export async function awaited(page: Page): Promise<string> {
  const late = new Promise<string>((resolve) => setTimeout(resolve, 5000, 'no answer in 5 s'));
  const alive = page
    .workers()
    .map((worker) =>
      Promise.race([
        worker.evaluate(() => (globalThis as { awaited?(): string }).awaited?.()).catch(String),
        late,
      ]),
    );
  return (await Promise.all(alive)).join('\n');
}
