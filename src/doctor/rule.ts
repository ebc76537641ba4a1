// What a rule is. The table of them is rules.ts.

import type { Config } from '../config';
import type { Evidence } from './evidence';

/**
 * problem: the run does not do what it is for. warning: it works, and less well than it could.
 * note: worth knowing.
 */
export type Severity = 'problem' | 'warning' | 'note';

/** The charts of the page that a verdict can point to. */
export type ChartName = 'loss' | 'perplexity' | 'gradient' | 'scale' | 'experts';

/** The steps that a verdict is about, in one chart. */
export interface Region {
  chart: ChartName;
  from: number;
  to: number;
  /** Of the chart of experts: the layer, from 0. */
  layer?: number;
}

export interface Finding {
  /** The verdict: one sentence with its numbers. */
  text: string;
  /** What to do, in words. */
  advice: string;
  /** The same as settings, where settings can do it. */
  change?: Partial<Config>;
  region?: Region;
}

export interface Rule {
  title: string;
  /** The records and settings that it reads. */
  watches: string;
  /** When it speaks, and why there. */
  threshold: string;
  severity: Severity;
  /** What its verdict does not prove. */
  caveat: string;
  /** Rules whose verdict would explain this one's: it is then not reported. */
  explainedBy?: readonly string[];
  look(evidence: Evidence): Finding | undefined;
}
