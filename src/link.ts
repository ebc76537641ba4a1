// The link that carries a run's settings: `v=1` and the fields that differ from their defaults,
// after a page's `#`. Written to be read and edited by hand. It is not trusted: reading it gives a
// whole valid config, or what is wrong with it.

import type { Config, FieldName } from './config';
import { allowed, checkConfig, checkField, DEFAULTS, FIELDS, isFieldName, shown } from './config';

const VERSION = '1';

/** More than these would be noise. */
const MOST_PROBLEMS = 5;

const NUMBER = /^-?(\d+(\.\d+)?|\.\d+)(e[+-]?\d+)?$/i;

/**
 * The link of a config, without the `#`: `v=1&alpha=0.5&prompt=The%20sea`. Fields come in the
 * table's order. Throws if the config is not valid, as checkConfig says: its link could not be
 * opened.
 */
export function formatLink(config: Config): string {
  const problems = checkConfig(config);
  if (problems.length > 0)
    throw new Error(`These settings have no link yet. ${problems.join(' ')}`);
  const differing = (Object.keys(FIELDS) as FieldName[]).filter(
    (name) => config[name] !== DEFAULTS[name],
  );
  return [
    `v=${VERSION}`,
    ...differing.map((name) => `${name}=${escaped(String(config[name]))}`),
  ].join('&');
}

/**
 * Chat and mail programs end a link before such characters, or drop them at its end; a number's
 * point is safe inside.
 */
function escaped(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*~]|\.$/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/**
 * The config of a link, with or without its `#`; an empty one gives the defaults. All or nothing:
 * with any problem there is no config, and each problem is one short line that names the field, its
 * value and what is allowed.
 */
export function parseLink(hash: string): { config: Config } | { problems: string[] } {
  const text = hash.replace(/^#/, '');
  if (text === '') return { config: { ...DEFAULTS } };

  const problems: string[] = [];
  const unknown: string[] = [];
  const given = new Map<string, number>();
  let version: string | undefined;
  const config: Record<string, unknown> = { ...DEFAULTS };

  for (const part of text.split('&')) {
    // Left behind where somebody deleted a field; it says nothing, so nothing is lost.
    if (part === '') continue;
    const equals = part.indexOf('=');
    const rawName = equals < 0 ? part : part.slice(0, equals);
    const raw = equals < 0 ? undefined : part.slice(equals + 1);
    const name = decoded(rawName) ?? rawName;
    given.set(name, (given.get(name) ?? 0) + 1);
    if (name === 'v') version ??= raw ?? '';
    else if (!isFieldName(name)) unknown.push(name);
    else {
      const value = fieldValue(name, raw);
      const problem = 'problem' in value ? value.problem : checkField(name, value.value);
      if (problem) problems.push(problem);
      else if ('value' in value) config[name] = value.value;
    }
  }

  // A link from another version may mean anything by its fields, so nothing is said about them.
  const wrongVersion = versionProblem(version);
  if (wrongVersion && version !== undefined) return { problems: [wrongVersion] };
  if (wrongVersion) problems.unshift(wrongVersion);
  for (const [name, times] of given) {
    if (times > 1 && (name === 'v' || isFieldName(name))) {
      problems.push(`${name} is given ${times} times. Give it once.`);
    }
  }
  if (unknown.length > 0) problems.push(unknownProblem(unknown));
  if (problems.length === 0) problems.push(...checkConfig(config as Config));
  if (problems.length === 0) return { config: config as Config };
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

/** A field's value from a link's text; whether the value is allowed is checkField's matter. */
function fieldValue(
  name: FieldName,
  raw: string | undefined,
): { value: unknown } | { problem: string } {
  const takes = `It takes ${allowed(name)}.`;
  if (raw === undefined) return { problem: `${name} has no value. ${takes}` };
  const text = decoded(raw);
  if (text === undefined) {
    return {
      problem: `${name} is ${shown(raw)}, which is not percent-encoded UTF-8. ${takes} Write a % sign as %25.`,
    };
  }
  return readValue(name, text);
}

/** A field's value as a person writes it; whether it is allowed is checkField's matter. */
export function readValue(name: FieldName, text: string): { value: unknown } | { problem: string } {
  const { type } = FIELDS[name];
  if (type === 'choice' || type === 'text') return { value: text };
  const problem = `${name} is ${shown(text)}. It takes ${allowed(name)}.`;
  return NUMBER.test(text) ? { value: Number(text) } : { problem };
}

function versionProblem(version: string | undefined): string | undefined {
  if (version === VERSION) return undefined;
  if (version === undefined) return `v is missing. A link begins with v=${VERSION}, its version.`;
  const from = /^[1-9]\d*$/.test(version)
    ? 'The link was made by a newer Stillhouse. Reload the page to get it.'
    : '';
  return `v is ${shown(version)}. It takes only ${VERSION}. ${from}`.trimEnd();
}

function unknownProblem(names: string[]): string {
  const listed = names.slice(0, 3).map(shown).join(', ');
  const more = names.length > 3 ? ` and ${names.length - 3} more` : '';
  const are = names.length > 1 ? 'are not settings' : 'is not a setting';
  return `${listed}${more} ${are}. The settings are v, ${Object.keys(FIELDS).join(', ')}.`;
}
