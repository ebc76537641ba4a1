// Builds the service worker (src/offline/service-worker.ts) into the page's folder, and tells it
// which files the page consists of.

import { createHash } from 'node:crypto';
import { build, type Plugin } from 'vite';

/** Kept as soon as the page is opened. Everything else is kept once it is used. */
const PAGE_FILE = /\.(html|js|css)$/;
/** Vite adds a hash of the content to the names in this folder. */
const HASHED = /^assets\//;

export function offline(): Plugin {
  let folder: string;
  return {
    name: 'stillhouse-offline',
    apply: (config, { command }) => command === 'build' && !config.build?.ssr,
    configResolved({ build: { outDir } }) {
      folder = outDir;
    },
    async writeBundle(_, bundle) {
      const files = Object.values(bundle).filter(({ fileName }) => !fileName.endsWith('.map'));
      const page = files
        .filter(({ fileName }) => PAGE_FILE.test(fileName))
        .map((file) => ({
          url: file.fileName,
          revision: HASHED.test(file.fileName)
            ? null
            : hash(file.type === 'chunk' ? file.code : file.source),
        }));
      const large = files.map(({ fileName }) => fileName).filter((name) => !PAGE_FILE.test(name));
      await build({
        configFile: false,
        logLevel: 'warn',
        define: { PAGE_FILES: JSON.stringify(page), LARGE_FILES: JSON.stringify(large) },
        build: {
          outDir: folder,
          emptyOutDir: false,
          copyPublicDir: false,
          target: 'es2023',
          rolldownOptions: {
            input: 'src/offline/service-worker.ts',
            output: { format: 'iife', entryFileNames: 'service-worker.js' },
          },
        },
      });
    },
  };
}

const hash = (content: string | Uint8Array) =>
  createHash('sha256').update(content).digest('hex').slice(0, 16);
