// How settings and links name a model: built in, on Hugging Face, or dropped on the page. Pure.

import { isBuiltIn } from './built-in';

/** Stands for files dropped on the page. A link can ask for them but cannot carry them. */
const DROPPED_FILES = 'files';

export type ModelReference =
  | { kind: 'built-in'; name: string }
  | { kind: 'hub'; id: string; revision?: string }
  | { kind: 'files' };

/**
 * `name` or `org/name`, optionally `@` and a branch, tag or commit. Never an address: a link may
 * load only from the page's origin and from Hugging Face.
 */
const HUB_ID = /^(?!.*\.\.)((?:[A-Za-z0-9][\w.-]*\/)?[A-Za-z0-9][\w.-]*)(?:@([\w][\w./-]*))?$/;

/** The model that a text names; undefined if it cannot name one. */
export function modelReference(text: string): ModelReference | undefined {
  if (text === DROPPED_FILES) return { kind: 'files' };
  if (isBuiltIn(text)) return { kind: 'built-in', name: text };
  const [, id, revision] = HUB_ID.exec(text) ?? [];
  return id === undefined ? undefined : { kind: 'hub', id, revision };
}
