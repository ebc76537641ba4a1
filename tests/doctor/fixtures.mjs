// Makes the fixture of the Doctor's unit tests from the records of `npm run doctor -- --json FILE`:
// every sick run, and some of the healthy ones.
//
//   node tests/doctor/fixtures.mjs FILE… > tests/fixtures/doctor/runs.json
//
// A run that stands in several files is taken from the last one.

import { readFileSync } from 'node:fs';

/** One of so many healthy runs is kept; all of them speak for `npm run doctor`. */
const KEPT = 3;
const STEP_FIELDS = [
  'step',
  'loss',
  'ce',
  'kd',
  'gradNorm',
  'learningRate',
  'lossScale',
  'applied',
  'appliedTotal',
  'skippedTotal',
  'tokens',
];

/** Five digits: more than any threshold needs. JSON has no NaN and no infinity; both become null. */
const short = (_, value) =>
  typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value;

const runs = new Map();
for (const file of process.argv.slice(2)) {
  const { adapter, runs: recorded } = JSON.parse(readFileSync(file, 'utf8'));
  for (const run of recorded) runs.set(run.name, { ...run, adapter });
}
let healthy = 0;
const kept = [...runs.values()].filter(({ expects }) => expects || healthy++ % KEPT === 0);
const lines = kept.map(({ name, expects, adapter, evidence }) => {
  const { config, facts, steps, evaluations, memory } = evidence;
  const columns = Object.fromEntries(
    STEP_FIELDS.map((field) => [field, steps.map((step) => step[field])]),
  );
  return JSON.stringify(
    { name, expects, adapter, config, facts, steps: columns, evaluations, memory },
    short,
  );
});
console.log(`[\n${lines.join(',\n')}\n]`);
