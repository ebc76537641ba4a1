// The rule about layers with experts: whether their routers share the work. A dense student has
// none.

import type { ExpertUse } from '../../distill/records';
import { type Evidence, measured } from '../evidence';
import { deadExperts, named } from '../expert-use';
import type { Finding, Rule } from '../rule';
import { count, counted, percent, rounded } from '../words';

/** Of the way from even shares to the same k experts for all tokens. */
const COLLAPSED = 0.8;
/** Evaluations in a row that show it: an undecided router may swing between two. */
const IN_A_ROW = 3;
/** Choices of an even share: with so many, an expert that gets a fifth of it is hardly at 0. */
const ENOUGH_CHOICES = 30;
/** The balance loss as published models weigh it, and as much as the setting takes. */
const BALANCE = 0.01;
const MOST = 1;

/** A layer's k busiest experts, and their share of the choices. */
function busiest({ load, chosen }: ExpertUse): { experts: number[]; share: number } {
  const order = load.map((_, expert) => expert).sort((a, b) => load[b] - load[a]);
  const experts = order.slice(0, chosen).sort((a, b) => a - b);
  return { experts, share: experts.reduce((sum, expert) => sum + load[expert], 0) };
}

function isCollapsed(use: ExpertUse): boolean {
  const even = use.chosen / use.load.length;
  return even < 1 && busiest(use).share >= even + COLLAPSED * (1 - even);
}

/** What is wrong with a layer, whose last evaluations these are; undefined if nothing is. */
function idle(uses: readonly ExpertUse[], tokens: number): string | undefined {
  const last = uses[uses.length - 1];
  const { layer, chosen, load } = last;
  const { experts, share } = busiest(last);
  const same = uses.every((use) => String(busiest(use).experts) === String(experts));
  if (same && uses.every(isCollapsed)) {
    const takes = experts.length === 1 ? 'takes' : 'take';
    return (
      `In layer ${layer}, ${named(experts)} ${takes} ${percent(share)} of the choices; an even ` +
      `share is ${percent(chosen / load.length)}`
    );
  }
  const dead = deadExperts(last).filter((expert) => uses.every(({ load }) => load[expert] === 0));
  if (dead.length === 0 || (tokens * chosen) / load.length < ENOUGH_CHOICES) return undefined;
  const [are, them] = dead.length === 1 ? ['is', 'it'] : ['are', 'them'];
  return (
    `In layer ${layer}, ${named(dead)} of ${load.length} ${are} dead: none of ${count(tokens)} ` +
    `tokens chose ${them} in ${IN_A_ROW} evaluations`
  );
}

/** More of the balance loss; at its most there is nothing to propose. */
function cure({ config: { router_balance: now } }: Evidence): Pick<Finding, 'advice' | 'change'> {
  const router_balance = Math.min(MOST, Math.max(BALANCE, rounded(10 * now)));
  return now >= MOST
    ? { advice: 'Lower the learning rate, or use fewer experts.' }
    : {
        advice: `Balance the experts: set the weight of the balance loss to ${router_balance}.`,
        change: { router_balance },
      };
}

export const expertsCollapse: Rule = {
  title: 'The experts do not share the work',
  watches: 'Each layer’s shares of the held-out tokens’ choices, by expert.',
  threshold:
    'In three evaluations in a row the same k experts take four fifths of what they could take ' +
    'beyond an even share: the other experts then see too few tokens to learn from. Or ' +
    'no token chose an expert in three evaluations in a row, where an even share is 30 choices ' +
    'or more: it has no gradient, and does not come back by itself.',
  severity: 'warning',
  caveat:
    'A text of one kind may need few experts; whether idle ones cost anything, only a run with ' +
    'balanced experts shows.',
  explainedBy: ['no-measurement', 'learning-rate-high', 'disconnected-loss'],
  look(evidence: Evidence): Finding | undefined {
    const used = measured(evidence)
      .filter(({ step, experts }) => step > 0 && experts !== undefined)
      .slice(-IN_A_ROW);
    if (used.length < IN_A_ROW) return undefined;
    const [first, last] = [used[0], used[IN_A_ROW - 1]];
    const found = last.experts?.flatMap(({ layer }, place) => {
      const uses = used.flatMap(({ experts }) => experts?.[place] ?? []);
      const text = idle(uses, last.tokens);
      return text === undefined ? [] : [{ layer, text }];
    });
    if (!found || found.length === 0) return undefined;
    const [{ layer, text }, ...others] = found;
    const more =
      others.length === 0 ? '' : `; it is the same in ${counted(others.length, 'other layer')}`;
    return {
      text: `${text}${more} (step ${count(last.step)}).`,
      ...cure(evidence),
      region: { chart: 'experts', from: first.step, to: last.step, layer },
    };
  },
};
