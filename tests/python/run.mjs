// `npm run test:python`: the tests that need PyTorch. It makes a virtual environment of its own,
// says what it installs, and runs pytest on this folder; arguments go to pytest. No part of `npm
// test`. Runs of Stillhouse take the Vulkan driver that VK_ICD_LAVAPIPE names, or the machine's own.
//
//   npm run test:python
//   npm run test:python -- test_recipe.py -k resumes

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const environment = `${root}.cache/python`;
const python = `${environment}/bin/python`;
const lists = ['src/distill/recipe/requirements.txt', 'tests/python/requirements.txt'];

function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options });
  if (status === 0) return;
  console.error(`test:python: ${command} ${args.join(' ')} failed. ${error?.message ?? ''}`);
  process.exit(status ?? 1);
}

const wanted = lists.map((list) => readFileSync(`${root}${list}`, 'utf8')).join('');
const stamp = createHash('sha256').update(wanted).digest('hex');
const installed = `${environment}/installed`;
if (!existsSync(installed) || readFileSync(installed, 'utf8') !== stamp) {
  console.log(`Installing into .cache/python, about 2 GB:\n${wanted.replace(/^#.*\n/gm, '')}`);
  run('python3', ['-m', 'venv', environment]);
  run(python, ['-m', 'pip', 'install', '--quiet', ...lists.flatMap((list) => ['-r', list])]);
  writeFileSync(installed, stamp);
}
// Builds the command line, which the tests start.
run('node', ['src/cli/run.mjs', 'distill', '--help'], { stdio: ['ignore', 'ignore', 'inherit'] });
const driver = process.env.VK_ICD_LAVAPIPE;
run(python, ['-m', 'pytest', '-v', '-rA', '--durations=10', ...process.argv.slice(2)], {
  cwd: `${root}tests/python`,
  env: { ...process.env, ...(driver && { VK_ICD_FILENAMES: driver }) },
});
