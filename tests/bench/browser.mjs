// `npm run bench:browser`: the benchmark in Chromium. Builds the page, opens it in each browser
// that the environment names (CHROMIUM: SwiftShader, f32; CHROMIUM_F16: with f16) and prints its
// output. The flags are those of `npm run bench`; see options.ts. On a machine with a GPU, use its
// adapter: CHROMIUM=/path/to/chrome ADAPTER=gpu npm run bench:browser

import { existsSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { build, preview } from 'vite';

const root = fileURLToPath(new URL('page', import.meta.url));
const outDir = fileURLToPath(
  new URL('../../node_modules/.cache/stillhouse/bench-page', import.meta.url),
);
const args = process.argv.slice(2);
const ADAPTER = process.env.ADAPTER === 'gpu' ? [] : ['--use-webgpu-adapter=swiftshader'];
const FLAGS = [
  '--enable-unsafe-webgpu',
  ...ADAPTER,
  '--no-sandbox',
  '--disable-quic',
  '--no-first-run',
];

const browsers = ['CHROMIUM', 'CHROMIUM_F16'].filter((name) => existsSync(process.env[name] ?? ''));
if (browsers.length === 0) {
  console.error(
    'bench:browser: neither CHROMIUM nor CHROMIUM_F16 names a file. Set CHROMIUM to a Chromium. ' +
      'On Debian, tests/browser/setup.sh, run as root, installs both and prints their paths.',
  );
  process.exit(2);
}

await build({
  root,
  configFile: false,
  logLevel: 'warn',
  base: './',
  // The peers are large, but no visitor loads them.
  build: {
    outDir,
    emptyOutDir: true,
    target: 'es2023',
    chunkSizeWarningLimit: Number.POSITIVE_INFINITY,
  },
});
const server = await preview({
  root,
  configFile: false,
  logLevel: 'warn',
  build: { outDir },
  preview: { host: '127.0.0.1', port: 0 },
});
const [url] = server.resolvedUrls.local;
const reports = [];
for (const name of browsers) {
  console.log(`${name}=${process.env[name]}`);
  const browser = await chromium.launch({ executablePath: process.env[name], args: FLAGS });
  try {
    const page = await browser.newPage();
    page.on('console', (message) =>
      (message.type() === 'log' ? console.log : console.error)(message.text()),
    );
    page.on('pageerror', (error) => {
      console.error(error.stack);
      process.exitCode = 1;
    });
    await page.goto(url);
    await page.waitForFunction(() => 'bench' in window);
    reports.push(await page.evaluate((flags) => window.bench(flags), args));
  } catch (error) {
    console.error(`bench:browser: ${error.message}`);
    process.exitCode = 1;
  } finally {
    await browser.close();
  }
}
await server.close();
const at = args.indexOf('--json');
if (at >= 0 && reports.length > 0)
  writeFileSync(args[at + 1], `${JSON.stringify(reports, null, 1)}\n`);
