// What can go wrong in each phase of a run, what the page then says, and what is kept. A cell is
// tried (tests/unit/faults.test.ts), seen by a test of its own, takes the way of another cell of
// its row or column, which is tried, or cannot come about.

export const PHASES = [
  'loading',
  'compiling',
  'caching',
  'training',
  'evaluating',
  'sampling',
  'walking',
  'exporting',
  'profiling',
  'labs',
  'lessons',
] as const;
export type Phase = (typeof PHASES)[number];

/** How each is brought about. */
export const FAULTS = {
  'device lost': 'the driver is reset',
  'device lost for want of memory': 'the driver ends the device',
  'out of memory': 'an error scope, or the page itself, is told so',
  'adapter refused': 'the device is lost, and the browser gives no other one',
  'worker ended': 'the browser ends it',
  'storage full': 'no more byte fits',
  'storage gone': 'the site’s data are cleared',
  'network cut': 'no server answers',
  'clock jumps': 'the date goes back by an hour, and eight hours pass at once',
  'tab hidden': 'for an hour, in which the page’s timers rest',
  'two tabs': 'another one has the run, or the teacher’s cache',
} as const;
export type Fault = keyof typeof FAULTS;

/** A cell that is tried. */
export interface Tried {
  /** In the page's notices and log, or as the answer to what was asked for. */
  said: RegExp;
  /** What the person can do; `nothing`: the run goes on, or its end stays. */
  way: 'Start again' | 'Try again' | 'Continue from step' | 'ask again' | 'nothing';
  /**
   * The run's own files, from where it goes on: its last evaluation, or its end. Before the first
   * evaluation there is nothing to keep.
   */
  kept: 'nothing yet' | 'the last evaluation' | 'all';
}
export type Cell = Tried | { seen: string } | { as: Fault | Phase } | { cannot: string };

type Row = Record<Phase, Cell>;

/** The lesson on routers trains a model of its own. */
const LESSON: Cell = { cannot: 'it trains in the page, without a GPU, a worker or storage' };

/** A row of a fault that does the same in all phases of a kind. */
function row(kinds: {
  builds: Cell;
  steps: Cell;
  asks: Cell;
  labs: Cell;
  others?: Partial<Row>;
}): Row {
  const { builds, steps, asks, labs, others } = kinds;
  return {
    loading: builds,
    compiling: builds,
    caching: builds,
    training: steps,
    evaluating: steps,
    sampling: steps,
    walking: steps,
    exporting: asks,
    profiling: asks,
    labs,
    lessons: LESSON,
    ...others,
  };
}
const every = (cell: Cell): Row => row({ builds: cell, steps: cell, asks: cell, labs: cell });

const lost = (why: string): Row => {
  const asks: Cell = {
    said: new RegExp(`The GPU device was lost: ${why}\\. (Try again|Start the experiment again)`),
    way: 'ask again',
    kept: 'all',
  };
  return row({
    builds: {
      said: new RegExp(`The GPU device was lost\\. ${why}\\. There was no evaluation yet`),
      way: 'Start again',
      kept: 'nothing yet',
    },
    steps: {
      said: new RegExp(
        `The GPU device was lost\\. ${why}\\. The weights of the evaluation at step`,
      ),
      way: 'Continue from step',
      kept: 'the last evaluation',
    },
    asks,
    labs: asks,
  });
};

const NO_MEMORY = /no memory left, with [\d.]+ MiB in use by this page: .* Choose a smaller model/;
const NO_GPU = /no longer gives this page a GPU\. .* Try again in two minutes, or reload the page/;
const unkept = (why: string): Cell => ({
  said: new RegExp(`This run is not kept at present\\. ${why}.* it is tried again`),
  way: 'nothing',
  kept: 'all',
});
/** Nothing is said. */
const UNMOVED: Cell = { said: /^/, way: 'nothing', kept: 'all' };
const storage = (why: string): Row =>
  row({
    builds: { as: 'training' },
    steps: { as: 'training' },
    asks: { cannot: 'a student is written in memory, and the run is kept by then' },
    labs: { cannot: 'labs keep nothing' },
    others: { loading: unkept(why), training: unkept(why) },
  });

