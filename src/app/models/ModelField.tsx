// A model's field: its name, or a folder of the user's own, and what its config.json and headers
// say before anything large is loaded.

import { useId, useState } from 'react';
import { alignedLossOf } from '../../divergences';
import { modelReference } from '../../model-reference';
import type { ModelReport, Role } from '../../worker/protocol';
import { FieldControl } from '../run/FieldControl';
import { isActive } from '../run/shown-run';
import { useRun } from '../run/store';
import { chosenFiles, droppedFiles, useDrop } from '../shared/dropped';
import { formatBytes, formatCount, plural } from '../shared/format';
import { type LookedUp, lookUps, modelFolder, useModels } from './store';

/** A file dialogue takes folders or files, never both. */
const CHOOSERS = [
  { text: 'Choose a folder', label: 'folder', input: { webkitdirectory: '', multiple: true } },
  { text: 'Choose a .zip', label: '.zip', input: { accept: '.zip,application/zip' } },
];

export function ModelField({ role }: { role: Role }) {
  const name = `${role}_model` as const;
  const reference = useRun((state) => state.config[name]);
  const model = useRun((state) => state.config.teacher_model);
  // A loss by groups of tokens does without a common vocabulary, so there is nothing to compare.
  const aligned = useRun((state) => alignedLossOf(state.config) !== undefined);
  const teacher = role === 'student' && !aligned ? model : undefined;
  const wrong = useRun((state) => state.drafts[name] !== undefined);
  const locked = useRun((state) => isActive(state.phase));
  const setField = useRun((state) => state.setField);
  const drop = useModels((state) => state.drop);
  const lookUp = lookUps[role]((state) => state.start);
  const [problem, setProblem] = useState<string>();
  const chooser = useId();
  const kind =
    role === 'student' && reference === 'teacher' ? undefined : modelReference(reference)?.kind;

  const use = async (reading: Promise<{ path: string; file: File }[]>) => {
    try {
      const files = modelFolder(await reading);
      if (typeof files === 'string') return setProblem(files);
      setProblem(undefined);
      setField(name, 'files');
      drop(role, files, teacher);
    } catch (error) {
      const reason = error instanceof Error ? error.message : error;
      setProblem(`The files could not be read: ${reason}. Choose them again.`);
    }
  };

  const { over, handlers } = useDrop(locked, (transfer) => void use(droppedFiles(transfer)));
  return (
    <div className={`model-field${over ? ' over' : ''}`} {...handlers}>
      <FieldControl name={name} />
      <div className="drop-tools">
        {kind === 'hub' && !wrong && (
          <button
            type="button"
            className="quiet outlined"
            onClick={() => lookUp({ reference, teacher })}
          >
            Look up the {role}
          </button>
        )}
        {CHOOSERS.map(({ text, label, input }) => (
          <span key={text}>
            <label
              className={`quiet outlined file-button${locked ? ' disabled' : ''}`}
              htmlFor={chooser + text}
            >
              {text}
            </label>
            <input
              {...input}
              id={chooser + text}
              type="file"
              className="visually-hidden"
              aria-label={`${role === 'teacher' ? 'Teacher' : 'Student'} ${label}`}
              disabled={locked}
              onChange={(event) => {
                if (event.target.files?.length)
                  void use(Promise.resolve(chosenFiles(event.target.files)));
                event.target.value = '';
              }}
            />
          </span>
        ))}
      </div>
      {!wrong && <LookUp role={role} reference={reference} teacher={teacher} />}
      {problem && (
        <p className="field-problem" role="alert">
          {problem}
        </p>
      )}
    </div>
  );
}

/** The result of looking up the model that the field names. */
function LookUp({ role, reference, teacher }: { role: Role } & LookedUp) {
  const { input, request } = lookUps[role]();
  const current = input?.reference === reference && input.teacher === teacher;
  if (!current || request.status === 'idle') return null;
  if (request.status === 'failed') {
    return (
      <p className="field-problem" role="alert">
        {request.failure.message}
      </p>
    );
  }
  return (
    <p className="model-report" role="status">
      {request.status === 'done'
        ? reportText(request.value) + (teacher ? ` Its vocabulary is that of ${teacher}.` : '')
        : 'Reading config.json and the headers of the files.'}
    </p>
  );
}

/**
 * "81.9M parameters in 6 layers, 353 MB to load. Vocabulary of 50,257 tokens, context of up to
 * 1,024. Stillhouse’s kernels support it."
 */
function reportText({
  engine,
  parameters,
  bytes,
  vocabularySize,
  positions,
  layers,
}: ModelReport): string {
  const size =
    parameters === undefined ? 'Parameters unknown' : `${formatCount(parameters)} parameters`;
  const runs =
    engine === 'stillhouse' ? 'Stillhouse’s kernels support it.' : 'Runs in onnxruntime.';
  return (
    `${size}${layers ? ` in ${plural(layers, 'layer')}` : ''}, ${formatBytes(bytes)} to load. ` +
    `Vocabulary of ${plural(vocabularySize, 'token')}, context of up to ` +
    `${positions.toLocaleString('en')}. ${runs}`
  );
}
