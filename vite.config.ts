// How the page is built and served, and which tests need what. Node scripts take this file too: see
// src/cli/run.mjs.

import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';
import { offline } from './src/offline/build.ts';
import { contentSecurityPolicy } from './src/policy.ts';

const SECOND = 1000;

/**
 * On two cores without a GPU one adapter is busy enough, and onnxruntime's first run alone takes
 * over a minute.
 */
const oneAtATime = {
  pool: 'forks',
  fileParallelism: false,
  testTimeout: 240 * SECOND,
  hookTimeout: 240 * SECOND,
} as const;

/**
 * lavapipe takes most of a test's time to compile, and without LLVM's optimisations a third less.
 * Its slower kernels give results that meet the same tolerances. Figures are never measured so, nor
 * do browsers run so, whose runs are longer.
 */
const env = { GALLIVM_PERF: 'nopt' };

const unit = {
  // Against hangs: other work may slow a test down by far.
  testTimeout: 120 * SECOND,
  hookTimeout: 120 * SECOND,
};

/** Unit tests that draw the page, or change what others share: modules, globals, the clock. */
const ALONE = [
  'tests/unit/**/*.test.tsx',
  ...['before-run', 'faults', 'half-trial', 'ring', 'runs-full', 'step-time', 'tokenizer'].map(
    (name) => `tests/unit/${name}.test.ts`,
  ),
  'tests/unit/transformers-js.test.ts',
  ...['bug-texts', 'client', 'store'].map((name) => `tests/unit/app/${name}.test.ts`),
];

export default defineConfig({
  // Relative addresses, so that the built folder works from any sub-path of any host.
  base: './',
  // A missing file is a 404, never the page: a model that is not there must not arrive as HTML.
  appType: 'mpa',
  plugins: [react(), contentSecurityPolicy(), offline()],
  worker: { format: 'es' },
  optimizeDeps: {
    // Rewritten for the dev server it no longer finds its WebAssembly.
    exclude: ['onnxruntime-web'],
    // The worker's own packages, which the dev server would otherwise meet only when it starts, and
    // reload the page.
    include: ['@xenova/transformers', 'onnx-proto'],
  },
  build: { target: 'es2023' },
  test: {
    projects: [
      {
        extends: true,
        // Pure: one process loads the code once for all of them.
        test: {
          name: 'unit',
          include: ['tests/unit/**/*.test.ts'],
          exclude: ALONE,
          isolate: false,
          ...unit,
        },
      },
      {
        extends: true,
        test: { name: 'unit-alone', include: ALONE, ...unit },
      },
      {
        extends: true,
        // lavapipe keeps on disk what it has compiled. SwiftShader does not: there, one process and
        // one device for all files compile each kernel once.
        test: {
          name: 'gpu',
          include: ['tests/gpu/**/*.test.ts'],
          env,
          ...oneAtATime,
          isolate: process.env.ADAPTER !== 'f32',
          setupFiles: 'tests/gpu/setup.ts',
        },
      },
      {
        extends: true,
        test: {
          name: 'e2e',
          include: ['tests/e2e/**/*.test.ts'],
          // One process, with browsers that its files share.
          ...oneAtATime,
          isolate: false,
          // Each wait has a limit of its own.
          testTimeout: 600 * SECOND,
          // A browser that hangs once fails no build; the test is named at the end.
          retry: 1,
          setupFiles: 'tests/e2e/setup.ts',
        },
      },
    ],
  },
});
