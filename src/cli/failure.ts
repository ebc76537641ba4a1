// Errors as the command line prints them: what happened and what to do next. A bug in Stillhouse is
// printed with its stack.

import { WrongKernels } from '../check/before-run';
import { CorpusError } from '../data/corpus';
import { TokenizerError } from '../data/tokenizer';
import { CacheError } from '../distill/teacher/cache-file';
import { ModelFileError } from '../files/download';
import { ExportError } from '../files/pieces';
import { GpuError } from '../gpu/device';
import { StorageError } from '../runs/storage';
import { LayoutError } from '../tensor/layout';

const DRIVERS =
  'Install a graphics driver with Vulkan, Metal or Direct3D 12. ' +
  'On Linux, VK_ICD_FILENAMES can name one.';

export function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { message } = error;
  if (error instanceof GpuError)
    return `${message} ${error.kind === 'no-adapter' ? DRIVERS : error.hint}`;
  if (error instanceof WrongKernels) return `${message} ${error.hint}\n\n${error.table}`;
  if (error instanceof CorpusError || error instanceof TokenizerError)
    return `${message} ${error.hint}`;
  if (
    error instanceof ModelFileError ||
    error instanceof ExportError ||
    error instanceof CacheError ||
    error instanceof StorageError
  )
    return message;
  if (error instanceof LayoutError) return `${message} Use another loss path, or --batch_size 1.`;
  // The system's own, for example a missing file or a full disk.
  if ('syscall' in error) return `${message}. Check the path and the free disk space.`;
  return `${message} This is a bug in Stillhouse.\n${error.stack}`;
}
