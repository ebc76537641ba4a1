// W4: cross-entropy and distillation with their gradients on the logits of a real vocabulary,
// contiguous and as the slice [:, :-1], which is read in place or copied first, as others must.
// Also head and loss in chunks, against all logits at once.

import { numbers } from './formula';
import { type Contestant, interleaved, type Timing } from './interleave';
import { ourCopy, ourInputs, ourLoss } from './ours-loss';
import type { LossRun, LossTask } from './peer';
import {
  type Bench,
  distance,
  type Figure,
  furthest,
  type Result,
  requireAgreement,
} from './result';
import { benchChunks } from './w4-chunks';

/** GPT-2's vocabulary. */
const V = 50257;
const TURNS = 5;
/**
 * Summed one after the other in f32, 50,257 terms are off by up to 2e-5 (jax-js). A forgotten
 * factor would be a thousand times that.
 */
const LIMIT = 1e-4;
const REASON = `f32 sums over ${V} tokens, in different orders`;
/** Logits are from −4 to 4. */
const SCALE = 4;

type Loss = LossTask['loss'];

/** (B, T, V) of the logits. Each fits into lavapipe's largest binding, 128 MiB. */
const SHAPES = {
  // The loss reads 512 rows in both.
  ce: { contiguous: [4, 128, V], sliced: [4, 129, V] },
  // 508 rows: (4, 128, 50257) without its last position.
  kd: { contiguous: [4, 127, V], sliced: [4, 128, V] },
} as const;

export async function benchLosses(bench: Bench): Promise<Result> {
  const [ce, kd] = [await benchLoss(bench, 'ce'), await benchLoss(bench, 'kd')];
  const chunks = await benchChunks(bench);
  const results = [ce, kd, chunks];
  return {
    workload: 'W4',
    title: `losses with their gradients over a vocabulary of ${V}, f32`,
    agreement: results.flatMap(({ agreement }) => agreement),
    tables: results.flatMap(({ tables }) => tables),
    figures: results.flatMap(({ figures }) => figures),
    notes: results.flatMap(({ notes }) => notes),
  };
}

interface Entry {
  run: LossRun;
  sliced: boolean;
  /** What is compared. Without the copy back, the gradient is not where the logits were. */
  compared: 'gradient' | 'loss';
}

async function benchLoss(bench: Bench, loss: Loss): Promise<Omit<Result, 'workload' | 'title'>> {
  const entries: Entry[] = [];
  const notes: string[] = [];
  const ends: (() => void)[] = [];
  let extraBytes = 0;
  let copy: Contestant | undefined;
  for (const sliced of [false, true]) {
    const task = taskOf(loss, sliced);
    bench.log(`${title(loss)}, ${sliced ? 'sliced' : 'contiguous'}`);
    const inputs = ourInputs(bench.gpu, task);
    ends.push(inputs.end);
    copy ??= ourCopy(bench.gpu, inputs);
    const strided = await ourLoss(bench.gpu, inputs, task, 'strided');
    entries.push({ run: strided.run, sliced, compared: 'gradient' });
    extraBytes = Math.max(extraBytes, strided.extraBytes);
    if (sliced) {
      entries.push({
        run: (await ourLoss(bench.gpu, inputs, task, 'copy')).run,
        sliced,
        compared: 'loss',
      });
      entries.push({
        run: (await ourLoss(bench.gpu, inputs, task, 'copy and back')).run,
        sliced,
        compared: 'gradient',
      });
    }
    for (const { name, loss: start } of bench.peers) {
      if (!start) continue;
      try {
        const run = await start(task);
        const named = { ...run, name: `${run.name}, ${sliced ? 'sliced' : 'contiguous'}` };
        entries.push({ run: named, sliced, compared: 'gradient' });
      } catch (error) {
        notes.push(`${name} cannot take part: ${(error as Error).message}`);
      }
    }
  }
  const agreement = [];
  for (const sliced of [false, true]) {
    agreement.push(
      await agree(
        bench,
        `${title(loss)}, ${sliced ? 'sliced' : 'contiguous'}`,
        entries.filter((entry) => entry.sliced === sliced),
      ),
    );
  }
  bench.log('timing');
  const contestants = [...entries.map(({ run }) => run), ...(copy ? [copy] : [])];
  const timings = await interleaved(contestants, bench.turns ?? TURNS, 1);
  for (const { run } of entries) await run.end();
  for (const end of ends) end();
  const tensors = loss === 'ce' ? 2 : 3; // logits read, the teacher's too, and the gradient written
  const rows = timings.map((timing, i) => {
    const bytes = entries[i] ? tensors * rowsOf(loss) * V * 4 : 2 * numel(loss, false) * 4;
    return { ...timing, figures: { 'GB/s': bytes / timing.median / 1e6 } };
  });
  return {
    agreement,
    tables: [{ title: `${title(loss)}; GB/s counts each of ${tensors} tensors once`, rows }],
    figures: figuresOf(loss, timings, extraBytes),
    notes,
  };
}

