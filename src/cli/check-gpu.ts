// Checks every kernel against its slow twin on the adapter that Node finds, and prints the table.
// Exits 1 if a row fails.
//
//   npm run check:gpu
//
// Which driver is checked is the system's choice; on Linux the environment variable
// VK_ICD_FILENAMES names another.

import { reportText, runChecks } from '../check/run';
import { openGpu } from '../gpu/device';
import { openDawn } from './dawn';

const gpu = await openGpu(await openDawn());
const started = performance.now();
const rows = await runChecks(gpu, () => undefined);
const seconds = (performance.now() - started) / 1000;
console.log(reportText(gpu.adapter, `Node ${process.version}`, rows, seconds));
process.exit(rows.every(({ passed }) => passed) ? 0 : 1);
