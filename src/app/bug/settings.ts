// The Bug Lab's cards and their options, and the text that stores them in the address:
// `#bug=replay,batch=1,errors=raised`. A link names its card and the options that differ from the
// defaults. Pure.

import { excerpt } from '../../quote';

/** Four logs have few orders; 99 seeds are plenty. */
const SEEDS = Array.from({ length: 99 }, (_, index) => String(index + 1));

/** The first choice is the default. */
const OPTIONS = {
  replay: {
    batch: ['4', '1'],
    context: ['32', '2'],
    where: ['evaluation', 'training'],
    errors: ['swallowed', 'raised'],
    clamp: ['on', 'off'],
  },
  causes: { seed: SEEDS, log: ['story', 'better'] },
  heads: { axes: ['real', 'claimed'] },
} as const satisfies Record<string, Record<string, readonly string[]>>;

export type Card = keyof typeof OPTIONS;
export type Settings<C extends Card = Card> = {
  [Name in keyof (typeof OPTIONS)[C]]: (typeof OPTIONS)[C][Name] extends readonly (infer Value)[]
    ? Value
    : never;
};
/** The options of every card. */
export type AllSettings = { [C in Card]: Settings<C> };

export const CARDS = Object.keys(OPTIONS) as Card[];

export const TITLES: Record<Card, string> = {
  replay: 'The story, replayed',
  causes: 'Which cause explains this log?',
  heads: 'The bug that raises nothing',
};

/** The values of an option, the default first. */
export function choicesOf<C extends Card, Name extends keyof Settings<C>>(
  card: C,
  name: Name,
): Settings<C>[Name][] {
  const options: Record<PropertyKey, readonly unknown[]> = OPTIONS[card];
  return [...options[name]] as Settings<C>[Name][];
}

export const DEFAULTS = Object.fromEntries(
  CARDS.map((card) => [card, defaultsOf(card)]),
) as AllSettings;

function defaultsOf(card: Card): Record<string, string> {
  const options: Record<string, readonly string[]> = OPTIONS[card];
  return Object.fromEntries(Object.entries(options).map(([name, [first]]) => [name, first]));
}

/** The text after `#bug=`: empty for the first card with all its defaults. */
export function formatState(card: Card, settings: Settings): string {
  const defaults = defaultsOf(card);
  const chosen = Object.entries(settings).filter(([name, value]) => value !== defaults[name]);
  if (card === CARDS[0] && chosen.length === 0) return '';
  return [card, ...chosen.map(([name, value]) => `${name}=${value}`)].join(',');
}

export type ParsedState = { card: Card; settings: Settings } | { problem: string };

/** Parses the text after `#bug=`. A problem names the value and the values allowed. */
export function parseState(text: string): ParsedState {
  const [name, ...assignments] = text.split(',');
  const card = text === '' ? CARDS[0] : CARDS.find((candidate) => candidate === name);
  if (!card) {
    return {
      problem: `There is no experiment ${quote(name)}. The experiments are ${CARDS.join(', ')}.`,
    };
  }
  const options = new Map<string, readonly string[]>(Object.entries(OPTIONS[card]));
  const settings = defaultsOf(card);
  const names = new Set<string>();
  for (const assignment of assignments) {
    const [option, ...rest] = assignment.split('=');
    const value = rest.join('=');
    const choices = options.get(option);
    if (!choices) {
      const known = [...options.keys()].join(', ');
      return { problem: `${card} has no option ${quote(option)}. It has ${known}.` };
    }
    if (names.has(option)) return { problem: `${option} is set more than once.` };
    if (!choices.includes(value))
      return { problem: `${option} is ${quote(value)}. It must be ${choicesText(choices)}.` };
    names.add(option);
    settings[option] = value;
  }
  return { card, settings: settings as Settings };
}

const quote = (text: string) => `"${excerpt(text)}"`;

const choicesText = (choices: readonly string[]) =>
  choices === SEEDS ? `1 to ${SEEDS.length}` : choices.join(' or ');
