// The link that carries a run's settings: after the page's `#`, `v=1` and the fields that differ
// from their defaults, easy to read and edit by hand. `ghost` may follow them, the curve of a run
// with these settings (runs/ghost.ts reads it). Links are not trusted: parsing one gives a
// complete, valid config, or a list of problems.

import type { Config, FieldName } from './config';
import { allowed, checkConfig, checkField, DEFAULTS, FIELDS, isFieldName, shown } from './config';
import { didYouMean, nearest } from './nearest';

const VERSION = '1';
const GHOST = 'ghost';

/** Further problems are only counted. */
const MOST_PROBLEMS = 5;
/** Unknown names that a message lists; further ones are only counted. */
const MOST_NAMES = 3;
const WHERE_NAMES_ARE = 'To see a setting’s name, change it on the page and look at the address.';

/** No settings at all, but one word, short enough to be repeated. */
const SINGLE_WORD = /^[\w-]{1,40}$/;

const NUMBER = /^-?(\d+(\.\d+)?|\.\d+)(e[+-]?\d+)?$/i;

/**
 * The link of a config, without the `#`: `v=1&alpha=0.5&prompt=The%20sea`. Fields stand in the
 * table's order, and a ghost's text after them.
 * @throws Error for a config that checkConfig refuses, because its link could not be opened
 */
export function formatLink(config: Config, ghost?: string): string {
  const problems = checkConfig(config);
  if (problems.length > 0)
    throw new Error(`These settings cannot become a link. ${problems.join(' ')}`);
  const differing = (Object.keys(FIELDS) as FieldName[]).filter(
    (name) => config[name] !== DEFAULTS[name],
  );
  return [
    `v=${VERSION}`,
    ...differing.map((name) => `${name}=${escaped(String(config[name]))}`),
    ...(ghost === undefined ? [] : [`${GHOST}=${escaped(ghost)}`]),
  ].join('&');
}

/**
 * Percent-encodes what chat and mail programs would cut off: they end a link at these characters,
 * or drop a full stop or an underscore at its end. Inside, as in 0.5, both are safe.
 */
function escaped(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*~]|[._]$/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/**
 * The config of a link, with or without its `#`; an empty link gives the defaults. All or nothing:
 * any problem means no config. Each problem is one short line with the field, its value and the
 * allowed values. `ghost` is the ghost's text, if there is any, and not checked; of two it is
 * empty, which is none.
 */
export function parseLink(
  hash: string,
): { config: Config; ghost?: string } | { problems: string[] } {
  const text = hash.replace(/^#/, '');
  if (text === '') return { config: { ...DEFAULTS } };

  const problems: string[] = [];
  const unknown: string[] = [];
  const times = new Map<string, number>();
  let version: string | undefined;
  let ghost: string | undefined;
  const config: Record<string, unknown> = { ...DEFAULTS };

  for (const part of text.split('&')) {
    // `&&` is left behind when someone deletes a field by hand. Harmless.
    if (part === '') continue;
    const equals = part.indexOf('=');
    const rawName = equals < 0 ? part : part.slice(0, equals);
    const raw = equals < 0 ? undefined : part.slice(equals + 1);
    const name = decoded(rawName) ?? rawName;
    times.set(name, (times.get(name) ?? 0) + 1);
    if (name === 'v') version ??= raw ?? '';
    else if (name === GHOST) ghost = ghost === undefined ? (decoded(raw ?? '') ?? '') : '';
    else if (!isFieldName(name)) unknown.push(name);
    else {
      const value = fieldValue(name, raw);
      const problem = 'problem' in value ? value.problem : checkField(name, value.value);
      if (problem) problems.push(problem);
      else if ('value' in value) config[name] = value.value;
    }
  }

  // Such as a mistyped room.
  if (SINGLE_WORD.test(text))
    return { problems: [`“${text}” is not a link of this page. Its settings stay as they are.`] };
  // Fields may mean something else in another version, so their problems are not reported.
  const wrongVersion = versionProblem(version);
  if (wrongVersion && version !== undefined) return { problems: [wrongVersion] };
  if (wrongVersion) problems.unshift(wrongVersion);
  for (const [name, count] of times) {
    if (count > 1 && (name === 'v' || isFieldName(name)))
      problems.push(`${name} is given ${count} times. Give it once.`);
  }
  if (unknown.length > 0) problems.push(unknownProblem(unknown));
  if (problems.length === 0) problems.push(...checkConfig(config as Config));
  if (problems.length === 0)
    return ghost === undefined ? { config: config as Config } : { config: config as Config, ghost };
  const more = problems.length - MOST_PROBLEMS;
  return {
    problems:
      more > 0
        ? [...problems.slice(0, MOST_PROBLEMS), `There are ${more} more problems.`]
        : problems,
  };
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** Decodes a field's value. The caller checks it with checkField. */
function fieldValue(
  name: FieldName,
  raw: string | undefined,
): { value: unknown } | { problem: string } {
  const rule = `It must be ${allowed(name)}.`;
  if (raw === undefined) return { problem: `${name} has no value. ${rule}` };
  const text = decoded(raw);
  if (text === undefined) {
    const problem = `${name} is ${shown(raw)}, which is not percent-encoded UTF-8.`;
    return { problem: `${problem} ${rule} Write a % sign as %25.` };
  }
  return readValue(name, text);
}

/** Reads a value as people write it. The caller checks it with checkField. */
export function readValue(name: FieldName, text: string): { value: unknown } | { problem: string } {
  const { type } = FIELDS[name];
  if (type === 'choice' || type === 'text') return { value: text };
  const problem = `${name} is ${shown(text)}. It must be ${allowed(name)}.`;
  return NUMBER.test(text) ? { value: Number(text) } : { problem };
}

function versionProblem(version: string | undefined): string | undefined {
  if (version === VERSION) return undefined;
  if (version === undefined) return `v is missing. A link starts with its version, v=${VERSION}.`;
  const hint = /^[1-9]\d*$/.test(version)
    ? 'The link was made by a newer Stillhouse. Reload the page to update it.'
    : '';
  return `v is ${shown(version)}. It must be ${VERSION}. ${hint}`.trimEnd();
}

function unknownProblem(unknown: string[]): string {
  const listed = unknown.slice(0, MOST_NAMES);
  const more = unknown.length > MOST_NAMES ? ` and ${unknown.length - MOST_NAMES} more` : '';
  const are = unknown.length > 1 ? 'are not settings' : 'is not a setting';
  // One suggestion for each of several names; for a single name, all that are near.
  const perName = unknown.length > 1 ? 1 : MOST_NAMES;
  const near = listed.flatMap((name) => nearest(name, Object.keys(FIELDS)).slice(0, perName));
  const guess = near.length > 0 ? ` ${didYouMean([...new Set(near)])}` : '';
  return `${listed.map(shown).join(', ')}${more} ${are}.${guess} ${WHERE_NAMES_ARE}`;
}
