// A run's file can be dropped anywhere on the page where no field takes files. Says so during a
// drag, opens the file, and says by name what could not be opened.

import { useEffect, useState } from 'react';
import { JOURNAL } from '../../runs/journal';
import { isRecords, RUN_FILE } from '../../runs/run-file';
import { droppedFiles, type PathFile } from '../shared/dropped';
import { Notice } from '../shared/Notice';
import { openRunFile, useRuns } from './store';

export function DropRun() {
  const refused = useRuns((state) => state.refused);
  const over = useWindowDrop(onDrop);
  return (
    <>
      {refused && (
        <Notice
          kind="problem"
          title={`${refused.name} was not opened.`}
          onDismiss={() => useRuns.setState({ refused: undefined })}
        >
          {refused.why}
        </Notice>
      )}
      {over && (
        <div className="drop-run">
          <p>
            Drop a run’s file ({RUN_FILE} or {JOURNAL}) to open it. A model goes on its own field,
            and so does a text.
          </p>
        </div>
      )}
    </>
  );
}

const onDrop = (transfer: DataTransfer) => void droppedFiles(transfer).then(take);

/**
 * Opens each file in turn; all or none if one of them cannot be a run's. Of a folder with a run's
 * records, those alone.
 */
async function take(dropped: readonly PathFile[]): Promise<void> {
  const records = dropped.filter(({ path }) => path.endsWith(`/${JOURNAL}`));
  const files = records.length > 0 ? records : dropped;
  const other = files.find(({ path }) => !path.endsWith('.zip') && !isRecords(path));
  if (other) {
    const why =
      `A run’s file is a .zip that Runs has saved, such as amber-heron${RUN_FILE}, or a ` +
      `${JOURNAL}. Drop a model on its own field, and a text on Data.`;
    return useRuns.setState({ refused: { name: other.path, why } });
  }
  for (const { file } of files) await openRunFile(file);
}

/** Whether files are dragged over the page, beside the fields that take them. */
function useWindowDrop(onDrop: (transfer: DataTransfer) => void): boolean {
  const [over, setOver] = useState(false);
  useEffect(() => {
    const move = (event: DragEvent) => {
      if (!event.dataTransfer?.types.includes('Files')) return;
      // A field that takes the files has said so by now.
      setOver(!event.defaultPrevented);
      event.preventDefault();
    };
    const leave = ({ relatedTarget }: DragEvent) => {
      if (relatedTarget === null) setOver(false);
    };
    const drop = (event: DragEvent) => {
      setOver(false);
      if (event.defaultPrevented || !event.dataTransfer?.types.includes('Files')) return;
      // The browser would leave the page and show the file.
      event.preventDefault();
      onDrop(event.dataTransfer);
    };
    const listeners = Object.entries({ dragover: move, dragleave: leave, drop });
    for (const [type, listener] of listeners) addEventListener(type, listener as EventListener);
    return () => {
      for (const [type, listener] of listeners)
        removeEventListener(type, listener as EventListener);
    };
  }, [onDrop]);
  return over;
}