const title = (loss: Loss) =>
  loss === 'ce'
    ? 'Cross-entropy with its gradient'
    : 'Distillation (forward KL at temperature 2) with its gradient';
const numel = (loss: Loss, sliced: boolean) =>
  SHAPES[loss][sliced ? 'sliced' : 'contiguous'].reduce((a, b) => a * b, 1);
const rowsOf = (loss: Loss) => SHAPES[loss].contiguous[0] * SHAPES[loss].contiguous[1];

function taskOf(loss: Loss, sliced: boolean): LossTask {
  const count = numel(loss, sliced);
  return {
    loss,
    sliced,
    shape: SHAPES[loss][sliced ? 'sliced' : 'contiguous'],
    temperature: 2,
    student: numbers('student', count, SCALE),
    teacher: loss === 'kd' ? numbers('teacher', count, SCALE) : new Float32Array(),
    targets: Int32Array.from({ length: rowsOf(loss) }, (_, row) => (row * 7919) % V),
  };
}

async function agree(bench: Bench, what: string, entries: readonly Entry[]) {
  const results: { loss: number; gradient: Float32Array | undefined }[] = [];
  for (const { run, compared } of entries) {
    bench.log(`first run: ${run.name}`);
    await run.prepare?.();
    await run.run();
    results.push({
      loss: await run.loss(),
      gradient: compared === 'gradient' ? await run.gradient() : undefined,
    });
  }
  const [first, ...others] = results;
  return requireAgreement({
    what: `${what}: loss (${first.loss.toFixed(5)}) and gradient`,
    reason: REASON,
    rows: others.map(({ loss, gradient }, i) => {
      const difference = furthest([loss], [first.loss]);
      const gradientDifference = gradient ? distance(gradient, first.gradient as Float32Array) : 0;
      return {
        name: entries[i + 1].run.name,
        difference: Math.max(difference, gradientDifference),
        limit: LIMIT,
      };
    }),
  });
}

function figuresOf(loss: Loss, timings: readonly Timing[], extraBytes: number): Figure[] {
  const time = (name: string) =>
    timings.find((timing) => timing.name === `stillhouse, ${name}`)?.median ?? Number.NaN;
  const what = loss === 'ce' ? 'CE' : 'KD';
  const rivals = timings.filter(({ name }) => /sliced$/.test(name) && !/^stillhouse/.test(name));
  return [
    {
      what: `${what}: sliced over contiguous`,
      value: time('sliced') / time('contiguous'),
      atMost: 1.1,
    },
    {
      what: `${what}: copy and loss over sliced`,
      value: time('copied first') / time('sliced'),
      atLeast: 1.5,
    },
    ...(rivals.length > 0
      ? [
          {
            what: `${what}: the fastest rival over stillhouse, sliced`,
            value: Math.min(...rivals.map(({ median }) => median)) / time('sliced'),
          },
        ]
      : []),
    {
      what: `${what}: MB besides the inputs (the gradient overwrites the student’s logits)`,
      value: extraBytes / 1e6,
      atMost: 1,
    },
  ];
}
