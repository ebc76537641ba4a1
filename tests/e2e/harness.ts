// Opens the built page in a real Chromium and hears everything that goes wrong on it. The browsers
// come from the environment (tests/run.mjs sets it): CHROMIUM has WebGPU without f16, CHROMIUM_F16
// has it.

import { existsSync } from 'node:fs';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { afterAll } from 'vitest';
import { type Site, serveSite } from './site';

export { type Fault, type Site, serveSite } from './site';

/**
 * What the browser offers: an adapter with f16 (lavapipe), one without (SwiftShader), none, or no
 * `navigator.gpu` at all.
 */
export type Offer = 'f16' | 'f32' | 'no-adapter' | 'no-webgpu';

const ADAPTER = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'];
const FLAGS: Record<Offer, string[]> = {
  f16: ADAPTER,
  f32: ADAPTER,
  'no-adapter': [],
  'no-webgpu': [],
};
/**
 * Chromium has no switch for this, and a worker no place for a script of ours: it goes before each
 * that is served.
 */
const HIDE_WEBGPU = 'delete Object.getPrototypeOf(navigator).gpu;';
const ALWAYS = [
  '--no-sandbox',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

const browsers = new Map<Offer, Promise<Browser>>();
const sites: Site[] = [];

afterAll(async () => {
  for (const browser of await Promise.allSettled(browsers.values())) {
    if (browser.status === 'fulfilled') await browser.value.close();
  }
  for (const site of sites) await site.close();
  browsers.clear();
});

/** The test file's one browser of a kind; closed at its end. */
export function openBrowser(offer: Offer): Promise<Browser> {
  const browser = browsers.get(offer) ?? launch(offer);
  browsers.set(offer, browser);
  return browser;
}

async function launch(offer: Offer): Promise<Browser> {
  const variable = offer === 'f16' ? 'CHROMIUM_F16' : 'CHROMIUM';
  const executablePath = process.env[variable];
  if (!executablePath || !existsSync(executablePath)) {
    throw new Error(
      `launch Chromium: ${variable}=${executablePath ?? ''} is no file. Start the tests by npm run test:e2e.`,
    );
  }
  return chromium.launch({ executablePath, args: [...FLAGS[offer], ...ALWAYS] });
}

/**
 * The built page's server, closed at the test file's end. For options and faults of its own, a test
 * calls serveSite.
 */
export async function openSite(options?: { folder?: string; base?: string }): Promise<Site> {
  if (!options?.folder && !existsSync('dist/index.html')) {
    throw new Error(
      'serve dist/: there is no dist/index.html. Run npm run build, or npm run test:e2e.',
    );
  }
  const site = await serveSite(options);
  sites.push(site);
  return site;
}

export interface Visit {
  page: Page;
  /**
   * Console errors and warnings, uncaught errors, failed requests and answers from 400 up, of page
   * and workers.
   */
  problems: string[];
  /** Requests to any other origin: there must be none. */
  foreign: string[];
  /** Closes the page. @throws if it asked another origin for anything. */
  close(): Promise<void>;
}

export interface VisitOptions extends BrowserContextOptions {
  offer?: Offer;
  /** What follows the site's address, e.g. '#v=1&alpha=0.5'. */
  path?: string;
  /**
   * A script that goes before each of the site's, and so before the worker's, where a page's own
   * scripts do not reach.
   */
  before?: string;
}

/** Opens the page of a site in a context of its own (nothing stored from earlier tests). */
export async function visit(site: Site, options: VisitOptions = {}): Promise<Visit> {
  const { offer = 'f32', path = '', before = '', ...contextOptions } = options;
  const browser = await openBrowser(offer);
  const context = await browser.newContext({
    viewport: { width: 1440, height: 900 },
    ...contextOptions,
  });
  const problems: string[] = [];
  const foreign: string[] = [];
  const origin = new URL(site.url).origin;
  await context.route(
    (url) => /^(https?|wss?):$/.test(url.protocol) && url.origin !== origin,
    (route) => {
      foreign.push(route.request().url());
      return route.abort();
    },
  );
  const inserted = `${offer === 'no-webgpu' ? HIDE_WEBGPU : ''}${before}`;
  if (inserted) {
    await context.route(/\.js$/, async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, body: inserted + (await response.text()) });
    });
  }
  context.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') {
      problems.push(`console ${message.type()}: ${message.text()} (${message.location().url})`);
    }
  });
  context.on('weberror', (error) =>
    problems.push(`uncaught: ${error.error().stack ?? error.error()}`),
  );
  context.on('requestfailed', (request) =>
    problems.push(`${request.url()}: ${request.failure()?.errorText}`),
  );
  context.on('response', (response) => {
    if (response.status() >= 400) problems.push(`${response.url()}: ${response.status()}`);
  });
  const page = await context.newPage();
  await page.goto(site.url + path);
  return {
    page,
    problems,
    foreign,
    close: async () => {
      await context.close();
      if (foreign.length > 0)
        throw new Error(
          `The page asked other origins: ${foreign.join(', ')}. It may ask only its own.`,
        );
    },
  };
}