export const TABLE: Record<Fault, Row> = {
  'device lost': lost('The driver was reset'),
  'device lost for want of memory': {
    ...every({ as: 'device lost' }),
    training: lost('Out of memory').training,
    exporting: lost('Out of memory').exporting,
  },
  'out of memory': row({
    builds: { said: NO_MEMORY, way: 'Try again', kept: 'nothing yet' },
    steps: { said: NO_MEMORY, way: 'Try again', kept: 'the last evaluation' },
    asks: { said: NO_MEMORY, way: 'ask again', kept: 'all' },
    labs: { said: NO_MEMORY, way: 'ask again', kept: 'all' },
  }),
  'adapter refused': row({
    builds: { said: NO_GPU, way: 'Try again', kept: 'nothing yet' },
    steps: {
      said: /Could not recover the run\. .*no longer gives this page a GPU.* at step \d are saved/,
      way: 'Continue from step',
      kept: 'the last evaluation',
    },
    asks: { said: NO_GPU, way: 'ask again', kept: 'all' },
    labs: { said: NO_GPU, way: 'ask again', kept: 'all' },
    others: {
      compiling: { as: 'loading' },
      caching: { as: 'loading' },
      evaluating: { as: 'training' },
      sampling: { as: 'training' },
      walking: { as: 'training' },
      profiling: { as: 'exporting' },
    },
  }),
  'worker ended': {
    ...every({ seen: 'tests/unit/app/client.test.ts: a worker that the browser ends' }),
    training: { seen: 'tests/e2e/bad-input.test.ts: a worker that the browser ends' },
  },
  'storage full': {
    ...storage('The browser’s storage for this page is full: .* needs [\\d,]+ bytes more'),
    caching: {
      said: /storage for this page is full\. The run continues with the teacher in memory/,
      way: 'nothing',
      kept: 'all',
    },
  },
  'storage gone': {
    ...storage('The storage was cleared\\. Allow this site to store data'),
    caching: {
      said: /storage for this page fails: The storage was cleared\. The run continues with the/,
      way: 'nothing',
      kept: 'all',
    },
  },
  'network cut': {
    ...every({ cannot: 'all that it needs is in memory' }),
    // A recipe reads the teacher's folder, and the first experiment its models.
    exporting: { as: 'loading' },
    labs: { as: 'loading' },
    loading: {
      said: /could not be downloaded: Failed to fetch.* Check the connection, then try again/,
      way: 'Try again',
      kept: 'nothing yet',
    },
  },
  'clock jumps': {
    ...row({ builds: UNMOVED, steps: { as: 'training' }, asks: UNMOVED, labs: { as: 'training' } }),
    caching: { as: 'loading' },
    compiling: { as: 'loading' },
    profiling: { as: 'exporting' },
    training: UNMOVED,
  },
  'tab hidden': {
    ...every({ cannot: 'the worker does not rest; the page only listens, as in training' }),
    training: { seen: 'tests/unit/app/store.test.ts: an hour in a hidden tab' },
    lessons: { seen: 'tests/unit/app/live-experts.test.tsx: a hidden tab' },
  },
  'two tabs': {
    ...every({ cannot: 'a run holds its lock from before it is loaded' }),
    loading: {
      said: /Could not continue the run\. Another tab of this page has “.*” open\. Close the other/,
      way: 'Try again',
      kept: 'all',
    },
    caching: {
      said: /cannot be opened: another tab of this page is using it\. The run continues with the/,
      way: 'nothing',
      kept: 'all',
    },
    labs: { cannot: 'labs keep nothing' },
  },
};

const SIGNS = { seen: '◦', as: '=', cannot: '–' };

/** The table in short, as src/README.md has it. */
export function inShort(): string {
  const sign = (cell: Cell) => Object.entries(SIGNS).find(([kind]) => kind in cell)?.[1] ?? '✓';
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [
    line(['fault', ...PHASES]),
    line(['---', ...PHASES.map(() => ':-:')]),
    ...Object.entries(TABLE).map(([fault, cells]) =>
      line([fault, ...PHASES.map((phase) => sign(cells[phase]))]),
    ),
  ].join('\n');
}
