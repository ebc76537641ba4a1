// Builds a script of this folder and runs it in Node: `node src/cli/run.mjs train-teacher --steps
// 100` builds train-teacher.ts and starts it with `--steps 100`. A name with a / is a path from the
// project's root, such as tests/bench/story-pair. Everything is bundled except the packages in
// EXTERNAL.

import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';

/** `webgpu` is native code; the others look for files next to their own. */
const EXTERNAL = ['webgpu', 'onnxruntime-web', 'playwright-core'];

const root = fileURLToPath(new URL('../..', import.meta.url));
const [script, ...args] = process.argv.slice(2);
const path = script?.includes('/') ? script : `src/cli/${script}`;
if (!script || !existsSync(`${root}/${path}.ts`)) {
  const scripts = readdirSync(`${root}/src/cli`).filter((file) => file.endsWith('.ts'));
  console.error(
    `run: there is no ${script ? path : 'src/cli/NAME'}.ts. Choose one of ${scripts.join(', ')}.`,
  );
  process.exit(2);
}

const name = basename(path);
const outDir = `${root}/node_modules/.cache/stillhouse/${name}`;
await build({
  root,
  logLevel: 'warn',
  // Not the page's configuration: a script needs no plugins and no index.html.
  configFile: false,
  ssr: { noExternal: true, external: EXTERNAL },
  resolve: {
    // The tokenizer library's browser build, which also runs in Node. Its Node build needs native
    // packages.
    alias: {
      '@xenova/transformers': `${root}/node_modules/@xenova/transformers/dist/transformers.web.js`,
    },
  },
  build: {
    ssr: `${root}/${path}.ts`,
    outDir,
    emptyOutDir: true,
    copyPublicDir: false,
    target: 'node20',
    sourcemap: true,
    // Says nothing about a slow build: what is printed is the script's.
    rolldownOptions: { checks: { bundlerTimings: false } },
  },
});

const child = spawn(process.execPath, ['--enable-source-maps', `${outDir}/${name}.js`, ...args], {
  stdio: 'inherit',
});
// Ctrl-C reaches the child directly; SIGTERM is passed on, so that a run can save before it ends.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => child.kill('SIGTERM'));
child.on('exit', (code, signal) => {
  process.exitCode = code ?? (signal === 'SIGINT' ? 130 : 1);
});
