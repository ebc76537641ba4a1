// Opens the built page in a real Chromium and hears everything that goes wrong on it. The browsers
// come from the environment (tests/run.mjs sets it): CHROMIUM has WebGPU without f16, CHROMIUM_F16
// has it.

import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setTimeout as wait } from 'node:timers/promises';
import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type Page,
} from 'playwright-core';
import { afterAll, beforeAll, beforeEach } from 'vitest';
import { watchWorker } from './awaited';
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

/** What Chromium is started with, to offer that. */
export const flagsOf = (offer: Offer): string[] => [...FLAGS[offer], ...ALWAYS];

/** One browser of a kind serves every test file: they run in one process, which takes it along. */
const browsers = new Map<Offer, Promise<Browser>>();
/** What the present test has opened. */
const contexts = new Set<BrowserContext>();
/** What serves a file's or a describe's tests together. */
const sharedContexts = new Set<BrowserContext>();
const sites = new Set<Site>();

/** Closes the pages that a test has left open, as a failed one does: no run goes on in them. */
export async function closePages(): Promise<void> {
  for (const context of contexts) await context.close();
  contexts.clear();
}

/** Closes what a test file has opened and left open. */
export async function closeAll(): Promise<void> {
  for (const context of sharedContexts) await context.close();
  sharedContexts.clear();
  await closePages();
  for (const site of sites) await site.close();
  sites.clear();
}

/**
 * For the second try of a failed test: each page is opened by a new browser, and sites serve what
 * they have. A browser that hangs is not waited for.
 */
export async function startOver(): Promise<void> {
  const left = [...browsers.values()];
  browsers.clear();
  contexts.clear();
  sharedContexts.clear();
  for (const { faults, requests } of sites) {
    faults.clear();
    requests.length = 0;
  }
  const closed = left.map(async (browser) => (await browser).close());
  await Promise.race([Promise.allSettled(closed), wait(MOST_MILLISECONDS_TO_CLOSE)]);
}
const MOST_MILLISECONDS_TO_CLOSE = 10_000;

function openBrowser(offer: Offer): Promise<Browser> {
  const browser = browsers.get(offer) ?? launch(offer);
  browsers.set(offer, browser);
  return browser;
}

async function launch(offer: Offer): Promise<Browser> {
  const variable = offer === 'f16' ? 'CHROMIUM_F16' : 'CHROMIUM';
  const executablePath = process.env[variable];
  if (!executablePath || !existsSync(executablePath)) {
    throw new Error(
      `launch Chromium: ${variable}=${executablePath ?? ''} is not a file. ` +
        'Start the tests with npm run test:e2e.',
    );
  }
  return chromium.launch({ executablePath, args: flagsOf(offer) });
}

export const BOOK = 'corpus/moby-dick.txt';
/** Encoding the whole book takes most of a short run's time. */
const BOOK_BYTES = 100_000;

export interface SiteOptions {
  folder?: string;
  base?: string;
  /** Serves the whole book, not only its beginning. */
  wholeBook?: boolean;
  /** Answers ranges, and compresses everything else, as `npm start` does. */
  likePreview?: boolean;
}

/** The built page's server, with the beginning of the book. Closed at the end of the test file. */
export async function openSite(options: SiteOptions = {}): Promise<Site> {
  const { folder = 'dist', base, wholeBook, likePreview } = options;
  if (!existsSync(`${folder}/index.html`)) {
    throw new Error(
      `serve ${folder}/: there is no ${folder}/index.html. Run npm run build, or npm run test:e2e.`,
    );
  }
  const site = await serveSite({ folder, base, likePreview });
  sites.add(site);
  await watchWorker(site, folder);
  if (folder === 'dist' && !wholeBook) {
    const book = await readFile(`${folder}/${BOOK}`);
    site.files.set(BOOK, book.subarray(0, book.lastIndexOf('\n', BOOK_BYTES)));
  }
  return site;
}

