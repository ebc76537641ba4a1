// How the page is built and served, and which tests need what. Node scripts take this file too: see src/cli/run.mjs.

import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

const SECOND = 1000;

/** onnxruntime's first run alone can take over a minute on a software adapter. */
const patient = { pool: 'forks', testTimeout: 240 * SECOND, hookTimeout: 240 * SECOND } as const;
/** On two cores without a GPU one adapter is busy enough. */
const oneAtATime = { ...patient, fileParallelism: false } as const;
/** These say how quick the page is, so nothing else runs beside them. */
const TIMED = ['tests/e2e/first-paint.test.ts', 'tests/e2e/check.test.ts'];

export default defineConfig({
  // Relative addresses, so that the built folder works from any sub-path of any host.
  base: './',
  // A missing file is a 404, never the page: a model that is not there must not arrive as HTML.
  appType: 'mpa',
  plugins: [react()],
  worker: { format: 'es' },
  optimizeDeps: {
    // Rewritten for the dev server it no longer finds its WebAssembly.
    exclude: ['onnxruntime-web'],
    // The worker's own packages, which the dev server would otherwise meet only when it starts, and reload the page.
    include: ['@xenova/transformers', 'onnx-proto'],
  },
  build: { target: 'es2023' },
  test: {
    projects: [
      {
        extends: true,
        test: { name: 'unit', include: ['tests/unit/**/*.test.{ts,tsx}'], testTimeout: 30 * SECOND },
      },
      {
        extends: true,
        test: { name: 'gpu', include: ['tests/gpu/**/*.test.ts'], ...oneAtATime },
      },
      {
        extends: true,
        test: {
          // A page waits as often as it works.
          ...{ name: 'e2e', include: ['tests/e2e/**/*.test.ts'], exclude: TIMED, ...patient, maxWorkers: 2 },
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: { name: 'e2e-timed', include: TIMED, ...oneAtATime, sequence: { groupOrder: 2 } },
      },
    ],
  },
});
