// One row of the table of settings: what kinds there are, what each takes, and what is wrong with a
// value. The rows are in config.ts.

interface FieldBase {
  label: string;
  /** One line, shown under the control and in `--help`. */
  help: string;
  group: 'models' | 'recipe' | 'optimiser' | 'data' | 'evaluation' | 'numerics';
  /** May change while a run is going on. The charts mark each change by its `symbol`. */
  live?: true;
  /** A short name for formulas and charts; without one, the label. */
  symbol?: string;
}
interface NumberField extends FieldBase {
  type: 'number' | 'integer';
  default: number;
  min: number;
  max: number;
  /** How a slider should move. */
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
  /** Which texts are allowed; all, if not given. */
  accepts?: (text: string) => boolean;
  /** What they are, to end a sentence with. */
  takes?: string;
}
export type Field = NumberField | ChoiceField | TextField;

/** What a field takes, to end a sentence with: "a whole number from 1 to 12". */
export function taken(field: Field): string {
  if (field.type === 'choice') {
    return field.choices.length === 1
      ? `only ${field.choices[0]}`
      : `one of ${field.choices.join(', ')}`;
  }
  if (field.type === 'text') return field.takes ?? `text of at most ${field.maxLength} characters`;
  return `${field.type === 'integer' ? 'a whole number' : 'a number'} from ${field.min} to ${field.max}`;
}

/** A value as messages show it: on one line, and never long. */
export function shown(value: unknown): string {
  if (typeof value === 'object' && value !== null) return 'an object';
  const quote = typeof value === 'string' ? '"' : '';
  // Escaped, so that line breaks and the like cannot upset the message; cut before, so that it
  // stays cheap.
  const text = quote ? JSON.stringify(String(value).slice(0, 60)).slice(1, -1) : String(value);
  return quote + (text.length > 40 ? `${text.slice(0, 39)}…` : text) + quote;
}

/**
 * What is wrong with the value of the field of that name, with the value and what is allowed;
 * undefined if nothing is.
 */
export function checkValue(name: string, field: Field, value: unknown): string | undefined {
  const takes = `It takes ${taken(field)}.`;
  const problem = `${name} is ${shown(value)}. ${takes}`;
  if (field.type === 'choice')
    return field.choices.some((choice) => choice === value) ? undefined : problem;
  if (field.type === 'text') {
    if (typeof value !== 'string') return problem;
    if (value.length > field.maxLength) {
      return `${name} has ${value.length} characters. It takes text of at most ${field.maxLength} characters.`;
    }
    // Half of a character pair has no UTF-8, so neither a link nor the tokenizer could carry it.
    if (/\p{Surrogate}/u.test(value)) return `${name} ends or begins inside a character. ${takes}`;
    return field.accepts?.(value) === false ? problem : undefined;
  }
  if (typeof value !== 'number' || !(value >= field.min && value <= field.max)) return problem;
  return field.type === 'integer' && !Number.isInteger(value) ? problem : undefined;
}
