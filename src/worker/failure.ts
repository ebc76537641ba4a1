// Turns errors into what the page shows: the operation, what happened, and what to do next.

import { WrongKernels } from '../check/before-run';
import { CorpusError } from '../data/corpus';
import { TokenizerError } from '../data/tokenizer';
import { CacheError } from '../distill/teacher/cache-file';
import { ModelFileError } from '../files/download';
import { ExportError } from '../files/pieces';
import { type Gpu, GpuError } from '../gpu/device';
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

/** Whatever used the device when it was lost. */
export class DeviceLostError extends Error {
  override name = 'DeviceLostError';
  constructor(
    info: GPUDeviceLostInfo,
    readonly hint = 'Try again, which opens a new device. Continue a run that has stopped first.',
  ) {
    super(`The GPU device was lost: ${lossOf(info)}.`);
  }
}

/** Why, without a full stop. */
const lossOf = ({ message, reason }: GPUDeviceLostInfo) =>
  (message || reason || 'no reason given').replace(/\.$/, '');

const STORAGE_HINTS: Record<StorageError['kind'], string> = {
  full: 'Delete runs, or free space on this machine.',
  busy: 'Close the other tab, then try again.',
};

/** What a run's keeper does for it. */
export const KEEP = 'keep the run';

/** Names of the errors with which a browser's storage refuses, or is gone. */
const STORAGE_FAULTS = new Set([
  'InvalidStateError',
  'NoModificationAllowedError',
  'NotAllowedError',
  'NotFoundError',
  'NotReadableError',
  'QuotaExceededError',
  'SecurityError',
]);

const BUG = 'This is a bug in Stillhouse. The log has the details.';

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
  if (error instanceof DeviceLostError)
    return { operation, message, hint: error.hint, kind: 'internal', stack };
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
  // The browser's own: it refuses the page its storage, or the storage is broken or cleared.
  if (error instanceof DOMException && STORAGE_FAULTS.has(error.name)) {
    const hint = 'Allow this site to store data in the browser’s settings, then reload the page.';
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
    hint: BUG,
    kind: 'internal',
    stack,
  };
}

/** After a failed call, how long a device may take to say that it is lost. */
const LOST_MILLISECONDS = 200;

/** How `gpu` was lost, if it was: a call that failed may be told before that. */
export async function lossAfter(gpu: Gpu | undefined): Promise<GPUDeviceLostInfo | undefined> {
  if (!gpu) return undefined;
  const late = new Promise<undefined>((resolve) =>
    setTimeout(() => resolve(undefined), LOST_MILLISECONDS),
  );
  return Promise.race([gpu.lost, late]);
}

/** `describe`, but an error that nobody foresaw is put down to the device, if that was lost. */
export async function explain(
  operation: string,
  error: unknown,
  gpu: Gpu | undefined,
): Promise<Failure> {
  const failure = describe(operation, error);
  if (failure.hint !== BUG) return failure;
  const loss = await lossAfter(gpu);
  return loss ? describe(operation, new DeviceLostError(loss)) : failure;
}
