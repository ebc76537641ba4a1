// `npm run check`: types, lint and format, and this project's own rules (rules.mjs). Reports all
// problems at once.

import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { checkTree } from './rules.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const CHECKED = /\.(ts|tsx|mjs|wgsl|css)$|README\.md$|^package(-lock)?\.json$/;
const ROOT_FILES = ['LICENSE', 'README.md', 'package.json', 'package-lock.json', 'vite.config.ts'];

const results = await Promise.all([
  run('types', 'node_modules/.bin/tsc', ['--noEmit', '-p', '.']),
  run('lint and format', 'node_modules/.bin/biome', [
    'check',
    '--colors=off',
    '--max-diagnostics=20',
  ]),
  checkRules(),
]);
for (const { name, ok, output } of results)
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${name}${ok ? '' : `\n${output}`}`);
process.exitCode = results.every(({ ok }) => ok) ? 0 : 1;

function checkRules() {
  const tree = new Map();
  const folders = ['src', 'tests', 'public'];
  const paths = folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => relative(root, join(entry.parentPath, entry.name))),
  );
  // All paths, so that imports resolve, but only the texts that the rules read.
  for (const path of [...paths, ...ROOT_FILES]) {
    tree.set(path, CHECKED.test(path) ? readFileSync(join(root, path), 'utf8') : '');
  }
  const problems = checkTree(tree);
  return {
    name: 'rooms, exports, lengths',
    ok: problems.length === 0,
    output: problems.join('\n'),
  };
}

function run(name, command, args) {
  return new Promise((resolve) => {
    let output = '';
    const child = spawn(command, args, { cwd: root });
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (data) => (output += data));
    child.on('error', (error) =>
      resolve({ name, ok: false, output: `${error.message}. Run npm ci first.` }),
    );
    child.on('close', (code) => resolve({ name, ok: code === 0, output: output.trim() }));
  });
}
