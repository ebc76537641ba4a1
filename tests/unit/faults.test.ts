// Every cell of the table of faults (tests/faults/table.ts) that can be tried without a browser:
// the page and its worker in one process, on a GPU that computes nothing. Whatever happens,
// something is said, a way on is offered, and on it the run comes to its end with each step once.

import { readFileSync } from 'node:fs';
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { useRun } from '../../src/app/run/store';
import { useRuns } from '../../src/app/runs/store';
import { prepareRun, request } from '../../src/app/shared/client';
import { type Config, DEFAULTS } from '../../src/config';
import type { Failure } from '../../src/worker/protocol';
import type { GpuCall, NullDevice } from '../faults/null-gpu';
import { type Fault, inShort, PHASES, type Phase, TABLE, type Tried } from '../faults/table';
import { gpu, network, openWhole, opfs, otherTab, seen } from '../faults/whole';

const SMALL: Config = {
  ...DEFAULTS,
  train_steps: 6,
  eval_steps: 2,
  // The one with the smallest weights.
  teacher_model: 'sorting-teacher',
  eval_batches: 1,
  batch_size: 2,
  max_length: 16,
  sample_tokens: 2,
  student_layers: 1,
  student_width: 32,
  student_heads: 2,
};
const STEPS = [1, 2, 3, 4, 5, 6];

/** A moment of a phase: the nth call of the GPU that is like this, or a request. */
interface Scene {
  config?: Partial<Config>;
  call?: { name: GpuCall; label?: string; nth: number };
  path?: RegExp;
  /** Asked for once the run is over; the moment then lies in this. */
  ask?: (runId: string) => Promise<unknown>;
  diverges?: boolean;
}

const REPLAY = {
  kind: 'replay',
  batchSize: 1,
  contextLength: 2,
  where: 'evaluation',
  errors: 'raised',
} as const;
const STORY = { evaluations: [], losses: [], changes: [] };
const SCENES: Record<Phase, Scene> = {
  loading: { path: /model\.safetensors/ },
  compiling: { call: { name: 'createComputePipelineAsync', label: 'adamw', nth: 1 } },
  caching: {
    config: { teacher_cache: 'on', cache_top_k: 0 },
    call: { name: 'submit', label: 'teacher entries', nth: 2 },
  },
  training: { call: { name: 'submit', label: 'step 4', nth: 1 } },
  evaluating: { call: { name: 'createBuffer', label: 'evaluation results', nth: 3 } },
  sampling: { call: { name: 'createBuffer', label: 'sample text', nth: 5 } },
  walking: {
    diverges: true,
    call: { name: 'submit', label: 'search for the first NaN', nth: 1 },
  },
  exporting: {
    call: { name: 'mapAsync', nth: 1 },
    ask: (runId) => request('export', { runId, dtype: 'float32', story: STORY }),
  },
  profiling: {
    call: { name: 'submit', nth: 30 },
    ask: (runId) => request('profile', { runId }),
  },
  labs: {
    call: { name: 'submit', nth: 30 },
    ask: () => request('bug-lab', { experiment: REPLAY }),
  },
  lessons: {},
};

let jumped = 0;
const now = performance.now.bind(performance);
const STRIKES: Partial<Record<Fault, (device: NullDevice) => void>> = {
  'device lost': (device) => device.lose(),
  'device lost for want of memory': (device) => device.lose('Out of memory.'),
  'out of memory': (device) => device.report('out-of-memory', 'Buffer of 64 MiB.'),
  'adapter refused': (device) => {
    gpu.refuses = true;
    device.lose();
  },
  'storage full': () => {
    opfs.quota = 0;
  },
  'storage gone': () => {
    opfs.gone = true;
  },
  'network cut': () => {
    network.cut = true;
  },
  'clock jumps': () => {
    jumped += 8 * 3_600_000;
    vi.spyOn(performance, 'now').mockImplementation(() => now() + jumped);
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - 3_600_000 });
  },
};

const unhandled: unknown[] = [];
process.on('unhandledRejection', (error) => unhandled.push(error));

// On a busy machine a cell has taken 20 s.
vi.setConfig({ testTimeout: 180_000 });
beforeAll(openWhole);
afterEach(mend);

function mend(): void {
  Object.assign(gpu, { refuses: false, diverges: false, onCall: () => {} });
  Object.assign(network, { cut: false, onAsk: () => {} });
  Object.assign(opfs, { quota: Number.POSITIVE_INFINITY, gone: false });
  otherTab.clear();
  vi.useRealTimers();
}

