// Every kernel has checks, and every name that the checks take is a kernel's.

import { expect, test } from 'vitest';
import { KERNEL_NAMES } from '../../src/check/registry';

const FILES = import.meta.glob<string>('../../src/kernels/**/*.wgsl', {
  query: '?raw',
  import: 'default',
  eager: true,
});
const nameOf = (path: string) => path.replace(/^.*\/(\w+)\.wgsl$/, '$1');

test('the registry of checks names every file that has an entry point, and only files', () => {
  const names = Object.keys(FILES).map(nameOf);
  expect(names).toEqual(expect.arrayContaining([...KERNEL_NAMES]));
  const kernels = Object.entries(FILES).filter(([, text]) => text.includes('@compute'));
  expect(kernels.length).toBeGreaterThan(20);
  expect(KERNEL_NAMES).toEqual(expect.arrayContaining(kernels.map(([path]) => nameOf(path))));
});
