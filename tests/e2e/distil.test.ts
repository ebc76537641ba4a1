// The purpose of the whole: a button is pressed, a teacher teaches a student that our kernels
// train, from the book, and the curves move. One run a browser, steered by hand in its first steps,
// watched to its end. The teacher runs in onnxruntime in one browser, in our engine in the other.

import { stat } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { formatLink } from '../../src/link';
import { PRESETS } from '../../src/presets';
import { dropRuns, monkey, tinyLink, trainOnPage } from '../endure/page';
import {
  button,
  csvOf,
  eventually,
  FINISHED,
  follow,
  imageOf,
  link,
  logLines,
  offered,
  PATIENCE_WITH_A_RUN,
  pauseAfter,
  primary,
  reached,
  run,
  set,
  statusOf,
  stepOf,
  tableOf,
  watch,
} from './drive';
import { openSite, sharedVisit, visit } from './harness';

const SETTINGS = {
  batch_size: 2,
  max_length: 16,
  student_layers: 1,
  student_lr: 0.01,
  warmup_steps: 10,
};
const TEACHER = 'models/moby-teacher/model.safetensors';
/** Live settings at the start, and what they are changed to while the run goes on. */
const START = { alpha: 1, temperature: 1, student_lr: SETTINGS.student_lr };
const CHANGED = { alpha: 0.95, temperature: 1.1, student_lr: 0.009 };

/** As few as the claims need. */
const [STEPS, EVERY, BATCHES] = [120, 60, 2];
const EVALUATED = Array.from({ length: STEPS / EVERY + 1 }, (_, i) => i * EVERY);

