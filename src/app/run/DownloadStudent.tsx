// What a paused or finished run gives to download: the student, in a precision to choose, and the
// recipe, with which PyTorch trains the same run. Each is one .zip; below stand how far its writing
// is, and the file.

import { type ReactNode, useId, useState } from 'react';
import type { ExportProgress, ExportType } from '../../worker/protocol';
import { formatBytes } from '../shared/format';
import type { RequestState } from '../shared/request';
import { useDownload, useRecipe, type Zip } from './download-student';
import { useRun } from './store';

export function DownloadStudent() {
  const phase = useRun((state) => state.phase);
  const run = useRun((state) => state.run);
  const student = useDownload();
  const recipe = useRecipe();
  const [dtype, setDtype] = useState<ExportType>('float32');
  const choice = useId();
  if (run?.source !== 'live') return null;
  const [ofStudent, ofRecipe] = [student, recipe].map(({ input, request }) =>
    input?.run.id === run.id ? request : undefined,
  );
  const writing = [ofStudent, ofRecipe].some((request) => request?.status === 'running');
  const still = phase === 'paused' || phase === 'finished';
  if (!still && !writing) return null;
  const locked = !still || writing;
  return (
    <section className="download" aria-label="Downloads">
      <div className="field-line">
        <button
          type="button"
          className="secondary"
          disabled={locked}
          onClick={() => student.start({ run, dtype })}
        >
          Download student
        </button>
        <label className="visually-hidden" htmlFor={choice}>
          Weight precision
        </label>
        <select
          id={choice}
          value={dtype}
          disabled={writing}
          onChange={(event) => setDtype(event.target.value as ExportType)}
        >
          <option>float32</option>
          <option>float16</option>
        </select>
      </div>
      <Progress
        request={ofStudent}
        what="the student"
        before="One .zip: safetensors, ONNX, tokenizer, model card."
        after="Drop it on the teacher or student field to use it in a run."
      />
      <div className="field-line">
        <button
          type="button"
          className="secondary"
          disabled={locked}
          onClick={() => recipe.start({ run })}
        >
          Take the recipe
        </button>
      </div>
      <Progress
        request={ofRecipe}
        what="the recipe"
        before="One .zip: the same run in PyTorch, on many GPUs."
        after="Its README.md says how to run it."
      />
    </section>
  );
}

function Progress({
  request,
  what,
  before,
  after,
}: {
  request: RequestState<Zip, ExportProgress> | undefined;
  what: string;
  before: ReactNode;
  after: string;
}) {
  if (request?.status === 'failed') {
    return (
      <p className="field-problem" role="alert">
        Could not write {what}. {request.failure.message} {request.failure.hint}
      </p>
    );
  }
  return (
    <p className="help" role="status">
      {request?.status === 'done' ? (
        <>
          <a href={request.value.url} download={request.value.name}>
            {request.value.name}
          </a>
          , {formatBytes(request.value.bytes)}. {after}
        </>
      ) : request?.progress ? (
        `Writing ${request.progress.file}: ${formatBytes(request.progress.written)} of ` +
        `${formatBytes(request.progress.total)}`
      ) : request?.status === 'running' ? (
        'Reading the weights.'
      ) : (
        before
      )}
    </p>
  );
}
