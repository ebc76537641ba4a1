// One kernel against the reference on the adapter that Node finds: for whoever works on it.
//
//   npm run kernel -- NAME [--T 512] [--time] [--print] [--watch]
//
// NAME is a file of src/kernels without its folder and ending. Exits 1 if a row fails. Which driver
// runs is the system's choice; on Linux the environment variable VK_ICD_FILENAMES names another.

import { spawn } from 'node:child_process';
import { watch } from 'node:fs';
import { parseArgs } from 'node:util';
import { checksOf, KERNEL_NAMES } from '../check/registry';
import { reportText, runChecks } from '../check/run';
import { upload } from '../check/tensors';
import { type Gpu, openGpu } from '../gpu/device';
import type { Kernel } from '../gpu/kernel';
import { bufferOf, Pool, type Program, Recorder } from '../gpu/program';
import { openDawn } from './dawn';
import { explain } from './failure';

const USAGE = `npm run kernel -- NAME [--T LENGTH] [--time] [--print] [--watch]

Compares a kernel of src/kernels with the reference.
  --T LENGTH  the context length of the inputs, in place of the checks' small sizes
  --time      times each dispatch; needs the timestamp-query feature
  --print     prints the WGSL that is compiled, each line with the file and line it comes from
  --watch     runs again when a file in src/kernels, src/reference, src/check or src/gpu changes

NAME is one of ${KERNEL_NAMES.join(', ')}.`;

/** The best of so many times counts. */
const RUNS = 10;
const WATCHED = ['kernels', 'reference', 'check', 'gpu'];

interface Options {
  name: string;
  /** Context length. */
  T?: number;
  time: boolean;
  print: boolean;
  watch: boolean;
}

function readOptions(): Options | undefined {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      T: { type: 'string' },
      time: { type: 'boolean', default: false },
      print: { type: 'boolean', default: false },
      watch: { type: 'boolean', default: false },
    },
  });
  const { time, print, watch } = values;
  const T = values.T === undefined ? undefined : Number(values.T);
  const [name] = positionals;
  if (positionals.length !== 1 || !KERNEL_NAMES.includes(name)) return undefined;
  if (T !== undefined && !(Number.isInteger(T) && T > 0)) return undefined;
  return { name, T, time, print, watch };
}

/** Runs this script again, without --watch, now and whenever a watched file changes. */
function runOnChange(): void {
  const args = process.argv.slice(2).filter((arg) => arg !== '--watch');
  const run = () => {
    const child = spawn(process.execPath, ['src/cli/run.mjs', 'kernel', ...args], {
      stdio: 'inherit',
    });
    child.on('exit', () => {
      running = false;
      if (changed) start();
      else console.log('\nWaiting for a change. Ctrl-C ends.');
    });
  };
  let running = false;
  let changed = false;
  const start = () => {
    changed = running;
    if (running) return;
    running = true;
    run();
  };
  for (const room of WATCHED) watch(`src/${room}`, { recursive: true }, start);
  start();
}

/** Records the checks of a kernel, each in a Program of its own. */
async function buildPrograms(gpu: Gpu, { name, T }: Options) {
  const programs: { title: string; program: Program; destroy: () => void }[] = [];
  for (const check of checksOf(gpu, { kernel: name, T })) {
    const tensors = Object.fromEntries(
      Object.entries(check.inputs).map(([label, { values, layout, dtype }]) => [
        label,
        upload(gpu, label, values, layout, dtype),
      ]),
    );
    const pool = new Pool(gpu);
    const recorder = new Recorder(gpu, pool);
    check.record(recorder, tensors);
    const program = await recorder.build(check.kernel);
    programs.push({
      title: `${check.kernel} (${check.dtype}, ${check.sizes}, ${check.layout})`,
      program,
      destroy() {
        program.destroy();
        pool.destroy();
        for (const tensor of Object.values(tensors)) gpu.memory.destroy(bufferOf(tensor));
      },
    });
  }
  return programs;
}

/** Prints each dispatch's best time of several runs, and its rates. */
async function printTimes(title: string, program: Program): Promise<void> {
  const runs = [];
  for (let run = 0; run < RUNS; run++) runs.push(await program.profile());
  console.log(title);
  for (const [i, { kernel, flops, bytes }] of runs[0].entries()) {
    const nanoseconds = Math.min(...runs.map((times) => times[i].nanoseconds));
    const microseconds = (nanoseconds / 1000).toFixed(1).padStart(10);
    const [gflops, gigabytes] = [flops, bytes].map((count) => (count / nanoseconds).toFixed(2));
    console.log(`${microseconds} µs  ${kernel.padEnd(30)} ${gflops} GFLOP/s, ${gigabytes} GB/s`);
  }
}

/** Prints a kernel's text, each line behind the file and line it comes from. */
function printText({ name, lines }: Kernel, others: number): void {
  const places = lines.map(({ file, line }) => `${file}:${line}`);
  const width = Math.max(...places.map((place) => place.length));
  console.log(`\n${name}, as it is compiled${others ? `; ${others} other specialisations` : ''}:`);
  for (const [i, { text }] of lines.entries())
    console.log(`${places[i].padEnd(width)} | ${text}`.trimEnd());
}

async function main(options: Options): Promise<number> {
  const { name, T, time, print } = options;
  const gpu = await openGpu(await openDawn());
  const started = performance.now();
  const rows = await runChecks(gpu, () => undefined, { kernel: name, T });
  const seconds = (performance.now() - started) / 1000;
  console.log(reportText(gpu.adapter, `Node ${process.version}`, rows, seconds));
  if (time || print) {
    const programs = await buildPrograms(gpu, options);
    for (const { title, program } of programs) if (time) await printTimes(title, program);
    const kernels = new Set(programs.flatMap(({ program }) => program.kernels));
    const matching = [...kernels].filter(({ lines }) =>
      lines.some(({ file }) => file.replace(/^.*\/|\.wgsl$/g, '') === name),
    );
    for (const label of print ? new Set(matching.map((kernel) => kernel.name)) : []) {
      const [first, ...others] = matching.filter((kernel) => kernel.name === label);
      printText(first, others.length);
    }
    for (const { destroy } of programs) destroy();
  }
  return rows.every(({ passed }) => passed) ? 0 : 1;
}

let options: Options | undefined;
try {
  options = readOptions();
} catch (error) {
  console.error((error as Error).message);
}
if (!options) {
  console.error(USAGE);
  process.exit(2);
}
if (options.watch) {
  runOnChange();
} else {
  process.exit(
    await main(options).catch((error) => {
      console.error(explain(error));
      return 1;
    }),
  );
}
