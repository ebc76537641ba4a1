// The Doctor's examination on evidence made by hand: what it says, in which order, and what it
// leaves unsaid. Whether each rule is right about real runs is tested on recorded ones.

import { describe, expect, it } from 'vitest';
import { type Config, DEFAULTS } from '../../src/config';
import type { EvaluationRecord, StepRecord } from '../../src/distill/records';
import { Doctor } from '../../src/doctor/doctor';
import type { Evidence, RunFacts } from '../../src/doctor/evidence';
import { examine, healthyLine, type Verdict } from '../../src/doctor/examine';
import type { Rule } from '../../src/doctor/rule';
import { RULE_NAMES, RULES } from '../../src/doctor/rules';
import { judge } from '../../src/doctor/trial';

const FACTS: RunFacts = { dtype: 'float16', studentParameters: 170_000, vocabularySize: 1024 };

const step = (number: number, changes: Partial<StepRecord> = {}): StepRecord => ({
  step: number,
  loss: 3,
  ce: 5,
  kd: 0.5,
  gradNorm: 0.4,
  learningRate: 0.006,
  lossScale: 65536,
  applied: true,
  appliedTotal: number,
  skippedTotal: 0,
  tokens: 512,
  ...changes,
});

const evaluation = (number: number, changes: Partial<EvaluationRecord> = {}): EvaluationRecord => ({
  step: number,
  tried: 4,
  succeeded: 4,
  failed: 0,
  tokens: 2000,
  studentPerplexity: 1000 * Math.exp(-number / 100),
  teacherPerplexity: 70,
  kl: 3 * Math.exp(-number / 100),
  agreement: 0.3,
  path: 'strided',
  bytesCopied: 0,
  milliseconds: 1,
  updateRatio: 0.01,
  ...changes,
});

const steps = (count: number, changes?: (number: number) => Partial<StepRecord>) =>
  Array.from({ length: count }, (_, i) => step(i + 1, changes?.(i + 1)));

const evidence = (changes: Partial<Evidence> = {}): Evidence => ({
  config: DEFAULTS,
  facts: FACTS,
  steps: steps(40),
  evaluations: [evaluation(0), evaluation(20), evaluation(40)],
  ...changes,
});

const names = (changes: Partial<Evidence>) => examine(evidence(changes)).map(({ rule }) => rule);

describe('the table', () => {
  it('gives every rule its threshold, and what its verdict does not prove', () => {
    for (const name of RULE_NAMES) {
      const { title, watches, threshold, caveat } = RULES[name];
      for (const text of [title, watches, threshold, caveat])
        expect(text.length).toBeGreaterThan(9);
      expect(title).toMatch(/^[A-Z].*[^.]$/);
    }
  });

  it('names only rules that exist as explanations, and no rule explains itself', () => {
    for (const name of RULE_NAMES) {
      const { explainedBy = [] }: Rule = RULES[name];
      expect(RULE_NAMES).toEqual(expect.arrayContaining([...explainedBy]));
      expect(explainedBy).not.toContain(name);
    }
  });
});