const page = () => useRun.getState();
const until = (what: () => boolean) =>
  vi.waitUntil(what, { timeout: 60_000, interval: 2 }).catch(() => {
    throw new Error(`The page is stuck: ${JSON.stringify(seen())}`);
  });
const ended = () => until(() => ['finished', 'failed', 'lost'].includes(page().phase));
/** All that the person can read: notices, buttons, and the log without the Doctor's lines. */
const read = () => {
  const { notices, buttons } = seen();
  const lines = page().run?.events.map(({ text }) => text) ?? [];
  return [notices, ...lines.filter((line) => !line.startsWith('Doctor')), buttons].join('\n');
};

let ids = 0;
const newId = () => `2026-01-01-000000-fault-${++ids}`;
const device = () => gpu.devices.at(-1) as NullDevice;

/** Has `strike` called once, at the scene's moment. Returns whether it was. */
function arm({ call, path, diverges }: Scene, strike: () => void): () => boolean {
  let [struck, calls] = [false, 0];
  const once = () => {
    struck = true;
    strike();
  };
  gpu.onCall = (name, label) => {
    if (diverges && label === 'step 3') gpu.diverges = true;
    if (struck || name !== call?.name || (call.label ?? label) !== label) return;
    if (++calls === call.nth) once();
  };
  network.onAsk = (asked) => {
    if (!struck && path?.test(asked)) once();
  };
  return () => struck;
}

/** What the primary button does. */
const press = async () => {
  const { phase, lost, recover, start } = page();
  if (phase === 'lost' && lost?.resumeStep !== undefined) recover();
  else start();
  await ended();
};

function expectWhole(): void {
  const { phase, run } = page();
  const history = run?.history;
  expect(phase).toBe('finished');
  const records = Array.from({ length: history?.length ?? 0 }, (_, i) => history?.at(i));
  expect(records.map((record) => record?.step)).toEqual(STEPS);
  for (const record of records) expect(record?.seconds).toBeGreaterThanOrEqual(0);
  expect(history?.evaluations.map(({ step }) => step)).toEqual([0, 2, 4, 6]);
}

const answerOf = (asked: Promise<unknown>): Promise<string> =>
  asked.then(
    () => 'done',
    ({ message, hint }: Failure) => `${message} ${hint}`,
  );

const tried = PHASES.flatMap((phase) =>
  Object.entries(TABLE).flatMap(([fault, cells]) => {
    const cell = cells[phase];
    return 'said' in cell && STRIKES[fault as Fault]
      ? [[phase, fault as Fault, cell] as const]
      : [];
  }),
);

test.each(tried)('%s, %s', async (phase, fault, { said, way, kept }: Tried) => {
  const scene = SCENES[phase];
  const strike = () => STRIKES[fault]?.(device());
  if (phase === 'compiling') {
    // A device that has run before has its kernels.
    gpu.devices.at(-1)?.lose();
    await gpu.devices.at(-1)?.lost;
  }
  opfs.remove('teacher-cache');
  let struck = scene.ask ? () => false : arm(scene, strike);
  const runId = newId();
  page().startAs(runId, { ...SMALL, ...scene.config });
  await ended();
  let answer = '';
  if (scene.ask) {
    expectWhole();
    struck = arm(scene, strike);
    answer = await answerOf(scene.ask(runId));
    if (fault === 'adapter refused') answer = await answerOf(scene.ask(runId));
  } else if (fault === 'adapter refused') await press();
  expect(struck()).toBe(true);

  expect(`${read()}\n${answer}`).toMatch(said);
  expect(`${read()}\n${answer}`).not.toMatch(/bug in Stillhouse|undefined|NaN (MiB|steps)/);
  if (way === 'nothing') expectWhole();
  else if (way === 'ask again') {
    expectWhole();
    mend();
    expect(await answerOf(scene.ask?.(runId) as Promise<unknown>)).toBe('done');
  } else {
    expect(seen().buttons).toContain(way);
    mend();
    if (way === 'Try again' && kept === 'the last evaluation') {
      // What is kept is offered beside a new start.
      await until(() => /The run is kept\. Continue from step [24]/.test(seen().notices));
      const row = useRuns.getState().kept?.rows.find(({ id }) => id === runId);
      page().continueRun(row as NonNullable<typeof row>);
      await ended();
    } else await press();
    if (way === 'Continue from step') expect(page().run?.id).toBe(runId);
  }
  expectWhole();
  expect(unhandled.splice(0)).toEqual([]);
});