describe.each([
  { offer: 'f16', teacher_engine: 'onnxruntime', batch_size: 2 },
  // SwiftShader is slower by far.
  { offer: 'f32', teacher_engine: 'stillhouse', batch_size: 1 },
] as const)('$offer', ({ offer, teacher_engine, batch_size }) => {
  const settings = {
    ...SETTINGS,
    ...START,
    teacher_engine,
    batch_size,
    train_steps: STEPS,
    eval_steps: EVERY,
    eval_batches: BATCHES,
    sample_tokens: 8,
  };
  const visited = sharedVisit({ offer, path: link(settings) }, { wholeBook: true });

  /** The curve that a chart draws, as SVG path data. */
  const curve = (title: string) =>
    visited.page
      .getByRole('figure', { name: title })
      .locator('.recharts-line-curve')
      .last()
      .evaluate((path) => path.getAttribute('d') ?? '');

  /** The teacher loads with a bar that counts its bytes. */
  const teacherLoads = async () => {
    const { page, site } = visited;
    let goOn = () => {};
    const until = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    site.faults.set(TEACHER, { kind: 'halting', until });
    await offered(page, 'Distil');
    await primary(page).click();
    const bar = page.getByRole('progressbar', { name: 'Loading the teacher' });
    await eventually(() => bar.getAttribute('aria-valuenow')).toBe('50');
    const { size } = await stat(`dist/${TEACHER}`);
    const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
    const half = size / 2 < 1e6 ? `${Math.round(size / 2000)} kB` : megabytes(size / 2);
    expect(await bar.getAttribute('aria-valuetext')).toBe(
      `Loading the teacher ${half} of ${megabytes(size)}`,
    );
    await pauseAfter(page, 3);
    goOn();
    await offered(page, 'Continue');
    site.faults.clear();
  };

  /** It pauses, and goes one step. */
  const pausesAndSteps = async () => {
    const { page } = visited;
    const paused = await stepOf(page);
    expect(paused).toBeLessThan(STEPS - 4);

    // Had it gone on, these would not be the next two steps.
    for (const next of [paused + 1, paused + 2]) {
      await button(page, 'Step').click();
      await eventually(() => stepOf(page)).toBe(next);
      await eventually(() => tableOf(page, 'Loss')).toHaveLength(next);
    }
    expect(await stepOf(page)).toBe(paused + 2);
  };

  /**
   * Alpha, temperature and learning rate change in a run; charts and log show it. It waits
   * meanwhile: on a busy machine it would end before all three are typed.
   */
  const changesInTheRun = async () => {
    const { page } = visited;
    for (const [field, value] of Object.entries(CHANGED)) await set(page, field, String(value));
    const changes = async () =>
      (await logLines(page)).filter((line) => line.includes('→')).join('\n');
    await eventually(changes).toMatch(/^Step \d+: .*lr 0.01 → 0.009/m);
    expect(await changes()).toMatch(/^Step \d+: .*α 1 → 0.95/m);
    expect(await changes()).toMatch(/^Step \d+: .*T 1 → 1.1/m);
    const marks = page.getByRole('figure', { name: 'Loss' }).locator('.mark-label');
    await eventually(async () => (await marks.allTextContents()).join(', ')).toContain(
      'lr 0.01 → 0.009',
    );
  };

  /** It goes on, and the curve with it. */
  const goesOn = async () => {
    const { page } = visited;
    const [paused, early] = [await stepOf(page), await curve('Loss')];
    await primary(page).click();
    await reached(page, paused + 2);
    await eventually(() => curve('Loss')).not.toBe(early);
  };

  /** The steps halve perplexity, and take a third off KL. */
  const learns = async () => {
    const { page } = visited;
    await page.getByTestId('result').waitFor({ timeout: PATIENCE_WITH_A_RUN });
    // Its settings changed on the way, so the same settings would not repeat it.
    await offered(page, 'Distil');
    const evaluations = await csvOf(page, 'perplexity');
    expect(evaluations.map(({ step }) => Number(step))).toEqual(EVALUATED);
    const [first, last] = [evaluations[0], evaluations[evaluations.length - 1]];
    expect(Number(last.studentPerplexity)).toBeLessThan(Number(first.studentPerplexity) / 2);
    expect(Number(last.kl)).toBeLessThan((Number(first.kl) * 2) / 3);
    expect(Number(last.teacherPerplexity)).toBe(Number(first.teacherPerplexity));
    for (const { tried, succeeded } of evaluations)
      expect([tried, succeeded]).toEqual([`${BATCHES}`, `${BATCHES}`]);
  };

  /** Each step is recorded, and its loss is the sum of its terms at that moment. */
  const isRecorded = async () => {
    const { page } = visited;
    const steps = await csvOf(page, 'loss');
    expect(steps.map(({ step }) => Number(step))).toEqual(
      Array.from({ length: STEPS }, (_, i) => i + 1),
    );
    const mixed = ({ kd, ce }: Record<string, string>, alpha: number, temperature: number) =>
      alpha * temperature ** 2 * Number(kd) + (1 - alpha) * Number(ce);
    const last = steps[STEPS - 1];
    expect(Number(steps[0].loss)).toBeCloseTo(mixed(steps[0], START.alpha, START.temperature), 9);
    expect(Number(last.loss)).toBeCloseTo(mixed(last, CHANGED.alpha, CHANGED.temperature), 9);
    expect(Number(steps[0].lossScale)).toBe(offer === 'f16' ? 65536 : 1);
    expect(await tableOf(page, 'Loss')).toHaveLength(STEPS);
    expect(await tableOf(page, 'Perplexity')).toHaveLength(EVALUATED.length);
  };

  /** The page says what was achieved, where it ran, and what both models write. */
  const saysWhatWasAchieved = async () => {
    const { page } = visited;
    const lines = await logLines(page);
    const succeeded = `Success=1\\.000 \\(${BATCHES} of ${BATCHES}\\)`;
    const evaluation = new RegExp(
      `^Step \\d+: Loss=(n/a|\\d+\\.\\d{4}), PPL=[\\d.,]+, ${succeeded}$`,
    );
    const evaluated = lines.filter((line) => evaluation.test(line));
    expect(evaluated).toHaveLength(EVALUATED.length);
    expect(evaluated.at(-1)).toContain(`Step ${STEPS}:`);

    const status = await statusOf(page);
    expect(status.GPU).toContain('software');
    expect(status.precision).toBe(offer);
    expect(status['teacher in']).toBe(teacher_engine);
    expect(status.speed).toMatch(/^[\d.]+k? tok\/s$/);
    expect(status['GPU memory']).toMatch(/^[\d.]+ MB.*teacher/);
    // In f16 the loss scale may have to find its level first.
    const [, applied, skipped] = /^(\d+) applied, (\d+) skipped$/.exec(status.steps) ?? [];
    expect(Number(applied) + Number(skipped)).toBe(STEPS);
    expect(Number(skipped)).toBeLessThan(5);
    expect(status['evaluation batches']).toBe(`${BATCHES * EVALUATED.length} tried, 0 failed`);

    const last = (await tableOf(page, 'Perplexity')).at(-1);
    const result = await page.getByTestId('result').innerText();
    expect(result).toContain('The student’s perplexity went from');
    expect(result).toContain(last?.[1]);
    for (const who of ['Teacher', 'Student, now', 'Student, before']) {
      const quote = page.locator('figure.quote', { hasText: who }).locator('blockquote');
      expect((await quote.innerText()).length, who).toBeGreaterThan('The whale'.length + 5);
    }

    const scrubber = page.getByRole('slider', { name: 'What the student said after step' });
    expect(await scrubber.getAttribute('aria-valuetext')).toMatch(`step ${STEPS}: The whale`);
    for (const step of [0, 1, 3, 10]) {
      await scrubber.press(step === 0 ? 'Home' : 'ArrowRight');
      expect(await scrubber.getAttribute('aria-valuetext')).toMatch(`step ${step}: The whale`);
    }
    await scrubber.press('End');
  };

  // One run, one test: its second try begins with the run's first step.
  test('a run is steered by hand, watched to its end, and says what it achieved', async () => {
    await teacherLoads();
    await pausesAndSteps();
    await changesInTheRun();
    await goesOn();
    await learns();
    await isRecorded();
    await saysWhatWasAchieved();
    expect(visited.problems).toEqual([]);
    expect(visited.foreign).toEqual([]);
  });
});

