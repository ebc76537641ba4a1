// `npm run bench`: Stillhouse beside TensorFlow.js and jax-js, in one process on one adapter (Node
// and Dawn; the system or VK_ICD_FILENAMES chooses the driver). Prints tables; --json FILE writes
// all timings. The flags are in options.ts.

import { writeFile } from 'node:fs/promises';
import { openDawn } from '../../src/cli/dawn';
import { openGpu } from '../../src/gpu/device';
import { addBrowserGlobals } from './node-globals';
import { type Options, parseOptions } from './options';
import { findPyTorch } from './peer-pytorch';
import { Disagreement } from './result';
import { runBench } from './run';

try {
  const options: Options = parseOptions(process.argv.slice(2));
  const gpu = await openGpu(await openDawn());
  addBrowserGlobals();
  const pytorch = findPyTorch();
  if (!pytorch) console.log('python3 has no torch: PyTorch’s row is left out.');
  const report = await runBench(
    gpu,
    options,
    `Node ${process.version}, Dawn`,
    pytorch ? [pytorch] : [],
  );
  if (options.json) await writeFile(options.json, `${JSON.stringify([report], null, 1)}\n`);
  process.exit(0);
} catch (error) {
  console.error(error instanceof Disagreement ? `bench: ${error.message}` : error);
  process.exit(1);
}