describe('the examination', () => {
  it('says in which tensor the numbers stop being finite', () => {
    const skipped = () => ({ applied: false, appliedTotal: 0, loss: Number.NaN });
    const said = (nonFinite: Evidence['nonFinite'], evaluations = [evaluation(0)]) =>
      examine(evidence({ steps: steps(8, skipped), evaluations, nonFinite }))[0].text;
    expect(said({ step: 1, tensor: 'mlp', kernel: 'matmul' })).toContain(
      'The first number that is not finite is in “mlp”, written by matmul.',
    );
    const unmeasured = [evaluation(8, { studentPerplexity: Number.NaN })];
    expect(said({ step: 1, tensor: 'master weights wte.weight' }, unmeasured)).toContain(
      'In step 1: “master weights wte.weight” is not finite before the step’s first kernel.',
    );
  });

  it('has one quiet sentence on a healthy run, with its numbers', () => {
    expect(examine(evidence())).toEqual([]);
    expect(healthyLine(evidence())).toBe(
      'Healthy: a step moved the weights by at most 0.01 of their size, KL fell from 3 to 2.01 ' +
        'in 40 steps, 0 steps skipped.',
    );
    const atEnd = [evaluation(0, { updateRatio: undefined }), evaluation(40, { updateRatio: 0 })];
    expect(healthyLine(evidence({ evaluations: atEnd }))).toMatch(/^Healthy: KL fell from/);
  });

  it('says before the first step what settings alone tell; the rest is too early to say', () => {
    const config = { ...DEFAULTS, student_lr: 5e-6, eval_loss_path: 'view' } as const;
    const before = { config, steps: [], evaluations: [] };
    expect(names(before)).toEqual(['evaluation-fails', 'unusual-learning-rate']);
    expect(healthyLine(evidence({ steps: [], evaluations: [] }))).toMatch(/^No problem so far/);
  });

  it('gives numbers, a caveat and a cure that is a setting', () => {
    const skips = steps(8, (number) => ({
      loss: Number.NaN,
      gradNorm: Number.NaN,
      lossScale: 65536 / 2 ** number,
      applied: false,
      appliedTotal: 0,
      skippedTotal: number,
    }));
    const [verdict, ...others] = examine(evidence({ steps: skips, evaluations: [evaluation(0)] }));
    expect(others).toEqual([]);
    expect(verdict).toMatchObject({
      rule: 'skipped-steps',
      severity: 'problem',
      text:
        'The last 8 steps were skipped, and no step has changed the student: a gradient was not ' +
        'finite at a loss scale of 256.',
      change: { model_dtype: 'float32' },
      region: { chart: 'scale', from: 1, to: 8 },
    });
  });

  it('proposes no change that is already made', () => {
    const sample = { prompt: 'It', student: 'the same again '.repeat(9), teacher: 'the same' };
    const said = (config: Partial<Config>) => {
      const evaluations = [evaluation(0), evaluation(20, { sample })];
      const found = examine(evidence({ config: { ...DEFAULTS, ...config }, evaluations }));
      const { advice, change } = found.find(({ rule }) => rule === 'repeats') ?? {};
      return { advice, change };
    };
    expect(said({ temperature: 1 }).change).toEqual({ temperature: 2 });
    expect(said({})).toEqual({
      advice: 'Train on more text, or use a larger student.',
      change: undefined,
    });
  });

  it('does not report what another verdict explains', () => {
    // Without any update, the perplexity stands still: that is no verdict on the learning rate.
    const still = [0, 20, 40, 60].map((number) =>
      evaluation(number, { studentPerplexity: 1000, updateRatio: 0 }),
    );
    const zero = steps(60, () => ({ gradNorm: 0 }));
    expect(names({ steps: zero, evaluations: still })).toEqual(['disconnected-loss']);
    const slow = still.map((record) => ({ ...record, updateRatio: 1e-6 }));
    expect(names({ steps: steps(60), evaluations: slow })).toEqual(['learning-rate-low']);
  });

  it('asks no tokenizer for more than it has: a small one’s tokens are single bytes', () => {
    const data = {
      documents: 1,
      medianDocument: 400_000,
      trainTokens: 378_000,
      heldOutTokens: 42_000,
      windows: 5906,
      bytesPerToken: 1,
      mostFrequent: { text: '=', share: 0.07 },
      unigramPerplexity: 20,
    };
    expect(names({ facts: { ...FACTS, data } })).toContain('tokenizer-unfit');
    const sorting = { ...FACTS, data, vocabularySize: 257 };
    expect(names({ facts: sorting })).not.toContain('tokenizer-unfit');
  });

  it('puts problems before warnings, and warnings before notes', () => {
    const config = { ...DEFAULTS, temperature: 16, warmup_steps: 150 };
    const evaluations = [evaluation(0), evaluation(20, { failed: 1, succeeded: 3 })];
    expect(examine(evidence({ config, evaluations })).map(({ severity }) => severity)).toEqual([
      'problem',
      'warning',
      'note',
    ]);
  });

  it('sees a text learnt by heart, and does not take the noise of small batches for it', () => {
    const perplexities = [1000, 300, 250, 270, 280];
    const evaluations = perplexities.map((studentPerplexity, i) =>
      evaluation(i * 40, { studentPerplexity }),
    );
    // The training loss falls by 0.1 from step 80 to step 160, among steps that differ by `noise`.
    const losses = (noise: number) =>
      steps(160, (number) => ({ ce: 5.6 - number / 800 + noise * Math.sin(number ** 2) }));
    expect(names({ evaluations, steps: losses(0.05) })).toContain('overfitting');
    expect(names({ evaluations, steps: losses(0.5) })).not.toContain('overfitting');
  });
});

