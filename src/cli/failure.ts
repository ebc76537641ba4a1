// Errors as the command line says them: what happened and what can be done next; a fault of ours
// with where it happened.

import { CorpusError } from '../data/corpus';
import { TokenizerError } from '../data/tokenizer';
import { CacheError } from '../distill/teacher/cache-file';
import { ModelFileError } from '../files/download';
import { ExportError } from '../files/pieces';
import { GpuError } from '../gpu/device';
import { LayoutError } from '../tensor/layout';

const DRIVERS =
  'A graphics driver with Vulkan, Metal or Direct3D 12 is needed; on Linux VK_ICD_FILENAMES can name one.';

export function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { message } = error;
  if (error instanceof GpuError)
    return `${message} ${error.kind === 'no-adapter' ? DRIVERS : error.hint}`;
  if (error instanceof CorpusError || error instanceof TokenizerError)
    return `${message} ${error.hint}`;
  if (
    error instanceof ModelFileError ||
    error instanceof ExportError ||
    error instanceof CacheError
  )
    return message;
  if (error instanceof LayoutError) return `${message} Use another loss path, or --batch_size 1.`;
  // The system's own, of a file that is not there or a disk that is full.
  if ('syscall' in error) return `${message}. Check the path and the space on the disk.`;
  return `${message} This is a fault of Stillhouse.\n${error.stack}`;
}
