// What goes wrong gets a message and costs nothing: it says what happened, with the values, and the
// page goes on.

import { beforeAll, describe, expect, test } from 'vitest';
import {
  button,
  csvOf,
  eventually,
  FINISHED,
  follow,
  link,
  logLines,
  notices,
  offered,
  pauseAfter,
  primary,
  run,
  set,
} from './drive';
import { BOOK, openSite, type Site, sharedVisit, visit } from './harness';

const SMALL = {
  batch_size: 2,
  max_length: 16,
  train_steps: 2,
  eval_batches: 1,
  sample_tokens: 2,
  student_layers: 1,
};
const TEACHER = 'models/moby-teacher';

let site: Site;
beforeAll(async () => {
  site = await openSite();
});

describe('a machine that cannot', () => {
  test.each([
    { offer: 'no-webgpu', said: 'This browser has no WebGPU.', works: 'Update the browser' },
    {
      offer: 'no-adapter',
      said: 'found no usable GPU',
      works: 'chrome://flags/#enable-unsafe-webgpu',
    },
  ] as const)(
    '$offer: says what is missing and what would work, and shows the recorded run',
    async ({ offer, said, works }) => {
      const { page, close } = await visit(site, { offer });
      await eventually(() => notices(page)).toContain(said);
      expect(await notices(page)).toContain(works);
      expect(await notices(page)).toContain('the Stride Lab work in full');
      await offered(page, 'Distil, disabled');
      await page.getByText('No run can start on this machine.').first().waitFor();
      const curve = page
        .getByRole('figure', { name: 'Loss' })
        .locator('.recharts-line-curve')
        .last();
      await eventually(async () => (await curve.getAttribute('d'))?.length ?? 0).toBeGreaterThan(
        500,
      );
      await button(page, 'Perplexity as a table').click();
      const rows = page.getByRole('region', { name: 'Perplexity, table' }).locator('tbody tr');
      await eventually(() => rows.count()).toBeGreaterThan(2);
      await close();
    },
  );

  test('an adapter whose shaders see too few buffers is refused by number', async () => {
    const before = limit('maxStorageBuffersPerShaderStage', 4);
    const { page, close } = await visit(site, { offer: 'f16', before });
    await eventually(() => notices(page)).toContain(
      'lets a shader bind 4 storage buffers; 8 are needed',
    );
    await offered(page, 'Distil, disabled');
    await close();
  });
});

/** A script after which every adapter and device has this limit. */
function limit(name: string, value: number): string {
  return `if (globalThis.GPUSupportedLimits)
    Object.defineProperty(GPUSupportedLimits.prototype, '${name}', { get: () => ${value} });`;
}

/**
 * Lets a test reach the device that the page works with, to lose it, or have the worker lose it
 * itself after step `loseAfter`: no run is faster.
 */
const REMEMBER_DEVICE = `if (globalThis.GPUDevice) {
  const make = GPUDevice.prototype.createCommandEncoder;
  GPUDevice.prototype.createCommandEncoder = function (...args) {
    globalThis.usedDevice = this;
    return make.apply(this, args);
  };
  const post = globalThis.postMessage;
  if (!globalThis.document) globalThis.postMessage = (...message) => {
    post(...message);
    if (message[0].records?.at(-1)?.step > globalThis.loseAfter) usedDevice.destroy();
  };
}`;