describe('a student with experts', () => {
  const used = (...loads: number[][]) =>
    loads.map((load, i) =>
      evaluation(20 * i, { experts: [{ layer: 1, chosen: 1, load, entropy: 0.5 }] }),
    );
  const said = (evaluations: EvaluationRecord[], router_balance = 0) =>
    examine(evidence({ config: { ...DEFAULTS, router_balance }, evaluations })).find(
      ({ rule }) => rule === 'experts-collapse',
    );
  const even = [0.3, 0.2, 0.26, 0.24];
  const dead = [0.4, 0, 0.3, 0.3];
  const all = [0.02, 0.97, 0, 0.01];

  it('is told of a collapse that stands in three evaluations, and of a larger balance loss', () => {
    // The start does not count, and one expert after the other is no collapse.
    expect(said(used(all, all, all))).toBeUndefined();
    expect(said(used(even, all, all, all.toReversed()))).toBeUndefined();
    const collapse = used(even, all, all, all);
    const verdict = said(collapse);
    expect(verdict?.text).toBe(
      'In layer 1, expert 1 takes 97% of the choices; an even share is 25% (step 60).',
    );
    expect(verdict?.region).toEqual({ chart: 'experts', from: 20, to: 60, layer: 1 });
    expect(verdict?.change).toEqual({ router_balance: 0.01 });
    expect(said(collapse, 0.02)?.change).toEqual({ router_balance: 0.2 });
    expect(said(collapse, 1)?.change).toBeUndefined();
  });

  it('is told of an expert that no token chose in three evaluations', () => {
    expect(said(used(even, dead, even, dead, dead))).toBeUndefined();
    expect(said(used(even, dead, dead, dead))?.text).toBe(
      'In layer 1, expert 1 of 4 is dead: none of 2,000 tokens chose it in 3 evaluations ' +
        '(step 60).',
    );
  });

  it('whose every expert is always chosen has nothing to share', () => {
    const both = [{ layer: 0, chosen: 2, load: [0.5, 0.5], entropy: 0.6 }];
    expect(said([0, 20, 40].map((at) => evaluation(at, { experts: both })))).toBeUndefined();
  });
});

