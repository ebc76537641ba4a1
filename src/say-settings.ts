// The settings of what a model is asked to say, on the page and in `npm run say`. Pure.

import type { Field } from './field';

export const SAY_FIELDS = {
  temperature: {
    type: 'number',
    group: 'evaluation',
    label: 'Temperature',
    default: 0.8,
    min: 0,
    max: 5,
    help: 'Below 1 likely tokens gain, above 1 unlikely ones. 0 always takes the likeliest.',
  },
  top_k: {
    type: 'integer',
    group: 'evaluation',
    label: 'Top k',
    default: 40,
    min: 0,
    max: 1_000_000,
    help: 'Chooses among the k likeliest tokens; 0 for all.',
  },
  top_p: {
    type: 'number',
    group: 'evaluation',
    label: 'Top p',
    default: 1,
    min: 0.01,
    max: 1,
    help: 'Chooses among the fewest tokens that together have this probability; 1 for all.',
  },
  seed: {
    type: 'integer',
    group: 'evaluation',
    label: 'Seed',
    default: 1,
    min: 0,
    max: 2 ** 31 - 1,
    help: 'The same seed and settings give the same tokens.',
  },
  tokens: {
    type: 'integer',
    group: 'evaluation',
    label: 'Tokens',
    default: 32,
    min: 1,
    max: 1024,
    help: 'The most tokens to say.',
  },
} as const satisfies Record<string, Field>;

export type SayField = keyof typeof SAY_FIELDS;
export type SaySettings = Record<SayField, number>;

export const SAY_DEFAULTS = Object.fromEntries(
  Object.entries(SAY_FIELDS).map(([name, field]) => [name, field.default]),
) as SaySettings;
