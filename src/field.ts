// The kinds of rows in the table of settings (fields/), what each kind allows, and the check of a
// value.

import { visible } from './quote';

interface FieldBase {
  label: string;
  /** One line, shown under the control and in `--help`. */
  help: string;
  group: 'models' | 'routers' | 'recipe' | 'optimiser' | 'data' | 'evaluation' | 'numerics';
  /** May change during a run. The charts mark each change with `symbol`. */
  live?: true;
  /** A short name for formulas and charts; without one, the label. */
  symbol?: string;
}
interface NumberField extends FieldBase {
  type: 'number' | 'integer';
  default: number;
  min: number;
  max: number;
  /** How a slider moves; linear by default. */
  scale?: 'log';
}
interface ChoiceField extends FieldBase {
  type: 'choice';
  default: string;
  choices: readonly string[];
}
interface TextField extends FieldBase {
  type: 'text';
  default: string;
  maxLength: number;
  /** Which texts are allowed; all by default. */
  accepts?: (text: string) => boolean;
  /** Describes the allowed texts, as the end of a sentence that begins "It must be". */
  expected?: string;
}
export type Field = NumberField | ChoiceField | TextField;

/** The allowed values, as the end of a sentence: "a whole number from 1 to 12". */
export function allowedValues(field: Field): string {
  if (field.type === 'choice') {
    return field.choices.length === 1 ? field.choices[0] : `one of ${field.choices.join(', ')}`;
  }
  if (field.type === 'text')
    return field.expected ?? `text of at most ${field.maxLength} characters`;
  const kind = field.type === 'integer' ? 'a whole number' : 'a number';
  return `${kind} from ${field.min} to ${field.max}`;
}

/** A value as error messages show it: quoted if it is text, on one line, never long. */
export function shown(value: unknown): string {
  if (typeof value === 'object' && value !== null) return 'an object';
  const quote = typeof value === 'string' ? '"' : '';
  // Escaped, so that line breaks cannot spoil the message. Cut first, to keep it cheap.
  const text = quote ? JSON.stringify(String(value).slice(0, 60)).slice(1, -1) : String(value);
  return quote + visible(text.length > 40 ? `${text.slice(0, 39)}…` : text) + quote;
}

/** An error message with the value and the allowed values; undefined if the value is valid. */
export function checkValue(name: string, field: Field, value: unknown): string | undefined {
  const rule = `It must be ${allowedValues(field)}.`;
  const problem = `${name} is ${shown(value)}. ${rule}`;
  if (field.type === 'choice')
    return field.choices.some((choice) => choice === value) ? undefined : problem;
  if (field.type === 'text') {
    if (typeof value !== 'string') return problem;
    if (value.length > field.maxLength) {
      return `${name} has ${value.length} characters. It must have at most ${field.maxLength}.`;
    }
    // An unpaired surrogate has no UTF-8 form, so neither a link nor the tokenizer could carry it.
    if (/\p{Surrogate}/u.test(value))
      return `${name} contains half of a character pair, which is not valid text. ${rule}`;
    return field.accepts?.(value) === false ? problem : undefined;
  }
  if (typeof value !== 'number' || !(value >= field.min && value <= field.max)) return problem;
  return field.type === 'integer' && !Number.isInteger(value) ? problem : undefined;
}
