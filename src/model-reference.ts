// How settings and links name a model: a built-in one, one of the hub, or the files that were
// dropped on the page. Pure.

/** Folders below models/ on the page's own origin. */
const BUILT_IN_MODELS: readonly string[] = ['moby-teacher'];

/** The word for files that were dropped on the page: a link can ask for them, never bring them. */
const DROPPED = 'files';

export type ModelReference =
  | { kind: 'built-in'; name: string }
  | { kind: 'hub'; id: string; revision?: string }
  | { kind: 'files' };

/**
 * `name` or `org/name`, and a branch, tag or commit. No address: a link loads from the page's
 * origin and the hub only.
 */
const HUB_ID = /^(?!.*\.\.)((?:[A-Za-z0-9][\w.-]*\/)?[A-Za-z0-9][\w.-]*)(?:@([\w][\w./-]*))?$/;

/** What a text names; undefined if it can name no model. */
export function modelReference(text: string): ModelReference | undefined {
  if (text === DROPPED) return { kind: 'files' };
  if (BUILT_IN_MODELS.includes(text)) return { kind: 'built-in', name: text };
  const [, id, revision] = HUB_ID.exec(text) ?? [];
  return id === undefined ? undefined : { kind: 'hub', id, revision };
}
