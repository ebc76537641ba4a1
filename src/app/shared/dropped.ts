// Files from a drop or a file dialogue, with their paths. Folders are read recursively.

import { useState } from 'react';

export interface PathFile {
  path: string;
  file: File;
}

/** The files of an `<input type=file>`. With `webkitdirectory` each file has its path. */
export function chosenFiles(list: FileList): PathFile[] {
  return [...list].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
}

/** The files of a drop. The transfer is empty after the event, so its entries are read at once. */
export async function droppedFiles({ items, files }: DataTransfer): Promise<PathFile[]> {
  const entries = [...items]
    .map((item) => item.webkitGetAsEntry?.())
    .filter((entry) => entry != null);
  if (entries.length === 0) return chosenFiles(files);
  return (await Promise.all(entries.map(filesIn))).flat();
}

async function filesIn(entry: FileSystemEntry): Promise<PathFile[]> {
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) =>
      (entry as FileSystemFileEntry).file(resolve, reject),
    );
    return [{ path: entry.fullPath.replace(/^\//, ''), file }];
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const entries: FileSystemEntry[] = [];
  // A reader returns about a hundred entries at a time, and none at the end.
  for (;;) {
    const batch = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    if (batch.length === 0) break;
    entries.push(...batch);
  }
  return (await Promise.all(entries.map(filesIn))).flat();
}

/** Event handlers that make an element a drop target, and whether a drag is over it. */
export function useDrop(locked: boolean, onDrop: (transfer: DataTransfer) => void) {
  const [over, setOver] = useState(false);
  const handlers = {
    onDragOver(event: React.DragEvent) {
      event.preventDefault();
      setOver(!locked);
    },
    onDragLeave: () => setOver(false),
    onDrop(event: React.DragEvent) {
      event.preventDefault();
      setOver(false);
      if (!locked) onDrop(event.dataTransfer);
    },
  };
  return { over, handlers };
}
