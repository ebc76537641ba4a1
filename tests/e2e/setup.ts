// Runs before each file of end-to-end tests. The harness stays loaded from one file to the next, so
// its hook is registered here.

import { afterAll } from 'vitest';
import { closeAll } from './harness';

afterAll(closeAll);
