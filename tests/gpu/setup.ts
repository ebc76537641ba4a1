// Runs before each file of gpu tests. The harness may stay loaded from one file to the next, so its
// hooks are registered here.

import { afterAll, afterEach } from 'vitest';
import { closeOwnDevices, endTest } from './harness';

afterEach(endTest);
afterAll(closeOwnDevices);
