// A chain as text, for the link: `2,4,6:slice(1,0,-1):view(-1,6)`. People can read and edit it.
// The text is untrusted: parsing gives a chain that the lab can show, or one line that says what is
// wrong.

import { excerpt } from '../../quote';
import type { Argument, Chain, Operation, Stage } from './chain';
import { arityOf, ChainProblem, callOf, isOperationName, OPERATIONS, run } from './chain';

/** Far more than the longest chain needs. */
const MOST_CHARACTERS = 400;

const NUMBER = /^(0|-?[1-9]\d{0,2})$/;
const CALL = /^([a-z_]+)\(([^()]*)\)$/i;

export interface ParsedChain {
  chain: Chain;
  stages: Stage[];
}

/** The chain's text in the link. */
export function formatChain({ shape, operations }: Chain): string {
  return [shape.join(','), ...operations.map(callOf)].join(':');
}

/**
 * Parses and runs a chain, or says why the lab cannot open it. Percent-encoding and spaces are
 * accepted.
 */
export function parseChain(text: string): ParsedChain | { problem: string } {
  try {
    if (text.length > MOST_CHARACTERS) {
      fail(`The chain has ${text.length} characters; the limit is ${MOST_CHARACTERS}.`);
    }
    const [start, ...calls] = closeBracket(decode(text).replaceAll(' ', '')).split(':');
    const shape = start.split(',').map((size) => parseNumber(size, 'The start shape'));
    const chain = { shape, operations: calls.map(parseOperation) };
    return { chain, stages: run(chain) };
  } catch (error) {
    if (!(error instanceof ChainProblem)) throw error;
    return { problem: error.message };
  }
}

/** Chat programs often drop a closing bracket at the end of a link. */
function closeBracket(text: string): string {
  return /\([^()]*$/.test(text) ? `${text})` : text;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return fail(`${quote(text)} has a percent sign that encodes no character. Write it as %25.`);
  }
}

function parseOperation(call: string, i: number): Operation {
  const where = `Operation ${i + 1}`;
  const [, name, list] = CALL.exec(call) ?? [];
  if (name === undefined) {
    return fail(`${where} is ${quote(call)}. Write it as name(numbers), e.g. view(-1,6).`);
  }
  if (!isOperationName(name)) {
    return fail(`${where} is ${quote(name)}. It must be one of: ${OPERATIONS.join(', ')}.`);
  }
  const args =
    list === '' ? [] : list.split(',').map((arg, at) => parseArgument(arg, at, name, where));
  const [fewest, most] = arityOf(name);
  if (args.length < fewest || args.length > most) {
    const range = fewest === most ? fewest : `${fewest} to ${most}`;
    fail(`${where}, ${name}, takes ${range} numbers, not ${args.length}.`);
  }
  if (
    ['view', 'reshape', 'expand'].includes(name) &&
    args.some((size) => size !== null && (size < -1 || size === 0))
  ) {
    fail(`${where}, ${quote(call)}: each size must be 1 or more, or -1.`);
  }
  return { name, args };
}

/** In a slice, an empty start, stop or step means the default. */
function parseArgument(text: string, at: number, name: string, where: string): Argument {
  return name === 'slice' && at > 0 && text === '' ? null : parseNumber(text, where);
}

function parseNumber(text: string, where: string): number {
  if (!NUMBER.test(text)) {
    fail(`${where} has ${quote(text)} in place of a whole number of up to 3 digits.`);
  }
  return Number(text);
}

const quote = (text: string) => (text === '' ? 'nothing' : `"${excerpt(text)}"`);

function fail(problem: string): never {
  throw new ChainProblem(problem);
}
