// Which models a run was made with, and in what another model of the same name differs.

import type { Fingerprint } from '../files/fingerprint';
import type { ModelSource } from '../files/source';

/** A model as it was when the run was built. */
export interface ModelIdentity {
  /** As the setting names it. */
  reference: string;
  /** The hub's commit, in hex. */
  revision?: string;
  /** Of the files that were read. Unknown in old runs. */
  files?: Fingerprint;
}

export interface ModelIdentities {
  teacher: ModelIdentity;
  /** The model that the student started from, if it has one of its own. */
  student?: ModelIdentity;
}

/** What was opened for a run: how a setting names it, its source, and what was read of it. */
export interface OpenedModel {
  reference: string;
  source: ModelSource;
  fingerprint(): Promise<Fingerprint>;
}

/** Once the run is built, and so all is read that it needs. */
export async function identities(
  teacher: OpenedModel,
  student?: OpenedModel,
): Promise<ModelIdentities> {
  const of = async ({ reference, source, fingerprint }: OpenedModel): Promise<ModelIdentity> => {
    const revision = source.revision?.();
    return { reference, ...(revision && { revision }), files: await fingerprint() };
  };
  return { teacher: await of(teacher), ...(student && { student: await of(student) }) };
}

const SHORT_REVISION = 10;

/** Half a sentence that says in what the teacher differs; undefined if it does not. */
export function differentTeacher(
  before: ModelIdentities | undefined,
  now: ModelIdentities | undefined,
): string | undefined {
  const [a, b] = [before?.teacher, now?.teacher];
  if (!a?.files || !b?.files) return undefined;
  const changed = Object.keys(a.files).filter((file) => {
    const [first, second] = [a.files?.[file], b.files?.[file]];
    return first && second?.bytes === first.bytes && second.sha256 !== first.sha256;
  });
  if (changed.length === 0) return undefined;
  const short = (revision: string) => revision.slice(0, SHORT_REVISION);
  const revisions =
    a.revision && b.revision && a.revision !== b.revision
      ? ` (revision ${short(b.revision)}, but ${short(a.revision)} in the checkpoint)`
      : '';
  return `the teacher ${b.reference} is another model: other ${changed.join(', ')}${revisions}`;
}
