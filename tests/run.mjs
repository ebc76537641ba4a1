// `npm test`: all checks and tests, in order, on a machine without a GPU. Installs what the tests
// need (see browser/setup.sh), prints a table of stages and ends with `N passed, N failed`.
//
//   node tests/run.mjs [--only STAGE,…] [FILTER…]
//
// STAGE: check, unit, build, gpu (both adapters), gpu-lavapipe, gpu-swiftshader, e2e. FILTER: part of
// a test file's path; with one, no stage is halved. Fails on a failed, skipped or todo test, and on a
// stage without tests: nothing passes silently.

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { countReport } from './report.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const reports = mkdtempSync(join(tmpdir(), 'stillhouse-reports-'));
process.on('exit', () => rmSync(reports, { recursive: true, force: true }));

/**
 * What is the same on either adapter: the kernels that it uses have tests of their own, and whole
 * runs, onnxruntime and the check of every kernel are seen in f32 end to end. Exports, adapters,
 * families and pairs of vocabularies are tried in f32 on lavapipe, too.
 */
const ONCE = [
  'bug-lab',
  'cache',
  'check',
  'cli',
  'command-batch',
  'distil',
  'endure',
  'export',
  'families',
  'kernel-cli',
  'lora',
  'models',
  'profile',
  'program',
  'teacher-onnx',
  'twin',
].map((name) => `tests/gpu/${name}.test.ts`);
/** End-to-end tests in which nothing is trained: they need a browser, and hardly a kernel. */
const PAGES = [
  'adapter',
  'examples',
  'first-paint',
  'harness',
  'lessons',
  'link',
  'screenshot',
  'smoke',
  'strides',
].map((name) => `tests/e2e/${name}.test.ts`);
/**
 * Two stages run at a time: each spends most of its time on one core, compiling or waiting. What
 * lavapipe has compiled serves all later tests of its kind, in Node or in the browser. So each kind
 * has a lane to itself, where nothing is compiled twice at the same time, and the long stages come
 * first, so that the lanes end together.
 */
const LANES = 2;
const STAGES = [
  // It waits for downloads and disks, and so takes no lane.
  { name: 'browsers', laneless: true },
  { name: 'check', command: ['node', 'tests/check.mjs'] },
  { name: 'build', command: ['node_modules/.bin/vite', 'build', '--logLevel', 'warn'] },
  { name: 'gpu-lavapipe', project: 'gpu', icd: 'VK_ICD_LAVAPIPE', adapter: 'f16' },
  { name: 'e2e-runs', project: 'e2e', after: 'build', browsers: true, without: PAGES },
  {
    name: 'gpu-swiftshader',
    project: 'gpu',
    icd: 'VK_ICD_SWIFTSHADER',
    adapter: 'f32',
    without: ONCE,
  },
  { name: 'e2e-pages', project: 'e2e', after: 'build', browsers: true, among: PAGES },
  { name: 'unit-1', project: 'unit*', shard: '1/2' },
  { name: 'unit-2', project: 'unit*', shard: '2/2' },
];
const DRIVERS = ['CHROMIUM', 'CHROMIUM_F16', 'VK_ICD_SWIFTSHADER', 'VK_ICD_LAVAPIPE'];

for (const path of [...ONCE, ...PAGES])
  if (!existsSync(join(root, path)))
    stop(`ONCE or PAGES names ${path}, which does not exist. Correct the list.`);

const { only, filters } = readArguments(process.argv.slice(2));
const halved = filters.length === 0;
/** A stage's first half, which with a filter is the whole. */
const whole = ({ shard, among }) => shard !== '2/2' && !among;
const asked = STAGES.filter(
  ({ name }) => !only || only.some((stage) => name === stage || name.startsWith(`${stage}-`)),
).filter((stage) => halved || whole(stage));
/** The stages that must have ended before this one begins. */
const needs = ({ after, icd, browsers }) => [after, (icd || browsers) && 'browsers'];
const chosen = STAGES.filter(
  (stage) =>
    asked.includes(stage) || (stage.laneless && asked.some(({ icd, browsers }) => icd || browsers)),
);
const environment = { ...process.env };

const rows = [];
const running = new Map();
const waiting = [...chosen];
const ended = (name) => ![...waiting, ...running.keys()].some((stage) => stage.name === name);
while (waiting.length > 0) {
  const lanes = [...running.keys()].filter(({ laneless }) => !laneless).length;
  const next = waiting.find(
    (stage) => (stage.laneless || lanes < LANES) && needs(stage).every(ended),
  );
  if (!next) {
    await Promise.race(running.values());
    continue;
  }
  waiting.splice(waiting.indexOf(next), 1);
  console.log(`\n== ${next.name}`);
  const done = timed(next).then((row) => {
    rows.push(row);
    running.delete(next);
  });
  running.set(next, done);
}
await Promise.all(running.values());
const place = ({ name }) => STAGES.findIndex((stage) => stage.name === name);
rows.sort((a, b) => place(a) - place(b));

