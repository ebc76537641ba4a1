// The page's end of the protocol: requests are promises, run events go to listeners, and a worker
// that dies fails both. And the state of a request, of which only the newest counts.

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { command, onRunEvent, request } from '../../../src/app/shared/client';
import { latestRequest, type RequestState, requestStore } from '../../../src/app/shared/request';
import type { Failure, ModelReport, RunEvent } from '../../../src/worker/protocol';
import { asked, crash, FakeWorker, receive, reject, report, resolve, sent } from './support';

const failure: Failure = { operation: 'look', message: 'No such model.', kind: 'model' };
const model = (label: string): ModelReport => ({
  label,
  engine: 'stillhouse',
  bytes: 1,
  vocabularySize: 2,
  positions: 3,
});
const inspect = (reference: string) => request('inspect', { role: 'teacher', reference });

let events: RunEvent[];
onRunEvent((event) => events.push(event));

beforeEach(() => {
  FakeWorker.made = [];
  vi.stubGlobal('Worker', FakeWorker);
  events = [];
});
afterEach(async () => {
  await crash();
  vi.unstubAllGlobals();
});

describe('a request', () => {
  test('resolves with the result of its own id, in whatever order answers come', async () => {
    const first = inspect('a');
    const second = inspect('b');
    const [a, b] = asked('inspect');
    expect([a.reference, b.reference]).toEqual(['a', 'b']);
    await resolve('inspect', model('b'), b.id);
    await resolve('inspect', model('a'), a.id);
    expect([(await first).label, (await second).label]).toEqual(['a', 'b']);
  });

  test('reports progress until it settles', async () => {
    const seen: unknown[] = [];
    const done = request('check', {}, (row) => seen.push(row));
    report('check', 1 as never);
    report('check', 2 as never);
    await resolve('check', 'table');
    report('check', 3 as never);
    expect(await done).toBe('table');
    expect(seen).toEqual([1, 2]);
  });

  test('rejects with the worker’s failure', async () => {
    const answer = inspect('a').catch((error) => error);
    await reject('inspect', failure);
    expect(await answer).toBe(failure);
  });

  test('rejects when the worker dies, and the next one makes a new worker', async () => {
    const answers = [inspect('a'), inspect('b')].map((promise) => promise.catch((error) => error));
    await crash('out of memory');
    for (const answer of answers) {
      expect(await answer).toMatchObject({
        operation: 'run the worker',
        message: 'out of memory',
        hint: 'Try again, or reload the page.',
      });
    }
    expect(FakeWorker.made[0].terminated).toBe(true);
    void inspect('c').catch(() => {});
    expect(FakeWorker.made).toHaveLength(2);
  });
});

describe('run events', () => {
  test('go to the listener as they come', () => {
    command({ type: 'pause', runId: 'run-1' });
    const note: RunEvent = { type: 'note', runId: 'run-1', text: 'Something.' };
    receive(note);
    expect(events).toEqual([note]);
  });

  test('a worker that dies fails the run that it held, once', async () => {
    command({ type: 'pause', runId: 'run-7' });
    await crash();
    expect(events).toMatchObject([
      {
        type: 'failed',
        runId: 'run-7',
        failure: { message: 'The worker’s script did not load.' },
      },
    ]);
    void inspect('a').catch(() => {});
    await crash();
    expect(events).toHaveLength(1);
  });

  test('a worker that the browser ends, which no event tells of, fails it too', async () => {
    let lockIsFree: () => void = () => {};
    const asked: string[] = [];
    vi.stubGlobal('navigator', {
      locks: {
        request: async (name: string, granted: () => void) => {
          asked.push(name);
          lockIsFree = granted;
        },
      },
    });
    const answer = inspect('a').catch((error) => error);
    command({ type: 'pause', runId: 'run-7' });
    receive({ type: 'alive' });
    expect(asked).toHaveLength(1);
    expect(events).toEqual([]);
    lockIsFree();
    const failure = {
      operation: 'run the worker',
      message: 'The browser has ended it, perhaps because there was no memory left.',
      hint: 'Try again, or reload the page.',
    };
    expect(await answer).toMatchObject(failure);
    expect(events).toMatchObject([{ type: 'failed', runId: 'run-7', failure }]);
    // The next one is not this one's business.
    void inspect('b').catch(() => {});
    lockIsFree();
    expect(FakeWorker.made.at(-1)?.terminated).toBe(false);
  });

  test('a worker without a run fails no run', async () => {
    void inspect('a').catch(() => {});
    await crash();
    expect(events).toEqual([]);
  });
});

describe('the state of a request', () => {
  const settled = () => new Promise((done) => setTimeout(done));
  function deferred<Value>() {
    let resolve: (value: Value) => void = () => {};
    let reject: (failure: Failure) => void = () => {};
    const promise = new Promise<Value>((yes, no) => {
      resolve = yes;
      reject = no;
    });
    return { promise, resolve, reject };
  }

  test('goes from running, with progress, to done or failed, and keeps the progress', async () => {
    const states: RequestState<string, number>[] = [];
    const latest = latestRequest<string, number>((state) => states.push(state));
    latest.start(async (tell) => {
      tell(1);
      tell(2);
      return 'value';
    });
    await settled();
    latest.start(async (tell) => {
      tell(3);
      throw failure;
    });
    await settled();
    latest.drop();
    expect(states).toEqual([
      { status: 'running' },
      { status: 'running', progress: 1 },
      { status: 'running', progress: 2 },
      { status: 'done', progress: 2, value: 'value' },
      { status: 'running' },
      { status: 'running', progress: 3 },
      { status: 'failed', progress: 3, failure },
      { status: 'idle' },
    ]);
  });

  test('is that of the newest: an older request changes nothing, however it ends', async () => {
    const done: string[] = [];
    const answers = [deferred<string>(), deferred<string>(), deferred<string>()];
    const tells: ((progress: number) => void)[] = [];
    const useStore = requestStore<number, string, number>(
      (index, tell) => {
        tells[index] = tell;
        return answers[index].promise;
      },
      (value) => done.push(value),
    );
    const state = () => useStore.getState();
    for (const index of [0, 1, 2]) state().start(index);
    answers[0].resolve('old');
    answers[1].reject(failure);
    tells[0](1);
    await settled();
    expect(state()).toMatchObject({ input: 2, request: { status: 'running' } });
    answers[2].resolve('new');
    await settled();
    expect(state()).toMatchObject({ input: 2, request: { status: 'done', value: 'new' } });
    expect(done).toEqual(['new']);
  });

  test('is idle again once it is dropped, and stays so', async () => {
    const answer = deferred<string>();
    const useStore = requestStore<string, string>(() => answer.promise);
    useStore.getState().start('a');
    useStore.getState().drop();
    answer.resolve('late');
    await settled();
    expect(useStore.getState()).toMatchObject({ input: undefined, request: { status: 'idle' } });
  });

  test('sends through the worker as every store does', async () => {
    const useStore = requestStore<string, ModelReport>(inspect);
    useStore.getState().start('org/name');
    expect(sent()).toMatchObject([{ type: 'inspect', reference: 'org/name' }]);
    await resolve('inspect', model('org/name'));
    expect(useStore.getState().request).toEqual({
      status: 'done',
      progress: undefined,
      value: model('org/name'),
    });
  });
});
