// What strangers send, and what reads it, and what may be cut off: one row each.

import { FILE_CUTS } from '../crash/files';
import { RUN_CUTS } from '../crash/runs';
import { KEPT } from './kept';
import { LINKS } from './links';
import { MODELS } from './models';
import type { Attack } from './run';
import { SHOWN } from './shown';
import { TEXTS } from './texts';

export const ATTACKS: readonly Attack[] = [
  ...[LINKS, MODELS, TEXTS, KEPT, [SHOWN]].flat(),
  ...[...RUN_CUTS, ...FILE_CUTS],
];