console.log(
  `\n${'stage'.padEnd(16)}${'passed'.padStart(8)}${'failed'.padStart(8)}${'seconds'.padStart(9)}`,
);
for (const { name, passed, failed, seconds, notes } of rows) {
  const numbers = [passed ?? '', failed].map((count) => String(count).padStart(8)).join('');
  console.log(
    `${name.padEnd(16)}${numbers}${seconds.toFixed(1).padStart(9)}  ${notes.join('; ')}`.trimEnd(),
  );
}
const sum = (key) => rows.reduce((total, row) => total + (row[key] ?? 0), 0);
process.exitCode = sum('failed') ? 1 : 0;
console.log(`${sum('passed')} passed, ${sum('failed')} failed`);

async function timed(stage) {
  const started = Date.now();
  const result = await runStage(stage);
  return { name: stage.name, seconds: (Date.now() - started) / 1000, ...result };
}

/** Runs a stage. Returns its passed and failed tests; a failure outside a test counts as one. */
async function runStage(stage) {
  const missing = rows.find(({ name, failed }) => failed && needs(stage).includes(name));
  if (missing) return { failed: 1, notes: [`not run: ${missing.name} failed`] };
  if (stage.laneless) {
    const { problem, ...found } = await findBrowsers();
    Object.assign(environment, found);
    return { failed: problem ? 1 : 0, notes: problem ? [problem] : [] };
  }
  if (stage.command) {
    const code = await run(stage.command, environment);
    return { failed: code === 0 ? 0 : 1, notes: [] };
  }
  const report = `${reports}/${stage.name}.json`;
  const code = await run(
    [
      'node_modules/.bin/vitest',
      'run',
      '--project',
      stage.project,
      '--reporter=default',
      '--reporter=json',
    ].concat(
      `--outputFile.json=${report}`,
      '--allowOnly=false',
      stage.shard && halved ? [`--shard=${stage.shard}`] : [],
      (halved || stage.icd ? (stage.without ?? []) : []).map((path) => `--exclude=${path}`),
      stage.among ?? filters,
    ),
    {
      ...environment,
      ...(stage.icd && { VK_ICD_FILENAMES: environment[stage.icd], ADAPTER: stage.adapter }),
    },
    // Two reporters cannot draw on one terminal. Through a pipe, a reporter only writes lines.
    'pipe',
  );
  return countReport(
    existsSync(report) ? JSON.parse(readFileSync(report, 'utf8')) : undefined,
    code,
  );
}

function run([command, ...args], env, out = 'inherit') {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, env, stdio: ['inherit', out, 'inherit'] });
    child.stdout?.pipe(process.stdout);
    child.on('error', (error) => {
      console.error(`run: ${command} did not start: ${error.message}. Run npm ci first.`);
      resolve(1);
    });
    child.on('exit', (code) => resolve(code ?? 1));
  });
}

/**
 * The paths of two browsers and two Vulkan drivers: from the environment, or installed (Debian). Or
 * the problem.
 */
async function findBrowsers() {
  const fromEnvironment = Object.fromEntries(DRIVERS.map((name) => [name, process.env[name]]));
  if (DRIVERS.every((name) => fromEnvironment[name])) return fromEnvironment;
  if (spawnSync('dpkg-query', ['--version']).status !== 0) {
    const problem =
      'the gpu and e2e tests need Chromium, SwiftShader and Mesa 24 or newer (lavapipe). ' +
      'On Debian, tests/browser/setup.sh installs them. On other systems, install them and set ' +
      `${DRIVERS.join(', ')}; see that script. ` +
      'Without them, `node tests/run.mjs --only check,unit,build` works.';
    return { problem };
  }
  const setup = spawn('bash', [`${root}/tests/browser/setup.sh`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [said, code] = await Promise.all([
    text(setup.stdout),
    new Promise((resolve) => setup.on('close', resolve)),
  ]);
  if (code !== 0)
    return { problem: 'tests/browser/setup.sh failed; its last line says what is missing.' };
  const installed = Object.fromEntries(
    said
      .trim()
      .split('\n')
      .map((line) => line.split(/=(.*)/s).slice(0, 2)),
  );
  for (const name of DRIVERS) {
    if (!installed[name] || !existsSync(installed[name])) {
      const problem =
        `tests/browser/setup.sh gave ${name}=${installed[name] ?? ''}, which does not exist. ` +
        'Reinstall that package.';
      return { problem };
    }
  }
  return installed;
}

function readArguments(args) {
  const at = args.indexOf('--only');
  if (at < 0) return { filters: args };
  const only = (args[at + 1] ?? '').split(',');
  for (const stage of only) {
    if (!STAGES.some(({ name }) => name === stage || name.startsWith(`${stage}-`))) {
      stop(
        `there is no stage "${stage}". Choose from ${STAGES.map(({ name }) => name).join(', ')}.`,
      );
    }
  }
  return { only, filters: args.toSpliced(at, 2) };
}

function stop(message) {
  console.error(`run: ${message}`);
  process.exit(2);
}
