// The student as a .zip to download, once a run is paused or finished: the precision of its
// weights, how far the writing is, and the file.

import { useId, useState } from 'react';
import type { ExportType } from '../../worker/protocol';
import { formatBytes } from '../shared/format';
import { useDownload } from './download-student';
import { useRun } from './store';

export function DownloadStudent() {
  const phase = useRun((state) => state.phase);
  const run = useRun((state) => state.run);
  const { input, request, start } = useDownload();
  const [dtype, setDtype] = useState<ExportType>('float32');
  const choice = useId();
  if (run?.source !== 'live') return null;
  const current = input?.run.id === run.id ? request : undefined;
  const writing = current?.status === 'running';
  const still = phase === 'paused' || phase === 'finished';
  if (!still && !writing) return null;
  return (
    <section className="download" aria-label="Download student">
      <div className="field-line">
        <button
          type="button"
          className="secondary"
          disabled={!still || writing}
          onClick={() => start({ run, dtype })}
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
      {current?.status === 'failed' ? (
        <p className="field-problem" role="alert">
          Could not write the student. {current.failure.message} {current.failure.hint}
        </p>
      ) : (
        <p className="help" role="status">
          {current?.status === 'done' ? (
            <>
              <a href={current.value.url} download={current.value.name}>
                {current.value.name}
              </a>
              , {formatBytes(current.value.bytes)}. Drop it on the teacher or student field to use
              it in a run.
            </>
          ) : current?.progress ? (
            `Writing ${current.progress.file}: ${formatBytes(current.progress.written)} of ` +
            `${formatBytes(current.progress.total)}`
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
