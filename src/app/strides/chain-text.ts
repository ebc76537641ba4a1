// A chain as text, for the link: `2,4,6:slice(1,0,-1):view(-1,6)`. Written to be read and edited by
// hand. It is not trusted: reading it gives a whole chain that the lab can show, or one line that
// says what is wrong.

import type { Argument, Chain, Operation, Stage } from './chain';
import { ChainProblem, callOf, isOperationName, OPERATIONS, run, takes } from './chain';

/** Far more than the longest chain needs. */
const MOST_CHARACTERS = 400;
/** Of what is wrong, this much is quoted. */
const MOST_QUOTED = 40;

const NUMBER = /^(0|-?[1-9]\d{0,2})$/;
const CALL = /^([a-z_]+)\(([^()]*)\)$/i;

export interface Opened {
  chain: Chain;
  stages: Stage[];
}

/** The text of a chain, as it stands in the link. */
export function formatChain({ shape, operations }: Chain): string {
  return [shape.join(','), ...operations.map(callOf)].join(':');
}

/**
 * The chain of a text, carried out; or why the lab cannot open it. Percent signs of a link and
 * spaces are read away.
 */
export function parseChain(text: string): Opened | { problem: string } {
  try {
    if (text.length > MOST_CHARACTERS)
      fail(`It has ${text.length} characters, where ${MOST_CHARACTERS} are the most.`);
    const [start, ...calls] = closed(decoded(text).replaceAll(' ', '')).split(':');
    const shape = start.split(',').map((size) => number(size, 'The start'));
    const chain = { shape, operations: calls.map(operationOf) };
    return { chain, stages: run(chain) };
  } catch (error) {
    if (!(error instanceof ChainProblem)) throw error;
    return { problem: error.message };
  }
}

/** Chat programs take a bracket at a link's end for the sentence's own, and leave it out. */
function closed(text: string): string {
  return /\([^()]*$/.test(text) ? `${text})` : text;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return fail(`${quoted(text)} holds a percent sign that stands for no character.`);
  }
}

function operationOf(call: string, i: number): Operation {
  const where = `Operation ${i + 1}`;
  const [, name, list] = CALL.exec(call) ?? [];
  if (name === undefined)
    return fail(`${where}, ${quoted(call)}, is not written as name(numbers), e.g. view(-1,6).`);
  if (!isOperationName(name))
    return fail(`${where}, ${quoted(name)}, is none of: ${OPERATIONS.join(', ')}.`);
  const args = list === '' ? [] : list.split(',').map((arg, at) => argument(arg, at, name, where));
  const [fewest, most] = takes(name);
  if (args.length < fewest || args.length > most) {
    fail(
      `${where}, ${name}, takes ${fewest === most ? fewest : `${fewest} to ${most}`} numbers, not ${args.length}.`,
    );
  }
  if (
    ['view', 'reshape', 'expand'].includes(name) &&
    args.some((size) => size !== null && (size < -1 || size === 0))
  ) {
    fail(`${where}, ${quoted(call)}: a size is 1 or more, or -1.`);
  }
  return { name, args };
}

/** In a slice, nothing between two commas is an open end. */
function argument(text: string, at: number, name: string, where: string): Argument {
  return name === 'slice' && at > 0 && text === '' ? null : number(text, where);
}

function number(text: string, where: string): number {
  if (!NUMBER.test(text))
    fail(`${where} has ${quoted(text)} where a whole number of up to 3 digits should stand.`);
  return Number(text);
}

const quoted = (text: string) =>
  text === ''
    ? 'nothing'
    : `"${text.length > MOST_QUOTED ? `${text.slice(0, MOST_QUOTED)}…` : text}"`;

function fail(problem: string): never {
  throw new ChainProblem(problem);
}
