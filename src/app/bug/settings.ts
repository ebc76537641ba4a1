// What can be chosen in the Bug Lab, as tables, and the text that carries it in the address:
// `#bug=replay,batch=1,errors=raised`. A link names its card and what differs from the first of the
// choices. Pure.

/** The ways to lay out four logs are few; as many seeds are plenty. */
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
/** One set of choices a card. */
export type AllSettings = { [C in Card]: Settings<C> };

export const CARDS = Object.keys(OPTIONS) as Card[];

/** What an option can be, the default first. */
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

/** The text after `#bug=` for a card as it is; empty for the first card with all its defaults. */
export function formatState(card: Card, settings: Settings): string {
  const defaults = defaultsOf(card);
  const chosen = Object.entries(settings).filter(([name, value]) => value !== defaults[name]);
  if (card === CARDS[0] && chosen.length === 0) return '';
  return [card, ...chosen.map(([name, value]) => `${name}=${value}`)].join(',');
}

export type Parsed = { card: Card; settings: Settings } | { problem: string };

/** Longer than any link of ours: what is beyond is not repeated in a message. */
const MOST_SHOWN = 40;

/** Reads the text after `#bug=`. What is wrong is named, with the value and what is allowed. */
export function parseState(text: string): Parsed {
  const [name, ...parts] = text.split(',');
  const card = text === '' ? CARDS[0] : CARDS.find((candidate) => candidate === name);
  if (!card)
    return { problem: `There is no experiment ${quoted(name)}. There are ${CARDS.join(', ')}.` };
  const options = new Map<string, readonly string[]>(Object.entries(OPTIONS[card]));
  const settings = defaultsOf(card);
  const seen = new Set<string>();
  for (const part of parts) {
    const [option, ...rest] = part.split('=');
    const value = rest.join('=');
    const choices = options.get(option);
    if (!choices)
      return {
        problem: `${card} has no switch ${quoted(option)}. It has ${[...options.keys()].join(', ')}.`,
      };
    if (seen.has(option)) return { problem: `${option} is given twice. Give it once.` };
    if (!choices.includes(value))
      return { problem: `${option} is ${quoted(value)}. It can be ${spoken(choices)}.` };
    seen.add(option);
    settings[option] = value;
  }
  return { card, settings: settings as Settings };
}

function quoted(text: string): string {
  return `"${text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN)}…` : text}"`;
}

const spoken = (choices: readonly string[]) =>
  choices === SEEDS ? `1 to ${SEEDS.length}` : choices.join(' or ');
