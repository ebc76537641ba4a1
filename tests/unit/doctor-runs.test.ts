// The Doctor on recorded runs (tests/doctor/cases.ts; the fixture's adapter says where each ran):
// the right verdict first on every sick one, and not a word on a healthy one at any time.

import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { type Config, checkConfig, DEFAULTS } from '../../src/config';
import type { EvaluationRecord, StepRecord } from '../../src/distill/records';
import { Doctor } from '../../src/doctor/doctor';
import type { RunFacts } from '../../src/doctor/evidence';
import { RULE_NAMES, type RuleName } from '../../src/doctor/rules';
import { SICK } from '../doctor/cases';

interface Recorded {
  name: string;
  expects?: RuleName;
  adapter: string;
  config: Config;
  facts: RunFacts;
  /** By field, one value a step. */
  steps: Record<keyof StepRecord, (number | boolean | null)[]>;
  evaluations: EvaluationRecord[];
  memory: { step: number; bytes: number }[];
}

const RUNS: Recorded[] = JSON.parse(readFileSync('tests/fixtures/doctor/runs.json', 'utf8'));

/** JSON has no NaN. */
const number = (value: number | boolean | null) => value ?? Number.NaN;

/** Lets a Doctor see the run again, in the order in which it happened. */
function replay({ config, facts, steps, evaluations, memory }: Recorded) {
  const doctor = new Doctor({ ...DEFAULTS, ...config }, facts);
  const ever = [...doctor.verdicts];
  let at = 0;
  for (const [index, record] of evaluations.entries()) {
    for (; at < steps.step.length && Number(steps.step[at]) <= record.step; at++) {
      const fields = Object.entries(steps).map(([name, values]) => [name, number(values[at])]);
      ever.push(...doctor.step(Object.fromEntries(fields)));
    }
    const { bytes } = memory[index] ?? { bytes: 0 };
    doctor.memory(record.step, bytes);
    const studentPerplexity =
      record.studentPerplexity === null ? Number.NaN : record.studentPerplexity;
    ever.push(...doctor.evaluation({ ...record, studentPerplexity }));
  }
  return { verdicts: doctor.verdicts, ever };
}

it.each(RUNS.filter(({ expects }) => expects))('$name: $expects', (run) => {
  const [gravest] = replay(run).verdicts;
  expect(gravest?.rule).toBe(run.expects);
  // Its sentence has numbers; only a perplexity that is none may be NaN.
  expect(gravest.text).toMatch(/\d/);
  expect(gravest.text).not.toMatch(run.expects === 'no-measurement' ? /null/ : /NaN|undefined/);
  expect(Object.keys(gravest.change ?? {}).every((name) => name in DEFAULTS)).toBe(true);
});

it('a cure can be started, and meets no new objection before its first step', () => {
  for (const { name, config, facts, ...run } of RUNS) {
    const objections = (changed: Config) =>
      new Doctor(changed, facts).verdicts.map(({ rule }) => rule);
    const settings = { ...DEFAULTS, ...config };
    const before = objections(settings);
    for (const { rule, change } of replay({ name, config, facts, ...run }).ever) {
      if (!change) continue;
      const cured = { ...settings, ...change };
      const fresh = objections(cured).filter((other) => !before.includes(other));
      expect([...checkConfig(cured), ...fresh], `${name}, ${rule}`).toEqual([]);
    }
  }
});

it.each(RUNS.filter(({ expects }) => !expects))('$name: nothing', (run) => {
  expect(replay(run).ever).toEqual([]);
});

it('every rule has a run that shows it, and every sick run is recorded', () => {
  const shown = new Set<RuleName>(SICK.flatMap(({ expects }) => expects ?? []));
  // Shown by the Bug Lab's causes: tests/gpu/bug-lab.test.ts.
  shown.add('lost-updates');
  expect(RULE_NAMES.filter((rule) => !shown.has(rule))).toEqual([]);
  const recorded = RUNS.map(({ name }) => name);
  expect(SICK.filter(({ name }) => !recorded.includes(name)).map(({ name }) => name)).toEqual([]);
});