describe('a run that fails', () => {
  const before = limit('maxStorageBufferBindingSize', 2 ** 20) + REMEMBER_DEVICE;
  // What the browser itself says of the files that a test breaks.
  const expected = /(404|net::ERR_).*(models|corpus)\/|(models|corpus)\/.*(404|net::ERR_)/;
  const shared = sharedVisit({ offer: 'f16', before, expected });

  test('a model too large for the adapter is refused with sizes; a smaller one runs', async () => {
    const { page, problems } = shared;
    await follow(page, link({ ...SMALL, student_width: 512 }));
    await primary(page).click();
    await offered(page, 'Try again');
    expect(await notices(page)).toMatch(
      /needs one (buffer|binding) of [\d.]+ MiB; this adapter allows 1\.0 MiB\. Choose a smaller/,
    );
    await set(page, 'student_width', '64');
    await run(page, 'Try again');
    expect(problems).toEqual([]);
  });

  test('errors name an incomplete, missing or wrong file; the next try succeeds', async () => {
    const { page, problems, site } = shared;
    const beginning = site.files.get(BOOK) as Buffer;
    await follow(page, link(SMALL));
    const weights = `${TEACHER}/model.safetensors`;
    const faults = [
      [
        weights,
        { kind: 'cut', bytes: 1_000_000 },
        /model\.safetensors of moby-teacher is incomplete \(\d\.\d of [\d.]+ MB\).* Try again\./,
      ],
      [weights, { kind: 'short', bytes: 1_000_000 }, /is 1,000,000 of [\d,]+ bytes long/],
      [
        `${TEACHER}/config.json`,
        { kind: 'html' },
        /config\.json of moby-teacher is a web page: the server has no such file/,
      ],
      [
        `${TEACHER}/config.json`,
        { kind: 'missing' },
        /config\.json of moby-teacher does not exist on the server \(HTTP 404\)/,
      ],
      [
        `${TEACHER}/config.json`,
        { kind: 'short', bytes: 100 },
        /config\.json of moby-teacher is not JSON/,
      ],
      [`${TEACHER}/tokenizer.json`, { kind: 'html' }, /tokenizer\.json/],
      [`${TEACHER}/tokenizer.json`, { kind: 'short', bytes: 5000 }, /tokenizer\.json/],
      [
        BOOK,
        { kind: 'cut', bytes: 500_000 },
        /moby-dick\.txt is incomplete \(\d\.\d of 1\.\d MB\)/,
      ],
    ] as const;
    let label = 'Distil';
    for (const [path, fault, said] of faults) {
      if (path === BOOK) site.files.delete(BOOK); // The whole book is cut.
      site.faults.set(path, fault);
      await offered(page, label);
      await primary(page).click();
      await eventually(() => notices(page), `${fault.kind} ${path}`).toMatch(said);
      label = 'Try again';
      await offered(page, label);
      expect((await logLines(page)).at(-1)).toContain('Stopped: ');
      site.faults.clear();
    }
    site.files.set(BOOK, beginning);
    await run(page, label);
    expect(await notices(page)).not.toContain('Could not');
    expect(problems).toEqual([]);
  });

  test('a lost device offers to go on from the last evaluation, and does', async () => {
    const { page, problems } = shared;
    const [STEPS, EVERY] = [144, 12];
    await follow(page, link({ ...SMALL, train_steps: STEPS, eval_steps: EVERY }));
    const evaluated = async () =>
      (await logLines(page))
        .filter((line) => /^Step \d+: Loss=/.test(line))
        .map((line) => Number.parseInt(line.slice(5), 10));
    const inWorker = (script: string) => page.workers()[0].evaluate(script);
    const lostDevice = async () => {
      await eventually(() => primary(page).innerText()).toContain('Continue from step');
      const label = await primary(page).innerText();
      const kept = Number(/^Continue from step (\d+)$/.exec(label.trim())?.[1]);
      // The weights of the very last evaluation may have been on their way.
      expect((await evaluated()).slice(-2)).toContain(kept);
      expect(await notices(page)).toContain('The GPU device was lost.');
      expect(await notices(page)).toContain(
        `The weights of the evaluation at step ${kept} are saved.`,
      );
      return kept;
    };
    // While it computes: what an evaluation leaves is kept before the next but one.
    await inWorker(`loseAfter = ${2 * EVERY}`);
    await primary(page).click();
    const first = await lostDevice();
    expect(first).toBeGreaterThanOrEqual(EVERY);
    await inWorker('loseAfter = Infinity');
    await pauseAfter(page, first + 2 * EVERY + 1);
    await primary(page).click();

    // and while it rests.
    await offered(page, 'Continue');
    await inWorker('usedDevice.destroy()');
    expect(await lostDevice()).toBeGreaterThan(first);
    await primary(page).click();
    await offered(page, FINISHED);
    expect(await evaluated()).toEqual(
      Array.from({ length: STEPS / EVERY + 1 }, (_, i) => i * EVERY),
    );
    expect((await csvOf(page, 'loss')).map(({ step }) => Number(step))).toEqual(
      Array.from({ length: STEPS }, (_, i) => i + 1),
    );
    expect(await notices(page)).not.toContain('lost');
    expect(problems).toEqual([]);
  });

  test('a worker that the browser ends is told of; its run goes on from what is kept', async () => {
    const { page, problems } = shared;
    const [STEPS, EVERY] = [72, 24];
    await follow(page, link({ ...SMALL, train_steps: STEPS, eval_steps: EVERY }));
    await pauseAfter(page, EVERY + 1);
    await primary(page).click();
    await offered(page, 'Continue');
    await page.workers()[0].evaluate('self.close()');
    await eventually(() => notices(page)).toContain('Could not run the worker.');
    expect(await notices(page)).toContain('The browser has ended it');
    await page.getByRole('button', { name: /^Continue from step \d+$/ }).click();
    await offered(page, FINISHED);
    expect((await csvOf(page, 'loss')).map(({ step }) => Number(step))).toEqual(
      Array.from({ length: STEPS }, (_, i) => i + 1),
    );

    // It was timed: the plan of another run of that size says how long it will train.
    await set(page, 'train_steps', '1000');
    const plan = button(page, 'Estimate memory and time');
    if (!(await plan.isVisible()))
      await page.getByText('Teacher and student', { exact: true }).click();
    await plan.click();
    const planned = page.locator('.plan').getByRole('status');
    await eventually(() => planned.innerText()).toMatch(
      /needs [\d.]+ MB of GPU memory.*trains for about [\d:]+, if it computes as fast as “[a-z]+ /s,
    );
    expect(problems).toEqual([]);
  });

  describe('evaluation through view', () => {
    const VIEW = {
      ...SMALL,
      eval_loss_path: 'view',
      train_steps: 4,
      eval_steps: 2,
      eval_batches: 3,
    };

    test('each batch fails as in PyTorch, is counted and explained; training goes on', async () => {
      const { page, problems } = shared;
      await follow(page, link(VIEW));
      await run(page);
      const said = await notices(page);
      expect(said).toContain('3 of 3 evaluation batches failed at step 4.');
      expect(said).toContain('First error:');
      expect(said).toContain('view size is not compatible with input tensor');
      expect(said).toMatch(/size.*\[2, 15, 1024\]/s);
      expect(said).toMatch(/stride.*\[16384, 1024, 1\]/s);
      const lines = await logLines(page);
      expect(lines[0]).toBe('Step 0: Loss=n/a, PPL=n/a (0 valid tokens), Success=0.000 (0 of 3)');
      expect(lines.at(-1)).toMatch(
        /^Step 4: Loss=\d+\.\d{4}, PPL=n\/a \(0 valid tokens\), Success=0\.000 \(0 of 3\)$/,
      );
      expect(await page.getByLabel('Status', { exact: true }).innerText()).toMatch(
        /9 tried, 9 failed/,
      );

      // The Doctor's cure starts beside it, with the difference named, and is judged.
      const doctor = page.getByRole('region', { name: 'Doctor' });
      expect(await doctor.innerText()).toMatch(/Problem Evaluation batches fail\./);
      await doctor.getByRole('button', { name: /^Try it: .* view → strided$/ }).click();
      await offered(page, FINISHED);
      const outcome = doctor.locator('.doctor-outcome.cured');
      expect(await outcome.innerText()).toMatch(
        /view → strided cured it: “Evaluation batches fail” is gone at step 4\./,
      );
      const figures = /Perplexity is [\d,]+ at step 4; before, it was n\/a at step 4\./;
      expect(await outcome.innerText()).toMatch(figures);
      expect(await page.locator('.behind-line:not(.raw)').count()).toBeGreaterThan(0);
      expect(await csvOf(page, 'loss')).toHaveLength(4);
      expect(problems).toEqual([]);
    });

    test('at batch size 1 the same view works: the bug hides', async () => {
      const { page, problems } = shared;
      await follow(page, link({ ...VIEW, batch_size: 1 }));
      await run(page);
      expect((await logLines(page)).at(-1)).toMatch(
        /^Step 4: Loss=\d+\.\d{4}, PPL=[\d.,]+, Success=1\.000 \(3 of 3\)$/,
      );
      expect(await notices(page)).not.toContain('failed');
      expect(problems).toEqual([]);
    });
  });
});