describe('with another tab', () => {
  test('loading: its run cannot be continued here until it is closed there', async () => {
    const runId = newId();
    page().startAs(runId, SMALL);
    await ended();
    page().reset();
    await until(() => useRuns.getState().kept?.rows.some(({ id }) => id === runId) ?? false);
    const row = useRuns.getState().kept?.rows.find(({ id }) => id === runId);
    otherTab.add(`stillhouse run ${runId}`);
    page().continueRun(row as NonNullable<typeof row>);
    await ended();
    const cell = TABLE['two tabs'].loading as Tried;
    expect(read()).toMatch(cell.said);
    expect(seen().buttons).toContain(cell.way);
    otherTab.clear();
    page().continueRun(row as NonNullable<typeof row>);
    await ended();
    expectWhole();
  });

  test('caching: its cache is left alone', async () => {
    const letGo = opfs.holdElsewhere('teacher-cache');
    page().startAs(newId(), { ...SMALL, ...SCENES.caching.config });
    await ended();
    letGo();
    expect(read()).toMatch((TABLE['two tabs'].caching as Tried).said);
    expectWhole();
  });
});

test('without the network, a lost run is not lost: it is tried again', async () => {
  const struck = arm(SCENES.training, () => {
    network.cut = true;
    device().lose();
  });
  const runId = newId();
  page().startAs(runId, SMALL);
  await ended();
  expect(struck()).toBe(true);
  await press();
  expect(read()).toMatch(/Could not load the model.*Check the connection.* nothing is lost/s);
  mend();
  await press();
  expect(page().run?.id).toBe(runId);
  expectWhole();
});

test('a continued run that loses its device as it loads goes on from its checkpoint', async () => {
  const runId = newId();
  const struck = arm(SCENES.training, () => device().report('out-of-memory', 'Buffer.'));
  page().startAs(runId, SMALL);
  await ended();
  expect(struck()).toBe(true);
  await until(() => /Continue from step [24]/.test(seen().notices));
  const row = useRuns.getState().kept?.rows.find(({ id }) => id === runId);
  arm(SCENES.loading, () => device().lose());
  page().continueRun(row as NonNullable<typeof row>);
  await ended();
  expect(seen().buttons).toContain(`Continue from step ${row?.checkpoint}`);
  await press();
  expectWhole();
});

describe('a run that is built while somebody reads', () => {
  const preparations = () => performance.getEntriesByName('prepare a run').length;
  const prepared = async () => {
    page().reset();
    const before = preparations();
    prepareRun(SMALL);
    await until(() => preparations() > before);
  };

  test('trains at once: nothing is loaded, compiled or evaluated again', async () => {
    await prepared();
    const asked: string[] = [];
    network.onAsk = (path) => asked.push(path);
    gpu.onCall = (name, label) => {
      if (name === 'createComputePipelineAsync' || label === 'evaluation results')
        asked.push(`${name} ${label} in ${page().lastStep}`);
    };
    page().startAs(newId(), SMALL);
    await ended();
    // The evaluations of steps 2, 4 and 6 are left.
    expect(asked.map((what) => what.replace(/ in \d$/, ''))).toEqual(
      Array(3).fill('createBuffer evaluation results'),
    );
    expectWhole();
  });

  test('is taken over when it is started before it is ready', async () => {
    page().reset();
    const started = arm(SCENES.loading, () => page().startAs(newId(), SMALL));
    prepareRun(SMALL);
    await until(started);
    await ended();
    expectWhole();
  });

  test('leaves the GPU to a run of other settings', async () => {
    await prepared();
    page().startAs(newId(), { ...SMALL, alpha: 0.5 });
    await ended();
    expectWhole();
  });

  test.each(['device lost', 'out of memory'] as const)('%s: nobody hears of it', async (fault) => {
    await prepared();
    STRIKES[fault]?.(device());
    if (fault === 'device lost') await device().lost;
    page().startAs(newId(), SMALL);
    await ended();
    expectWhole();
    expect(unhandled.splice(0)).toEqual([]);
  });
});

describe('the table', () => {
  test('has a test for each cell that refers to one', () => {
    for (const cells of Object.values(TABLE)) {
      for (const cell of Object.values(cells)) {
        if (!('seen' in cell)) continue;
        const [file, name] = cell.seen.split(': ');
        expect(readFileSync(file, 'utf8'), cell.seen).toContain(name);
      }
    }
  });

  test('stands in src/README.md', () => {
    expect(readFileSync('src/README.md', 'utf8')).toContain(inShort());
  });
});
