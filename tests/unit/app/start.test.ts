// What the page says to somebody who is new: whether a result is good, and what to switch on where
// there is no GPU.

import { expect, test } from 'vitest';
import { RunHistory } from '../../../src/app/charts/history';
import { type BrowserFacts, gpuHelp } from '../../../src/app/run/gpu-help';
import { nextOf } from '../../../src/app/run/next';
import type { ShownRun } from '../../../src/app/run/shown-run';
import { storyOf } from '../../../src/app/run/story';
import { verdictOf } from '../../../src/app/run/verdict';
import { TOUR } from '../../../src/app/tour/steps';
import { type Config, DEFAULTS } from '../../../src/config';
import { formatLink, parseLink } from '../../../src/link';
import { PRESETS } from '../../../src/presets';
import type { EvaluationRecord } from '../../../src/worker/protocol';
import { evaluationRecord, failedEvaluation } from './support';

const verdict = (...evaluations: EvaluationRecord[]) => verdictOf(runWith(evaluations));

function runWith(evaluations: EvaluationRecord[], config: Partial<Config> = {}): ShownRun {
  const history = new RunHistory(1);
  for (const record of evaluations) history.appendEvaluation(record);
  const report = {
    teacherParameters: 1_000_000,
    studentParameters: 200_000,
    tokensPerStep: 512,
  } as ShownRun['report'];
  return {
    id: 'run-1',
    source: 'live',
    config: { ...DEFAULTS, ...config },
    history,
    marks: [],
    events: [],
    report,
  };
}

const student = (step: number, studentPerplexity: number) =>
  evaluationRecord(step, { studentPerplexity, teacherPerplexity: 50 });

test.each([
  [55, 'Very good'],
  [99, 'Good'],
  [101, 'Fair'],
  [300, 'Weak'],
  [2000, 'Not better than before'],
])('a student of perplexity %d beside a teacher of 50: %s', (perplexity, title) => {
  expect(verdict(student(0, 2000), student(200, perplexity))?.title).toBe(title);
});

test('the verdict has the numbers that it rests on', () => {
  expect(verdict(student(0, 2000), student(200, 100))?.sentences.join(' ')).toContain(
    'The teacher’s is 50.0: the student’s is 2.0 times that. It has 5.0 times fewer parameters.',
  );
  expect(verdict(student(0, 2000), student(200, 40))?.sentences.join(' ')).toContain(
    'better than its teacher',
  );
});

test('where the text has answers, they are what counts', () => {
  const answers = { tried: 115, studentRight: 65, teacherRight: 115 };
  const { title, sentences } = verdict(student(0, 2000), { ...student(400, 51), answers }) ?? {};
  expect(title).toBe('Fair');
  expect(sentences?.[0]).toBe('It gets 65 of 115 answers right, its teacher 115.');
});

test('what was not measured is not judged', () => {
  expect(verdict()).toBeUndefined();
  expect(verdict(student(0, 2000), failedEvaluation(200))).toEqual({
    title: 'Finished',
    sentences: ['The student’s perplexity went from 2,000 to n/a (0 valid tokens).'],
  });
  // Of a teacher with another vocabulary there is no perplexity to compare with.
  const alone = (step: number, perplexity: number) => ({
    ...student(step, perplexity),
    teacherPerplexity: undefined,
  });
  expect(verdict(alone(0, 2000), alone(200, 100))?.title).toBe('Finished');
  expect(verdict(alone(0, 2000), alone(200, 2100))?.title).toBe('Not better than before');
});

const story = (run: ShownRun) =>
  storyOf(run)
    .map(({ lead, text }) => `${lead}: ${text}`)
    .join('\n');

test('the story grows with the run, and says why the student improved', () => {
  const first = evaluationRecord(0, { studentPerplexity: 2040, teacherPerplexity: 50 });
  const last = evaluationRecord(200, { studentPerplexity: 96.4, agreement: 0.38 });
  const { config } = PRESETS[0];
  expect(story(runWith([], config))).toBe(
    'At first: the student is 2 layers of its teacher, which never worked without the others.\n' +
      'In each step: it reads 512 tokens of Jane Austen’s six novels, guesses what follows each, ' +
      'and its weights are moved a little towards the teacher’s guesses (90%) and the text (10%).',
  );
  const whole = story(runWith([first, last], config));
  expect(whole).toContain(
    'as if it had to choose among 2,000 equally likely ones; its teacher, among 50.',
  );
  expect(whole).toContain('Why it learns so much from so little');
  expect(whole).toContain(
    'After 200 steps: it is as unsure as if it had to choose among 96, on text that it never ' +
      'trained on.',
  );
  expect(whole).toContain('the teacher’s in 38% of all places');
});

test('the story of a run does not promise what the run does not do', () => {
  const [first, last] = [student(0, 2000), student(200, 100)];
  const alone = story(runWith([first, last], { loss: 'ce' }));
  expect(alone).toContain('No teacher is asked.');
  expect(alone).toContain('Why it needs many steps');
  expect(story(runWith([first, last], { alpha: 0 }))).toContain('No teacher is asked.');
  expect(story(runWith([first, last], { alpha: 1 }))).toMatch(/the teacher’s guesses\.\n/);
  const changed = { ...runWith([first, last]), marks: [{ step: 9, text: 'α 0.7 → 0.2' }] };
  expect(story(changed)).toContain('the teacher’s guesses and the text.');
  const worse = story(runWith([last, { ...first, step: 300 }]));
  expect(worse).toContain('no better than before');
  expect(worse).not.toContain('Why');
});

test('what to try next is never the run itself, and opens as a link', () => {
  for (const preset of PRESETS) {
    const next = nextOf(preset.config);
    expect(next.length).toBeGreaterThanOrEqual(2);
    expect(next.map(({ hash }) => hash)).not.toContain(`#${formatLink(preset.config)}`);
  }
  const [twin, longer] = nextOf(PRESETS[0].config);
  expect(parseLink(twin.hash)).toEqual({ config: { ...PRESETS[0].config, twin: 'loss=ce' } });
  expect(parseLink(longer.hash)).toEqual({ config: PRESETS[1].config });
  for (const settings of [{ loss: 'ce' }, { twin: 'student_lr=0.002' }] as const)
    expect(nextOf({ ...PRESETS[0].config, ...settings })).not.toContainEqual(
      expect.objectContaining({ label: twin.label }),
    );
});

const facts = (values: Partial<BrowserFacts>) =>
  gpuHelp({ engine: 'chromium', system: 'Windows', secure: true, hasWebGpu: false, ...values })
    .map(({ text, address = '' }) => `${text} ${address}`)
    .join('\n');

test('each browser is told what to switch on in it', () => {
  expect(facts({})).toContain('version 113');
  expect(facts({})).not.toContain('Linux');
  expect(facts({ system: 'Linux x86_64' })).toContain('chrome://flags/#enable-unsafe-webgpu');
  expect(facts({ hasWebGpu: true })).toContain('chrome://settings/system');
  expect(facts({ engine: 'firefox' })).toContain('about:config');
  expect(facts({ engine: 'safari' })).toContain('Safari 26');
  expect(facts({ engine: 'other' })).toContain('Chrome, Edge, Firefox and Safari');
});

test('a page over plain http is told that first, and nothing else', () => {
  expect(facts({ secure: false, engine: 'firefox' })).toMatch(
    /^This page came over plain http[^\n]+$/,
  );
});

test('the tour has at most five steps', () => {
  expect(TOUR.length).toBeLessThanOrEqual(5);
});
