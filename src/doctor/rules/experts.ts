// The rule about layers with experts: whether their routers share the work. A dense student has
// none.

import type { ExpertUse } from '../../distill/records';
import { type Evaluation, type Evidence, measured } from '../evidence';
import { deadExperts, named } from '../expert-use';
import type { Finding, Rule } from '../rule';
import { count, percent } from '../words';

/** Of the way from even shares to the same k experts for all tokens. */
const COLLAPSED = 0.8;
/** Evaluations in a row that show it. */
const COLLAPSED_FOR = 2;
const DEAD_FOR = 3;
/** Choices of an even share: with so many, an expert that gets a fifth of it is hardly at 0. */
const ENOUGH_CHOICES = 30;
const BALANCE = 0.01;

type Used = Evaluation & { experts: ExpertUse[] };

/** The latest evaluations after the start that measured the layer at this place. */
const latest = (used: readonly Used[], place: number, length: number): ExpertUse[] =>
  used.slice(-length).flatMap(({ experts }) => experts[place] ?? []);

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

export const expertsCollapse: Rule = {
  title: 'The experts do not share the work',
  watches: 'Each layer’s shares of the held-out tokens’ choices, by expert.',
  threshold:
    'In two evaluations in a row the busiest k experts take four fifths of what they could take ' +
    'beyond an even share: the other experts then see too few tokens to learn from. Or ' +
    'no token chose an expert in three evaluations in a row, where an even share is 30 choices ' +
    'or more: it has no gradient, and does not come back by itself.',
  severity: 'warning',
  caveat:
    'A text of one kind may need few experts; whether idle ones cost anything, only a run with ' +
    'balanced experts shows.',
  explainedBy: ['no-measurement', 'learning-rate-high', 'disconnected-loss'],
  look(evidence: Evidence): Finding | undefined {
    const used = measured(evidence).filter(
      (record): record is typeof record & Used => record.step > 0 && record.experts !== undefined,
    );
    const last = used.at(-1);
    if (!last) return undefined;
    const found = last.experts.flatMap((use, place) => {
      const collapsed = latest(used, place, COLLAPSED_FOR);
      if (collapsed.length === COLLAPSED_FOR && collapsed.every(isCollapsed)) {
        const { experts, share } = busiest(use);
        const even = percent(use.chosen / use.load.length);
        const takes = experts.length === 1 ? 'takes' : 'take';
        return [
          {
            text:
              `In layer ${use.layer}, ${named(experts)} ${takes} ${percent(share)} of the ` +
              `choices; an even share is ${even}`,
            since: COLLAPSED_FOR,
            layer: use.layer,
          },
        ];
      }
      const before = latest(used, place, DEAD_FOR).map(deadExperts);
      const dead = before[0].filter((expert) => before.every((all) => all.includes(expert)));
      const choices = (last.tokens * use.chosen) / use.load.length;
      if (before.length < DEAD_FOR || dead.length === 0 || choices < ENOUGH_CHOICES) return [];
      const are = dead.length === 1 ? 'is' : 'are';
      return [
        {
          text:
            `In layer ${use.layer}, ${named(dead)} of ${use.load.length} ${are} dead: none of ` +
            `${count(last.tokens)} tokens chose ${dead.length === 1 ? 'it' : 'them'} in ` +
            `${DEAD_FOR} evaluations`,
          since: DEAD_FOR,
          layer: use.layer,
        },
      ];
    });
    if (found.length === 0) return undefined;
    const [first, ...others] = found;
    const more = others.length === 0 ? '' : `, and ${count(others.length)} more`;
    return {
      text: `${first.text}${more} (step ${count(last.step)}).`,
      advice: `Balance the experts: add the balance loss with a weight of ${BALANCE}.`,
      region: {
        chart: 'experts',
        from: used[used.length - first.since].step,
        to: last.step,
        layer: first.layer,
      },
    };
  },
};
