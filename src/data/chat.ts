// Conversations as text: a model's chat template, rendered by the library that transformers.js
// uses, and which characters of it the assistant says. The only file that imports that library.

import { Environment, Interpreter, Template } from '@huggingface/jinja';
import { excerpt } from '../quote';
import { CorpusError } from './corpus';

/** A turn of a conversation. Templates may read further fields. */
export interface ChatMessage {
  role: string;
  content: string;
}

/** A conversation as its template writes it. */
export interface RenderedChat {
  text: string;
  /** [from, to) in characters: what the assistant says, up to the token that ends its turn. */
  said: [from: number, to: number][];
}

/** @throws CorpusError if the template refuses the conversation, or nothing in it is said */
export type RenderChat = (messages: readonly ChatMessage[]) => RenderedChat;

/** The role whose turns a model writes. */
export const ASSISTANT = 'assistant';
/** Some templates write today's date. The same data must give the same tokens tomorrow. */
const DATE = '26 Jul 2024';
/** Characters of a message by the library or the template. */
const MOST_QUOTED = 200;
/** Unicode's noncharacters: no text has them. */
const [OPEN, CLOSE] = ['\uFDD0', '\uFDD1'];
/** The tags around what the assistant says. The library leaves them out. */
const GENERATION = /\{%(-?)\s*(end)?generation\s*(-?)%\}/g;
/** Characters of a template. Real ones have some thousands. */
const LONGEST_TEMPLATE = 200_000;
/**
 * The work that a template may do for a conversation, in statements and expressions, and elements
 * or characters of their values: so much in any case, and so much for each character of the
 * messages. The models' own templates in the tests take a hundredth of it.
 */
const MOST_WORK = { always: 200_000, perCharacter: 500 };

/**
 * @param source the template, in Jinja
 * @param tokens `bos_token`, `eos_token` and the like, which templates write
 * @throws CorpusError if the template cannot be read
 */
export function chatTemplate(source: string, tokens: Record<string, string>): RenderChat {
  const marked = withMarks(source);
  let template: Template;
  try {
    if (source.length > LONGEST_TEMPLATE)
      throw new Error(
        `it has ${source.length} characters, and at most ${LONGEST_TEMPLATE} are read`,
      );
    template = new Template(marked);
  } catch (cause) {
    throw new CorpusError(
      `The chat template cannot be read: ${quoted(cause)}.`,
      'Use another model, or read the data as dialogues.',
      { cause },
    );
  }
  const render = (messages: readonly ChatMessage[], prompt = false): string => {
    const items = { ...tokens, messages, add_generation_prompt: prompt, date_string: DATE };
    const characters = messages.reduce((sum, { content }) => sum + content.length, 0);
    const work = MOST_WORK.always + MOST_WORK.perCharacter * characters;
    try {
      return new BoundedInterpreter(items, work).render(template);
    } catch (cause) {
      if (cause instanceof EndlessError) {
        throw new CorpusError(
          `The chat template has not ended after ${work.toLocaleString('en')} ` +
            `operations on one conversation (${shortened(messages)}).`,
          'Use another model, or read the data as dialogues.',
        );
      }
      const roles = excerpt(messages.map(({ role }) => role).join(', '), MOST_QUOTED);
      throw new CorpusError(
        `The chat template refuses a conversation of ${roles}: ${quoted(cause)}`,
        'Correct the roles in the data, or read the data as dialogues.',
        { cause },
      );
    }
  };
  return (messages) => {
    if (!messages.some(({ role }) => role === ASSISTANT)) {
      throw new CorpusError(
        `A conversation has no turn of the assistant (${shortened(messages)}).`,
        'Leave it out, or give the answers the role "assistant".',
      );
    }
    const text = render(messages);
    const rendered = marked === source ? betweenPrompts(text, messages, render) : unmarked(text);
    if (rendered.said.length > 0) return rendered;
    throw new CorpusError(
      `The chat template writes nothing of what the assistant says (${shortened(messages)}).`,
      'Use another model, or assistant_only_loss=off.',
    );
  };
}

/**
 * The template, with marks in place of its tags. As of any block, the indentation before a tag and
 * the line break after it are no part of the text.
 */
