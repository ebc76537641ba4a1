// Runs before each file of end-to-end tests. The harness stays loaded from one file to the next, so
// its hooks are registered here.

import { afterAll, afterEach, beforeEach } from 'vitest';
import { closeAll, closePages, startOver } from './harness';

// The second try of a failed test begins with nothing of the first, and says why there is one.
beforeEach(async ({ task }) => {
  if (!task.result?.retryCount) return;
  for (const { message, stack } of task.result.errors ?? [])
    console.warn(`${task.name}: the first try failed: ${message}\n${stack}`);
  await startOver();
});
afterEach(closePages);
afterAll(closeAll);
