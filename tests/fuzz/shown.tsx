// A run of a stranger, opened and continued: what the page makes of its journal, in state, Doctor,
// charts and log.

import { renderToStaticMarkup } from 'react-dom/server';
import { LossChart, PerplexityChart } from '../../src/app/charts/Curves';
import { comparedRun } from '../../src/app/charts/compare';
import Experts from '../../src/app/charts/Experts';
import { RunHistory } from '../../src/app/charts/history';
import { SmallCharts } from '../../src/app/charts/SmallCharts';
import { xView } from '../../src/app/charts/x-axis';
import LearnedPanel from '../../src/app/learned/LearnedPanel';
import { LogView } from '../../src/app/run/LogView';
import { INITIAL, reduce } from '../../src/app/run/reduce';
import { record, type ShownRun } from '../../src/app/run/shown-run';
import { DEFAULTS } from '../../src/config';
import { Doctor } from '../../src/doctor/doctor';
import { parseJournal } from '../../src/runs/journal';
import { replay } from '../../src/worker/kept-run';
import { journalText } from './kept';
import { type Attack, known, Misread } from './run';

const RUN_ID = '20261126-100000-aaaaaa';
const STEP = 4;
const nothing = new ArrayBuffer();
const snapshot = { step: STEP, master: nothing, mean: nothing, square: nothing, scaler: nothing };
const facts = { config: DEFAULTS, student: {}, dtype: 'f32' as const, adapter: 'a', data: 'abc' };

/** The page's run after all that the worker tells of a kept one. */
function shownRun(text: string): ShownRun {
  const journal = parseJournal(text);
  const doctor = new Doctor(DEFAULTS, {
    dtype: 'float32',
    studentParameters: 1e4,
    vocabularySize: 300,
  });
  doctor.recall(journal, STEP);
  const { line, verdicts } = doctor;
  const [history, twin] = [new RunHistory(DEFAULTS.train_steps), new RunHistory(STEP)];
  let state = reduce(INITIAL, { type: 'start', runId: RUN_ID, history, twin }, 0);
  for (const event of [
    ...replay(RUN_ID, { journal, snapshot, facts, seconds: 4 }),
    { type: 'diagnosis', runId: RUN_ID, step: STEP, line, verdicts, fresh: verdicts } as const,
  ]) {
    if (state.run) record(state.run, event);
    state = reduce(state, event, 0);
  }
  return state.run as ShownRun;
}

export const SHOWN: Attack = known({
  name: 'run file, shown and continued',
  inputs: journalText,
  // Drawing takes long.
  share: 0.2,
  read(text) {
    const run = shownRun(text);
    const { steps, evaluations } = parseJournal(text);
    const compared = [comparedRun('other', 'other', { steps, evaluations }, run.config)];
    const histories = compared.map(({ history }) => history);
    const x = xView('seconds', false, run.history, { steps: run.config.train_steps }, histories);
    const markup = renderToStaticMarkup(
      <>
        <LossChart run={run} compared={compared} x={x} />
        <PerplexityChart run={run} compared={compared} x={x} />
        <SmallCharts run={run} x={x} />
        <Experts run={run} x={x} />
        <LearnedPanel run={run} x={x} />
        <LogView run={run} />
      </>,
    );
    const [found] = /.{0,40}\b(undefined|\[object).{0,20}/.exec(markup) ?? [];
    if (found !== undefined) throw new Misread(`shows ${found}`);
  },
  errors: [],
  says: /\w/,
});
