// What to switch on where WebGPU is missing, by what the browser itself shows of its engine, its
// system and its security. Pure.

export type Engine = 'chromium' | 'firefox' | 'safari' | 'other';

export interface BrowserFacts {
  engine: Engine;
  /** As the browser names its system; empty if it does not. */
  system: string;
  /** WebGPU exists on https and localhost only. */
  secure: boolean;
  /** The browser has WebGPU, but offered no GPU. */
  hasWebGpu: boolean;
}

export interface GpuHelp {
  text: string;
  /** To be typed into the address bar: pages cannot link to a browser's own pages. */
  address?: string;
}

const OTHERS: GpuHelp = {
  text: 'Chrome, Edge, Firefox and Safari have WebGPU in their current versions on most machines.',
};

const ACCELERATION: GpuHelp = {
  text: 'Turn on “Use graphics acceleration when available” in the settings, then restart.',
  address: 'chrome://settings/system',
};

/** What helps in each engine: without WebGPU, and with WebGPU but without a GPU. */
const HELP: Record<Engine, (facts: BrowserFacts) => GpuHelp[]> = {
  chromium: ({ system, hasWebGpu }) => [
    ...(hasWebGpu
      ? [ACCELERATION]
      : [{ text: 'Update the browser: WebGPU came with version 113, on Android with 121.' }]),
    ...(/linux/i.test(system)
      ? [
          {
            text: 'On Linux, set “Unsafe WebGPU Support” and “Vulkan” to Enabled, then restart.',
            address: 'chrome://flags/#enable-unsafe-webgpu',
          },
        ]
      : []),
    { text: 'See what the browser says about WebGPU and the driver.', address: 'chrome://gpu' },
  ],
  firefox: ({ hasWebGpu }) => [
    ...(hasWebGpu
      ? [
          {
            text: 'Use “recommended performance settings”, then restart.',
            address: 'about:preferences',
          },
        ]
      : [
          { text: 'Update Firefox: WebGPU came with version 141, on Windows first.' },
          { text: 'Set dom.webgpu.enabled to true, then restart.', address: 'about:config' },
        ]),
    { text: 'See what Firefox says about WebGPU.', address: 'about:support' },
  ],
  safari: () => [
    { text: 'Update the system: WebGPU came with Safari 26.' },
    { text: 'In an earlier Safari, turn on WebGPU among the Feature Flags of the Develop menu.' },
  ],
  other: () => [],
};

/** What to try, the most likely first. */
export function gpuHelp(facts: BrowserFacts): GpuHelp[] {
  if (!facts.secure) {
    return [
      {
        text:
          'This page came over plain http, where browsers have no WebGPU. Open it over https, or ' +
          'from localhost.',
      },
    ];
  }
  return [...HELP[facts.engine](facts), OTHERS];
}
