// The examination: every rule looks at the evidence, and what one verdict explains is not said
// again. Pure.

import type { Config } from '../config';
import { atStart, type Evidence, measured } from './evidence';
import type { Finding, Rule, Severity } from './rule';
import { RULE_NAMES, RULES, type RuleName } from './rules';
import { counted, figure } from './words';

/** What a rule found, as it is shown and kept. Plain data. */
export interface Verdict extends Finding {
  rule: RuleName;
  title: string;
  severity: Severity;
  caveat: string;
}

const ORDER: readonly Severity[] = ['problem', 'warning', 'note'];

/** The verdicts on a run, the most severe first; none if no rule speaks. */
export function examine(evidence: Evidence): Verdict[] {
  const found = new Map<RuleName, Finding>();
  for (const rule of RULE_NAMES) {
    const finding = RULES[rule].look(evidence);
    if (finding) found.set(rule, finding);
  }
  return [...found]
    .filter(([rule]) => {
      const { explainedBy = [] }: Rule = RULES[rule];
      return !explainedBy.some((other) => found.has(other as RuleName));
    })
    .map(([rule, finding]) => {
      const { title, severity, caveat } = RULES[rule];
      const change = changeOf(evidence.config, finding.change);
      return { rule, title, severity, caveat, ...finding, change };
    })
    .sort((a, b) => ORDER.indexOf(a.severity) - ORDER.indexOf(b.severity));
}

/** What of a change is not so already; undefined if nothing is left. */
function changeOf(config: Config, change: Partial<Config> = {}): Partial<Config> | undefined {
  const names = Object.keys(change) as (keyof Config)[];
  const left = names.filter((name) => change[name] !== config[name]);
  return left.length === 0
    ? undefined
    : Object.fromEntries(left.map((name) => [name, change[name]]));
}

/** One sentence on a run without verdicts: what the Doctor has seen so far. */
export function healthyLine(evidence: Evidence): string {
  const { steps } = evidence;
  const [start, last] = [atStart(evidence), measured(evidence).at(-1)];
  const step = steps.at(-1);
  if (!step || !start || !last || last.step === 0)
    return 'No problem so far; too early to say more.';
  // The last step of a schedule that decays to 0 moves nothing: alone it says nothing.
  const largest = Math.max(0, ...measured(evidence).map(({ updateRatio }) => updateRatio ?? 0));
  const moved =
    largest > 0 ? `a step moved the weights by at most ${figure(largest)} of their size, ` : '';
  const [measure, from, to] =
    start.kl !== undefined && last.kl !== undefined
      ? ['KL', start.kl, last.kl]
      : ['perplexity', start.studentPerplexity, last.studentPerplexity];
  const fell = to < from ? 'fell' : 'went';
  return (
    `Healthy: ${moved}${measure} ${fell} from ${figure(from)} to ${figure(to)} in ` +
    `${counted(last.step, 'step')}, ${counted(step.skippedTotal, 'step')} skipped.`
  );
}
