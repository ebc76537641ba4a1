// What stops the runs of the designed states.

import type { Failure } from '../../worker/protocol';

export const DAMAGED: Failure = {
  operation: 'load the model',
  message: 'onnx/model_fp16.onnx is 1.9 of 4.1 MB long.',
  hint: 'Try again.',
  kind: 'model',
  stack: 'ModelFileError: onnx/model_fp16.onnx\n    at download (download.ts:80)',
};

/** Of a run whose device was lost, and that shall go on. */
export const REFUSED: Failure = {
  operation: 'recover the run',
  message: 'The browser no longer gives this page a GPU.',
  hint:
    'It does so for a while when the GPU’s own process has ended more than once, often for want ' +
    'of memory. Try again in two minutes, or reload the page; if neither helps, restart the ' +
    'browser.',
  kind: 'withdrawn',
};
