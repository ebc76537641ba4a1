// The files of a drop or of a file dialogue, with their paths; folders are walked. And the place
// that takes a drop.

import { useState } from 'react';

interface Found {
  path: string;
  file: File;
}

/** Of `<input type=file>`: with `webkitdirectory` each file knows its path. */
export function chosenFiles(list: FileList): Found[] {
  return [...list].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
}

/** Of a drop. The transfer is empty once the event is over, so its entries are taken at once. */
export async function droppedFiles({ items, files }: DataTransfer): Promise<Found[]> {
  const entries = [...items]
    .map((item) => item.webkitGetAsEntry?.())
    .filter((entry) => entry != null);
  if (entries.length === 0) return chosenFiles(files);
  return (await Promise.all(entries.map(walk))).flat();
}

async function walk(entry: FileSystemEntry): Promise<Found[]> {
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) =>
      (entry as FileSystemFileEntry).file(resolve, reject),
    );
    return [{ path: entry.fullPath.replace(/^\//, ''), file }];
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const found: FileSystemEntry[] = [];
  // A reader gives a hundred entries at a time, and none at the end.
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    if (some.length === 0) break;
    found.push(...some);
  }
  return (await Promise.all(found.map(walk))).flat();
}

/** What an element takes to be a place for drops, and whether one is held over it. */
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