describe('short runs in one page', () => {
  const shared = sharedVisit({ offer: 'f16' });
  const SHORT = { ...SETTINGS, train_steps: 4, sample_tokens: 0, eval_batches: 1 };

  // On both adapters in tests/gpu/program; here it is the page's way to it.
  test('the same seed gives the same losses, bit for bit; another seed does not', async () => {
    const { page, problems } = shared;
    const measure = async (label?: string) => {
      await run(page, label);
      const [losses, evaluations] = [await csvOf(page, 'loss'), await csvOf(page, 'perplexity')];
      return { losses, evaluations: evaluations.map(({ milliseconds: _, ...figures }) => figures) };
    };
    await follow(page, link(SHORT));
    const first = await measure();
    expect(first.losses).toHaveLength(4);
    expect(first.evaluations).toHaveLength(2);
    expect(await measure(FINISHED)).toEqual(first);
    // The run before is drawn behind this one, in both charts, and goes into their files.
    await eventually(() => page.locator('.behind-line:not(.raw)').count()).toBe(2);
    expect(await imageOf(page, 'loss', 'SVG')).toMatch(/^<svg .*>[a-z]+ [a-z]+ [\d.]+</s);
    expect((await imageOf(page, 'loss', 'PNG')).slice(1, 4)).toBe('PNG');
    await set(page, 'seed', '2');
    expect((await measure()).losses[0].loss).not.toBe(first.losses[0].loss);
    expect(problems).toEqual([]);
  });

  test('a run on the data alone minimises CE, and is still compared with the teacher', async () => {
    const { page, problems } = shared;
    await follow(page, link({ ...SHORT, loss: 'ce' }));
    await run(page);
    const steps = await csvOf(page, 'loss');
    expect(steps).toHaveLength(4);
    for (const { loss, ce, kd } of steps) expect([loss, kd]).toEqual([ce, 'NaN']);
    const last = (await csvOf(page, 'perplexity')).at(-1);
    expect(Number(last?.kl)).toBeGreaterThan(0);
    expect(Number(last?.teacherPerplexity)).toBeLessThan(Number(last?.studentPerplexity));

    // As a twin, that student learns beside one that has the teacher, with the same bits.
    await follow(page, link({ ...SHORT, twin: 'loss=ce' }));
    await run(page);
    const twin = await csvOf(page, 'loss', 'twin');
    expect(twin.map(({ loss }) => loss)).toEqual(steps.map(({ loss }) => loss));
    expect((await csvOf(page, 'loss'))[3].kd).not.toBe('NaN');
    await eventually(() => page.getByTestId('twin-verdict').innerText()).toMatch(
      /^After step 4, the teacher (lowered|raised|made no).*with the teacher, .* without/,
    );
    expect(problems).toEqual([]);
  });

  // The short forms of `npm run endure`. They leave the page anywhere, so they come last.
  test('runs that are dropped, and a longer one, leave no GPU memory behind', async () => {
    const { page, problems } = shared;
    await follow(page, tinyLink('train_steps=5000&eval_steps=100'));
    const dropped = await dropRuns(page, { runs: 4, seed: 1, every: 2 });
    await follow(page, tinyLink('train_steps=60&eval_steps=20'));
    const trained = await trainOnPage(page, { steps: 60, every: 20 });
    const held = (samples: typeof trained) => samples.map((sample) => sample['GPU buffers']);
    expect(new Set(held(dropped)).size, `${held(dropped)}`).toBe(1);
    expect(new Set(held(trained)).size, `${held(trained)}`).toBe(1);
    expect(problems).toEqual([]);
  });

  test('a monkey clicks, types and follows links without an error', async () => {
    const { page, problems, foreign } = shared;
    const done = await monkey(page, { seed: 1, until: (actions) => actions >= 40 });
    expect(Object.values(done).reduce((sum, count) => sum + count)).toBe(40);
    // It may have chosen a model of the hub, which nobody serves here.
    expect(foreign.splice(0).filter((url) => !url.startsWith('https://huggingface.co/'))).toEqual(
      [],
    );
    expect(problems.filter((what) => !/huggingface\.co|net::ERR_/.test(what))).toEqual([]);
  });
});

