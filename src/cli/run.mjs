// Runs a script of this folder under Node: `node src/cli/run.mjs train-teacher --steps 100` builds
// train-teacher.ts and starts it with `--steps 100`. A name with a / is a script elsewhere, from
// the project's root: tests/bench/story-pair. What it builds needs only the packages in EXTERNAL
// beside it.

import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';

/** `webgpu` is native code, and onnxruntime finds its WebAssembly beside its own file. */
const EXTERNAL = ['webgpu', 'onnxruntime-web'];

const root = fileURLToPath(new URL('../..', import.meta.url));
const [given, ...args] = process.argv.slice(2);
const path = given?.includes('/') ? given : `src/cli/${given}`;
if (!given || !existsSync(`${root}/${path}.ts`)) {
  const scripts = readdirSync(`${root}/src/cli`).filter((file) => file.endsWith('.ts'));
  console.error(
    `run: no script ${given ? path : 'src/cli/NAME'}.ts. There are: ${scripts.join(', ')}.`,
  );
  process.exit(2);
}

const name = basename(path);
const outDir = `${root}/node_modules/.cache/stillhouse/${name}`;
await build({
  root,
  logLevel: 'warn',
  // Without the page's plugins and index.html: this is a program.
  configFile: false,
  ssr: { noExternal: true, external: EXTERNAL },
  resolve: {
    // The browser's build of the tokenizer library, which runs in Node as well; its Node build
    // wants native packages.
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
  },
});

const child = spawn(process.execPath, ['--enable-source-maps', `${outDir}/${name}.js`, ...args], {
  stdio: 'inherit',
});
// Ctrl-C reaches the child by itself; a signal to this process is passed on, so that a run can save
// before it ends.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => child.kill('SIGTERM'));
child.on('exit', (code, signal) => {
  process.exitCode = code ?? (signal === 'SIGINT' ? 130 : 1);
});
