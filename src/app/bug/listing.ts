// The PyTorch code shown beside the experiments: the story's script, with the sizes of the current
// options. The reports, not this file, say which line raised or copied. Pure.

import { Layout } from '../../tensor/layout';
import type { LossPath } from '../../worker/protocol';
import type { Settings } from './settings';

export interface CodeLine {
  text: string;
  /** The column that runs this line. */
  path?: LossPath;
}

/** Whether view fails does not depend on the vocabulary, if it has at least 2 tokens. */
const ANY_VOCABULARY = 2;

/** The script's training step or evaluation, from the slice to the loss. */
export function storyCode({ batch, context, where, errors }: Settings<'replay'>): CodeLine[] {
  const B = Number(batch);
  const T = Number(context);
  const evaluation = where === 'evaluation';
  const loop: CodeLine[] = evaluation
    ? [{ text: 'for tokens in held_out:' }]
    : [{ text: 'for step, tokens in enumerate(batches, 1):' }];
  const body: CodeLine[] = [
    {
      text:
        'logits = model(tokens).logits      ' + `# sizes (${B}, ${T}, V), strides (${T}·V, V, 1)`,
    },
    {
      text:
        'logits = logits[:, :-1]            ' +
        `# sizes (${B}, ${T - 1}, V), strides (${T}·V, V, 1)`,
    },
    { text: 'labels = tokens[:, 1:]' },
    { text: 'loss = cross_entropy(logits.view(-1, V), labels.view(-1))', path: 'view' },
    { text: 'loss = cross_entropy(logits.reshape(-1, V), labels.reshape(-1))', path: 'reshape' },
    ...(evaluation
      ? [{ text: 'total += loss.item() * labels.numel(); n += labels.numel()' }]
      : [{ text: 'loss.backward(); optimizer.step(); steps_returned += 1' }]),
  ];
  const indent = (lines: CodeLine[], by: number) =>
    lines.map((line) => ({ ...line, text: `${' '.repeat(by)}${line.text}` }));
  const guardedBody =
    errors === 'swallowed'
      ? [
          { text: '    try:' },
          ...indent(body, 8),
          { text: '    except RuntimeError:' },
          { text: evaluation ? '        continue' : '        steps_returned += 1' },
        ]
      : indent(body, 4);
  return [
    ...loop,
    ...guardedBody,
    ...(evaluation ? [{ text: 'ppl = min(exp(total / n) if n else inf, 10000.0)' }] : []),
  ];
}

/** What `logits[:, :-1].view(-1, V)` does at these sizes: whether it raises, and its row layout. */
export function viewOutcome(B: number, T: number): 'refused' | 'contiguous' | 'strided' {
  const shifted = Layout.contiguous([B, T, ANY_VOCABULARY]).slice(1, 0, -1);
  try {
    return shifted.view([-1, ANY_VOCABULARY]).isContiguous ? 'contiguous' : 'strided';
  } catch {
    return 'refused';
  }
}

/** Whether a line of the kernel computes an address from an offset or a stride. */
export function isAddressing(line: string): boolean {
  return /\b(student|teacher|target)_(offset|b|t|v)\b/.test(line.replace(/\/\/.*$/, ''));
}

/** The second bug: legal but wrong. */
export const HEADS_CODE = {
  transposed: [
    'q = q.view(B, T, H, D).transpose(1, 2)          # (B, H, T, D)',
    'out = out.transpose(1, 2).reshape(B, T, C)',
  ],
  reshaped: [
    'q = q.reshape(B, H, T, D)                       # (B, H, T, D) as well',
    'out = out.reshape(B, T, C)',
  ],
} as const;
