// Every kernel's WGSL by its path in this folder, and `kernel`, which makes one of them. The room
// gpu knows how to make kernels, and none of them.

import type { Gpu } from '../gpu/device';
import { type Kernel, kernelFrom, type Specialisation } from '../gpu/kernel';
import { type Struct, structOf } from '../gpu/struct';

const files = import.meta.glob<string>('./**/*.wgsl', {
  query: '?raw',
  eager: true,
  import: 'default',
});

const SOURCES = Object.fromEntries(
  Object.entries(files).map(([path, text]) => [path.replace('./', ''), text]),
);

/** All of them: what an adapter's results depend on. */
export const kernelTexts = (): readonly string[] => Object.values(SOURCES);

/** The kernel in `name`.wgsl, made for these types and constants; compiled once a device. */
export const kernel = (gpu: Gpu, name: string, specialisation?: Specialisation): Kernel =>
  kernelFrom(SOURCES, gpu, name, specialisation);

/** What changes from step to step, a uniform. */
export const STEP: Struct = structOf(SOURCES['step.wgsl'], 'Step');
/** The loss scaler's state, which stays on the GPU from step to step. */
export const SCALER: Struct = structOf(SOURCES['scaler.wgsl'], 'Scaler');