export interface Visit {
  page: Page;
  /**
   * Console errors and warnings, uncaught errors, failed requests (but those that the page broke
   * off) and answers from 400 up, of page and workers.
   */
  problems: string[];
  /** Requests to any other origin: there must be none. */
  foreign: string[];
  /** Closes the page. @throws if it asked another origin for anything. */
  close(): Promise<void>;
}

/** For whatever the page is asked to do: against hangs, not for speed. */
export const PATIENCE = 120_000;

export interface VisitOptions extends BrowserContextOptions {
  offer?: Offer;
  /**
   * Problems that the tests of this visit cause, and that are none: what the browser says of a file
   * that is missing, for example. It may say so after the test.
   */
  expected?: RegExp;
  /** What follows the site's address, e.g. '#v=1&alpha=0.5'. */
  path?: string;
  /**
   * A script that goes before each of the site's, and so before the worker's, where a page's own
   * scripts do not reach.
   */
  before?: string;
  /** The page builds the run that it offers while nobody does anything (app/run/prepare.ts). */
  prepares?: boolean;
  /** Done with the page before it opens the site. */
  prepare?(page: Page): Promise<void>;
}

/** Opens the page of a site in a context of its own (nothing stored from earlier tests). */
export async function visit(site: Site, options: VisitOptions = {}): Promise<Visit> {
  const { offer = 'f32', path = '', before = '', expected, ...others } = options;
  const { prepares = false, prepare, ...contextOptions } = others;
  const browser = await openBrowser(offer);
  const context = await browser.newContext({
    viewport: { width: 1440, height: 900 },
    // Tests see each request. Those of the service worker ask for it.
    serviceWorkers: 'block',
    ...contextOptions,
  });
  contexts.add(context);
  context.setDefaultTimeout(PATIENCE);
  const problems: string[] = [];
  const hear = (problem: string) => {
    if (!expected?.test(problem)) problems.push(problem);
  };
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
    if (message.text().startsWith('Service Worker registration blocked')) return;
    if (message.type() === 'error' || message.type() === 'warning') {
      hear(`console ${message.type()}: ${message.text()} (${message.location().url})`);
    }
  });
  context.on('weberror', (error) => hear(`uncaught: ${error.error().stack ?? error.error()}`));
  context.on('requestfailed', (request) => {
    const error = request.failure()?.errorText;
    // What the page itself breaks off: a run that is refused, a reload. When is a matter of luck.
    if (error !== 'net::ERR_ABORTED') hear(`${request.url()}: ${error}`);
  });
  context.on('response', (response) => {
    if (response.status() >= 400) hear(`${response.url()}: ${response.status()}`);
  });
  // Few tests start that run, and all would wait for the GPU meanwhile.
  if (!prepares)
    await context.addInitScript(() => {
      Object.defineProperty(navigator, 'connection', { value: { saveData: true } });
    });
  const page = await context.newPage();
  await prepare?.(page);
  await page.goto(site.url + path);
  return {
    page,
    problems,
    foreign,
    close: async () => {
      await context.close();
      contexts.delete(context);
      sharedContexts.delete(context);
      if (foreign.length > 0)
        throw new Error(
          `The page asked other origins: ${foreign.join(', ')}. It may ask only its own.`,
        );
    },
  };
}

/**
 * A visit that serves all tests of a file or a describe: opened before the first and closed after
 * the last of them. An open page keeps its device, its kernels and onnxruntime, whose start takes
 * most of a short run's time; `follow` (drive.ts) brings it to other settings. The second try of a
 * failed test gets a fresh page of a fresh site, in a new browser (setup.ts).
 */
export function sharedVisit(
  options: VisitOptions = {},
  siteOptions?: SiteOptions,
): Visit & { site: Site } {
  const shared = {} as Visit & { site: Site };
  const open = async () => {
    const site = await openSite(siteOptions);
    Object.assign(shared, await visit(site, options), { site });
    const context = shared.page.context();
    contexts.delete(context);
    sharedContexts.add(context);
  };
  beforeAll(open);
  beforeEach(({ task }) => (task.result?.retryCount ? open() : undefined));
  afterAll(() => shared.close?.());
  return shared;
}
