// Checks every kernel, or one, against its slow reference on the adapter that Node finds, and
// prints a table. Exits with 1 if a row fails.
//
//   npm run check:gpu [-- KERNEL]
//
// The system chooses the driver; on Linux the environment variable VK_ICD_FILENAMES overrides it.

import { reportText, runChecks } from '../check/run';
import { openGpu } from '../gpu/device';
import { openDawn } from './dawn';

const gpu = await openGpu(await openDawn());
const started = performance.now();
const rows = await runChecks(gpu, () => undefined, { kernel: process.argv[2] });
const seconds = (performance.now() - started) / 1000;
console.log(reportText(gpu.adapter, `Node ${process.version}`, rows, seconds));
process.exit(rows.every(({ passed }) => passed) ? 0 : 1);
