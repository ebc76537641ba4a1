// The student as a .zip to take away, once a run is paused or finished: its weights' type, how far
// the writing is, the file.

import { useId, useState } from 'react';
import type { ExportType } from '../../worker/protocol';
import { formatBytes } from '../shared/format';
import { isWriting, useTake } from './download-student';
import { useRun } from './store';

export function TakeStudent() {
  const phase = useRun((state) => state.phase);
  const run = useRun((state) => state.run);
  const { taking, take } = useTake();
  const [dtype, setDtype] = useState<ExportType>('float32');
  const choice = useId();
  if (run?.source !== 'live') return null;
  const own = taking?.runId === run.id ? taking : undefined;
  const writing = own !== undefined && isWriting(own);
  const still = phase === 'paused' || phase === 'finished';
  if (!still && !writing) return null;
  return (
    <section className="take" aria-label="Take the student">
      <div className="field-line">
        <button
          type="button"
          className="secondary"
          disabled={!still || writing}
          onClick={() => take(dtype)}
        >
          Take the student
        </button>
        <label className="visually-hidden" htmlFor={choice}>
          Type of the weights
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
      {own?.failure ? (
        <p className="field-problem" role="alert">
          The student was not written. {own.failure.message} {own.failure.hint}
        </p>
      ) : (
        <p className="help" role="status">
          {own?.zip ? (
            <>
              <a href={own.zip.url} download={own.zip.name}>
                {own.zip.name}
              </a>
              , {formatBytes(own.zip.bytes)}. Dropped on a model’s field, it teaches or starts a
              student.
            </>
          ) : own?.progress ? (
            `Writing ${own.progress.file}: ${formatBytes(own.progress.written)} of ${formatBytes(own.progress.total)}`
          ) : writing ? (
            'Reading the weights.'
          ) : (
            'One .zip: safetensors, ONNX, tokenizer, model card.'
          )}
        </p>
      )}
    </section>
  );
}
