// What the page's tests share: a worker that only listens, the browser parts that jsdom lacks, and
// made-up measurements.

import { vi } from 'vitest';
import { usePointer } from '../../../src/app/charts/pointer';
import { useChartView } from '../../../src/app/charts/view';
import { useData } from '../../../src/app/data/store';
import { lookUps, useModels, usePlan } from '../../../src/app/models/store';
import { useCheck } from '../../../src/app/run/check';
import { useDownload } from '../../../src/app/run/download-student';
import { useProfile } from '../../../src/app/run/profile';
import { useRun } from '../../../src/app/run/store';
import { useAnswers, useSayForm } from '../../../src/app/say/store';
import { useFolds } from '../../../src/app/shared/Fold';
import { useSweep } from '../../../src/app/sweep/store';
import type {
  Failure,
  FromWorker,
  RequestMessage,
  RequestName,
  Requests,
  RunEvent,
  RunStatus,
  ToWorker,
} from '../../../src/worker/protocol';

export * from './records';

export class FakeWorker {
  static made: FakeWorker[] = [];
  onmessage?: (event: { data: FromWorker }) => void;
  onerror?: (event: { message?: string }) => void;
  sent: ToWorker[] = [];
  terminated = false;

  constructor() {
    FakeWorker.made.push(this);
  }

  postMessage(message: ToWorker): void {
    this.sent.push(structuredClone(message));
  }

  terminate(): void {
    this.terminated = true;
  }
}

/** All that was sent to any worker since the test began. */
export const sent = () => FakeWorker.made.flatMap((worker) => worker.sent);

/** Lets the page receive what its worker would send. */
export const receive = (message: FromWorker) =>
  FakeWorker.made.at(-1)?.onmessage?.({ data: message });

/** The requests of a type, the oldest first. */
export function asked<Name extends RequestName>(type: Name) {
  return sent().filter(
    (message): message is Extract<RequestMessage, { type: Name }> => message.type === type,
  );
}

const newestId = (type: RequestName) => {
  const id = asked(type).at(-1)?.id;
  if (id === undefined) throw new Error(`Nothing asked for ${type}.`);
  return id;
};

/** Reports progress of the newest request of a type. */
export const report = <Name extends RequestName>(
  type: Name,
  progress: Requests[Name]['progress'],
) => receive({ type: 'progress', id: newestId(type), progress });

/** Answers the newest request of a type, and waits until the page has taken the answer. */
export async function resolve<Name extends RequestName>(
  type: Name,
  result: Requests[Name]['result'],
  id = newestId(type),
): Promise<void> {
  receive({ type: 'result', id, result });
  await settled();
}

export async function reject(type: RequestName, failure: Failure): Promise<void> {
  receive({ type: 'failure', id: newestId(type), failure });
  await settled();
}

/** The worker dies, and every request with it. */
export async function crash(message?: string): Promise<void> {
  FakeWorker.made.at(-1)?.onerror?.({ message });
  await settled();
}

/** Lets the promises that hang on an answer settle. A timer would not do: tests fake them. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await undefined;
}

/** Elements whose text joins that of their neighbours in an accessible name. */
const INLINE = /^(a|abbr|b|br|code|em|i|img|kbd|label|mark|small|span|strong|sub|sup|svg|var)$/i;

/**
 * What queries by role ask of every element, and what takes jsdom most of a test's time. Here,
 * where no style sheet is loaded, the short way has the same answers.
 */
function quickQueries(): void {
  vi.stubGlobal('getComputedStyle', ({ style, tagName }: HTMLElement) => {
    const display = style.display || (INLINE.test(tagName) ? 'inline' : 'block');
    const { visibility } = style;
    const getPropertyValue = (name: string) =>
      name === 'display' ? display : style.getPropertyValue(name);
    return { display, visibility, getPropertyValue };
  });
  for (const { prototype } of [HTMLButtonElement, HTMLInputElement, HTMLSelectElement])
    Object.defineProperty(prototype, 'labels', { get: labelsOf, configurable: true });
}

function labelsOf(this: HTMLElement): HTMLLabelElement[] {
  const around = this.closest('label');
  const first = around && !around.htmlFor && around.querySelector('button, input, select');
  const named = this.id
    ? document.querySelectorAll<HTMLLabelElement>(`label[for="${this.id}"]`)
    : [];
  return [...(around && first === this ? [around] : []), ...named];
}

/** Without `plots` every element has no size, so that charts draw nothing and tests are quick. */
export function stubBrowser({ wide = true, plots = false } = {}): void {
  FakeWorker.made = [];
  quickQueries();
  Element.prototype.scrollIntoView ??= () => {};
  vi.stubGlobal('Worker', FakeWorker);
  vi.stubGlobal('matchMedia', (query: string) => ({
    matches: wide && query.includes('min-width'),
    addEventListener: () => {},
    removeEventListener: () => {},
  }));
  vi.stubGlobal(
    'ResizeObserver',
    class {
      constructor(
        private readonly observed: (
          entries: { contentRect: { width: number; height: number } }[],
        ) => void,
      ) {}
      observe() {
        this.observed([
          { contentRect: plots ? { width: 700, height: 200 } : { width: 0, height: 0 } },
        ]);
      }
      disconnect() {}
    },
  );
}

/** The store as the page finds it; its worker, too, is a new one. */
export function freshStore(): void {
  // A sweep would start its next run when this one fails.
  useSweep.setState(useSweep.getInitialState(), true);
  FakeWorker.made.at(-1)?.onerror?.({ message: 'end of the test' });
  useData.getState().discard();
  for (const store of [
    useAnswers,
    useCheck,
    useDownload,
    usePlan,
    useProfile,
    ...Object.values(lookUps),
  ])
    store.getState().drop();
  useRun.setState(useRun.getInitialState(), true);
  useChartView.setState(useChartView.getInitialState(), true);
  usePointer.setState(usePointer.getInitialState(), true);
  useFolds.setState({}, true);
  useSayForm.setState(useSayForm.getInitialState(), true);
  useData.setState(useData.getInitialState(), true);
  useModels.setState(useModels.getInitialState(), true);
  FakeWorker.made = [];
}

export const status = (state: RunStatus['state'], step = 0): RunEvent => ({
  type: 'status',
  runId: useRun.getState().run?.id ?? '',
  status: {
    state,
    step,
    tokensPerSecond: 12_400,
    secondsLeft: 190,
    submissionsPerStep: 3,
    memory: { weights: 12_000_000, teacher: 200_000_000 },
  },
});
