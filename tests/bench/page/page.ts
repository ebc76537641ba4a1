// The benchmark's page: browser.mjs calls what it leaves on the window.

import { openGpu } from '../../../src/gpu/device';
import { type Options, parseOptions } from '../options';
import { type Report, runBench } from '../run';

async function bench(args: string[]): Promise<Report> {
  const options: Options = parseOptions(args);
  // "Chromium/156.0.0.0", or whatever the browser calls itself last but one.
  const host = /\w+\/[\d.]+(?= Safari)/.exec(navigator.userAgent)?.[0] ?? navigator.userAgent;
  return runBench(await openGpu(), options, host, []);
}

Object.assign(window, { bench });
