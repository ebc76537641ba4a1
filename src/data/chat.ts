// Conversations as text: a model's chat template, rendered by the library that transformers.js
// uses, and which characters of it the assistant says. The only file that imports that library.

import { Template } from '@huggingface/jinja';
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
const ASSISTANT = 'assistant';
/** Some templates write today's date. The same data must give the same tokens tomorrow. */
const DATE = '26 Jul 2024';
/** Unicode's noncharacters: no text has them. */
const [OPEN, CLOSE] = ['\uFDD0', '\uFDD1'];
/**
 * The tags around what the assistant says. The library leaves them out. As of any block, the
 * indentation before it and the line break after it are no part of the text.
 */
const GENERATION = /(\s*)\{%(-?)\s*(end)?generation\s*(-?)%\}(\s*)/g;

/**
 * @param source the template, in Jinja
 * @param tokens `bos_token`, `eos_token` and the like, which templates write
 * @throws CorpusError if the template cannot be read
 */
export function chatTemplate(source: string, tokens: Record<string, string>): RenderChat {
  const dated = source.replace(/\bstrftime_now\b/g, 'fixed_date');
  const marked = dated.replace(
    GENERATION,
    (_, before: string, left, end, right, after: string) =>
      (left ? '' : before.replace(/\n[ \t]*$/, '\n')) +
      `{{ '${end ? CLOSE : OPEN}' }}` +
      (right ? '' : after.replace(/^\n/, '')),
  );
  let template: Template;
  try {
    template = new Template(marked);
  } catch (cause) {
    throw new CorpusError(
      `The chat template of the teacher cannot be read: ${(cause as Error).message}.`,
      'Use another teacher, or read the data as dialogues.',
      { cause },
    );
  }
  const render = (messages: readonly ChatMessage[], prompt = false): string => {
    const items = { messages, add_generation_prompt: prompt, date_string: DATE };
    try {
      return template.render({ ...tokens, ...items, fixed_date: () => DATE });
    } catch (cause) {
      const roles = messages.map(({ role }) => role).join(', ');
      throw new CorpusError(
        `The teacher’s chat template refuses a conversation of ${roles}: ` +
          `${(cause as Error).message}`,
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
    const rendered = marked === dated ? betweenPrompts(text, messages, render) : unmarked(text);
    if (rendered.said.length > 0) return rendered;
    throw new CorpusError(
      `The chat template writes nothing of what the assistant says (${shortened(messages)}).`,
      'Use another teacher, or assistant_only_loss=off.',
    );
  };
}

const shortened = (messages: readonly ChatMessage[]): string =>
  `${messages[0]?.role}: “${(messages[0]?.content ?? '').slice(0, 40)}”`;

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
        'Use another teacher, or assistant_only_loss=off.',
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
