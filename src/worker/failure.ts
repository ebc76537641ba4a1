// Turns errors into what the page shows: the operation, what happened, and what to do next.

import { WrongKernels } from '../check/before-run';
import { CorpusError } from '../data/corpus';
import { TokenizerError } from '../data/tokenizer';
import { CacheError } from '../distill/teacher/cache-file';
import { ModelFileError } from '../files/download';
import { ExportError } from '../files/pieces';
import { GpuError } from '../gpu/device';
import { CheckpointError } from '../runs/checkpoint';
import { StorageError } from '../runs/storage';
import { LayoutError } from '../tensor/layout';
import type { Failure } from './protocol';

/** Carries a failure that is already in the page's form. */
export class FailureError extends Error {
  constructor(readonly failure: Failure) {
    super(failure.message);
  }
}

/** A run is using the GPU. `hint` says how to free it. */
export const busy = (operation: string, message: string, hint: string) =>
  new FailureError({ operation, message, hint, kind: 'internal' });

const STORAGE_HINTS: Record<StorageError['kind'], string> = {
  full: 'Delete runs, or free space on this machine.',
  busy: 'Close the other tab, then try again.',
};

/** What a run's keeper does for it. */
export const KEEP = 'keep the run';

const CHECKPOINT_HINTS: Record<CheckpointError['kind'], string> = {
  none: 'Choose another run or file.',
  damaged: 'Start the run anew, or choose another one.',
  newer: 'Reload the page to update it.',
  misfit: 'Choose the run’s own files.',
};

/** An error as the page shows it. Keeps the message and the stack. */
export function describe(operation: string, error: unknown): Failure {
  if (error instanceof FailureError) return error.failure;
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  if (error instanceof GpuError)
    return { operation, message, hint: error.hint, kind: error.kind, stack };
  if (error instanceof WrongKernels)
    return { operation, message, hint: error.hint, kind: 'limits', table: error.table };
  if (error instanceof CorpusError) {
    const { operation: reading, hint, longestContext } = error;
    return { operation: reading, message, hint, kind: 'corpus', longestContext, stack };
  }
  if (error instanceof TokenizerError)
    return { operation: error.operation, message, hint: error.hint, kind: 'model', stack };
  if (error instanceof ModelFileError)
    return { operation: 'load the model', message, kind: error.kind, stack };
  if (error instanceof CacheError)
    return { operation: 'use the teacher’s cache', message, kind: 'limits', stack };
  if (error instanceof CheckpointError)
    return { operation, message, hint: CHECKPOINT_HINTS[error.kind], kind: 'model', stack };
  if (error instanceof StorageError)
    return { operation, message, hint: STORAGE_HINTS[error.kind], kind: 'limits', stack };
  // The browser's own: it refuses the page its storage, or the storage is broken.
  if (operation === KEEP && error instanceof DOMException) {
    const hint = 'Allow this site to store data in the browser’s settings.';
    return { operation, message, hint, kind: 'limits', stack };
  }
  if (error instanceof ExportError) return { operation, message, kind: 'model', stack };
  if (error instanceof LayoutError) {
    const hint = 'Set the loss path to strided or reshape, or the batch size to 1.';
    return { operation, message, hint, kind: 'internal', stack };
  }
  return {
    operation,
    message,
    hint: 'This is a bug in Stillhouse. The log has the details.',
    kind: 'internal',
    stack,
  };
}