function withMarks(source: string): string {
  let [marked, from] = ['', 0];
  for (const { 0: tag, 1: left, 2: end, 3: right, index } of source.matchAll(GENERATION)) {
    const before = source.slice(from, index);
    marked += left ? before.trimEnd() : before.replace(/\n[ \t]*$/, '\n');
    marked += `{{ '${end ? CLOSE : OPEN}' }}`;
    from = index + tag.length;
    if (right) from += source.slice(from).length - source.slice(from).trimStart().length;
    else if (source[from] === '\n') from++;
  }
  return marked + source.slice(from);
}

/** A template has done all the work that it may. */
class EndlessError extends Error {}

/** Renders a template that a stranger wrote: it ends after so much work. */
class BoundedInterpreter extends Interpreter {
  constructor(
    items: Record<string, unknown>,
    private left: number,
  ) {
    const environment = new Environment();
    const globals = {
      true: true,
      True: true,
      false: false,
      False: false,
      none: null,
      None: null,
      raise_exception: (message: string) => {
        throw new Error(message);
      },
      range: (...bounds: [number, number?, number?]) => this.#range(...bounds),
      strftime_now: () => DATE,
    };
    for (const [name, value] of Object.entries({ ...globals, ...items }))
      environment.set(name, value);
    super(environment);
  }

  render({ parsed }: Template): string {
    return String(this.run(parsed).value);
  }

  override evaluate(...[statement, environment]: Parameters<Interpreter['evaluate']>) {
    this.#spend(1);
    const result = super.evaluate(statement, environment);
    const { value } = result;
    if (typeof value === 'string' || Array.isArray(value)) this.#spend(value.length);
    return result;
  }

  #spend(work: number): void {
    this.left -= work;
    if (!(this.left >= 0)) throw new EndlessError();
  }

  /** As in Python. */
  #range(first: number, second?: number, step = 1): number[] {
    const [start, stop] = second === undefined ? [0, first] : [first, second];
    if (step === 0) throw new Error('range() with a step of 0');
    const length = Math.max(0, Math.ceil((stop - start) / step));
    this.#spend(length);
    return Array.from({ length }, (_, i) => start + i * step);
  }
}

const shortened = ([first]: readonly ChatMessage[]): string =>
  `${excerpt(first?.role ?? '')}: “${excerpt(first?.content ?? '')}”`;

/** What the library or the template itself says against it. */
const quoted = (cause: unknown): string => excerpt((cause as Error).message, MOST_QUOTED);

/** Takes the marks of {% generation %} out of a text. */
function unmarked(marked: string): RenderedChat {
  const [first, ...others] = marked.split(OPEN);
  const rendered: RenderedChat = { text: first, said: [] };
  for (const part of others) {
    const [said, rest = ''] = part.split(CLOSE);
    const from = rendered.text.length;
    if (said !== '') rendered.said.push([from, from + said.length]);
    rendered.text += said + rest;
  }
  return rendered;
}

/**
 * For a template that does not mark what the assistant says: it begins where the prompt for it
 * ends, and ends with the conversation up to it.
 * @throws CorpusError if a turn does not begin with its prompt
 */
function betweenPrompts(
  text: string,
  messages: readonly ChatMessage[],
  render: (messages: readonly ChatMessage[], prompt?: boolean) => string,
): RenderedChat {
  const said: RenderedChat['said'] = [];
  for (const [index, { role, content }] of messages.entries()) {
    if (role !== ASSISTANT) continue;
    const prompt = render(messages.slice(0, index), true);
    const upTo = render(messages.slice(0, index + 1));
    const from = prompt.length;
    const to = text.startsWith(upTo) ? upTo.length : endOfTurn(text, from, upTo, content.trim());
    if (!text.startsWith(prompt) || to === undefined) {
      throw new CorpusError(
        `The chat template writes turn ${index + 1} in another way once others follow it ` +
          `(${shortened(messages)}), so what the assistant says cannot be found.`,
        'Use another model, or assistant_only_loss=off.',
      );
    }
    // A line break after the turn is not said: the model has stopped.
    const { length } = text.slice(from, to).trimEnd();
    if (length > 0) said.push([from, from + length]);
  }
  return { text, said };
}

/**
 * Where the turn from `from` on ends. A template may write the last turn of a conversation in
 * another way, as Qwen3’s does with its thoughts; what follows the content is the same.
 */
function endOfTurn(text: string, from: number, upTo: string, content: string): number | undefined {
  const end = content + upTo.slice(upTo.lastIndexOf(content) + content.length);
  const at = text.indexOf(end, from);
  return at < 0 ? undefined : at + end.length;
}