test('a preset is built while somebody reads: Distil trains, and loads nothing again', async () => {
  const site = await openSite();
  // The one with the smallest models.
  const [path] = PRESETS.flatMap(({ teacher, config }) =>
    teacher === 'sorting-teacher' ? [`#${formatLink(config)}`] : [],
  );
  const { page, problems, close } = await visit(site, { offer: 'f16', path, prepares: true });
  await offered(page, 'Distil');
  await eventually(() => page.workers().length).toBe(1);
  const built = () =>
    page.workers()[0].evaluate(() => performance.getEntriesByName('prepare a run').length);
  await eventually(built, 'it is built', PATIENCE_WITH_A_RUN).toBe(1);

  const stages = await watch(page, '.progress-text');
  const before = site.requests.length;
  await pauseAfter(page, 2);
  await primary(page).click();
  await offered(page, 'Continue');
  const models = site.requests.slice(before).filter((path) => /^(models|corpus)\//.test(path));
  expect(models).toEqual([]);
  expect((await stages()).join('\n')).not.toMatch(/Loading|Compiling|Evaluating/);
  // The evaluation before the first step was made in that time, too.
  expect((await tableOf(page, 'Perplexity'))[0][0]).toBe('0');
  expect(problems).toEqual([]);
  await close();
});