describe('a cure on trial', () => {
  const config = { ...DEFAULTS, student_lr: 5e-6 };
  const slow = [0, 20, 40, 60].map((number) =>
    evaluation(number, { studentPerplexity: 1000 - number / 10, updateRatio: 1e-6 }),
  );
  const [verdict] = examine(evidence({ config, steps: steps(60), evaluations: slow }));
  const difference = 'lr 5e-6 → 6e-5';
  const trial = { verdict, difference, stood: [verdict], config, evaluations: slow };
  const now = [0, 20, 40, 60].map((number) => evaluation(number));

  it('is too early to judge before the step of the old verdict', () => {
    expect(verdict.rule).toBe('learning-rate-low');
    const early = [evaluation(0), evaluation(20)];
    const verdicts: Verdict[] = [];
    expect(judge(trial, { evaluations: early, verdicts }).state).toBe('too early');
    expect(judge(trial, { evaluations: [], verdicts }).state).toBe('too early');
    // Half a run is no cure, however well it goes.
    expect(judge(trial, { evaluations: early, verdicts, ended: 'stopped' })).toEqual({
      state: 'stopped',
      text:
        'The run with lr 5e-6 → 6e-5 stopped before step 60, which would have shown whether ' +
        'that is a cure.',
    });
    // Its last step is all that a shorter run will show.
    expect(judge(trial, { evaluations: early, verdicts, ended: 'finished' }).state).toBe('cured');
  });

  it('worked if the verdict does not return, and says so with both runs’ numbers', () => {
    expect(judge(trial, { evaluations: now, verdicts: [] })).toEqual({
      state: 'cured',
      text:
        'lr 5e-6 → 6e-5 cured it: “The learning rate is too low” is gone at step 60. Perplexity ' +
        'is 549 at step 60; before, it was 994 at step 60.',
    });
  });

  it('did not work if the verdict stands again', () => {
    expect(judge(trial, { evaluations: slow, verdicts: [verdict] })).toMatchObject({
      state: 'not cured',
      text: expect.stringMatching(/^lr 5e-6 → 6e-5 did not cure it\. Perplexity is 994/),
    });
  });

  it('did not work if another problem has come, unless that stood before', () => {
    const { title, severity, caveat } = RULES['skipped-steps'];
    const text = 'The last 6 steps were skipped.';
    const other: Verdict = { rule: 'skipped-steps', title, severity, caveat, text, advice: '' };
    const tried = { evaluations: now, verdicts: [other] };
    expect(judge(trial, tried)).toMatchObject({
      state: 'not cured',
      text: expect.stringMatching(/low” is gone at step 60, but “Steps are skipped in a row” has/),
    });
    expect(judge({ ...trial, stood: [verdict, other] }, tried).state).toBe('cured');
  });
});

describe('a run’s Doctor', () => {
  it(
    'tells a verdict when it is new, keeps it while it stands, and drops it when it is ' + 'cured',
    () => {
      const doctor = new Doctor(DEFAULTS, FACTS);
      expect(doctor.verdicts).toEqual([]);
      doctor.evaluation(evaluation(0));
      const failed = evaluation(20, {
        failed: 4,
        succeeded: 0,
        tokens: 0,
        firstError: 'view\nsizes',
      });
      expect(doctor.evaluation(failed).map(({ rule }) => rule)).toEqual(['evaluation-fails']);
      expect(doctor.line).toContain('4 of 4 evaluation batches failed at step 20');
      expect(doctor.evaluation({ ...failed, step: 40 })).toEqual([]);
      expect(doctor.verdicts).toHaveLength(1);
      doctor.evaluation(evaluation(60));
      expect(doctor.verdicts).toEqual([]);
    },
  );

  it('knows what a continued run did before', () => {
    const records = steps(100);
    const evaluations = [0, 50, 100].map((step) => evaluation(step));
    const whole = new Doctor(DEFAULTS, FACTS);
    for (const record of records.slice(0, 60)) whole.step(record);
    for (const record of evaluations.slice(0, 2)) whole.evaluation(record);
    const continued = new Doctor(DEFAULTS, FACTS);
    continued.recall({ steps: records, evaluations }, 60);
    expect(continued.evidence).toEqual(whole.evidence);
    expect(continued.verdicts).toEqual(whole.verdicts);
  });

  it('keeps the first and the latest steps of a long run', () => {
    const doctor = new Doctor(DEFAULTS, FACTS);
    for (const record of steps(3000)) doctor.step(record);
    const kept = doctor.evidence.steps.map((record) => record.step);
    expect(kept.slice(0, 2)).toEqual([1, 2]);
    expect(kept.at(-1)).toBe(3000);
    expect(kept.length).toBeLessThan(1200);
  });
});
