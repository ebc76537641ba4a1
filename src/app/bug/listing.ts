// The lines beside the experiments: PyTorch as the story had it and as it was fixed, with the
// switches' own sizes. What raised, copied or ran is marked by the reports, never here. Pure.

import { Layout } from '../../tensor/layout';
import type { LossPath } from '../../worker/protocol';
import type { Settings } from './settings';

export interface CodeLine {
  text: string;
  /** The column that this line is. */
  path?: LossPath;
}

/**
 * The built-in models' vocabulary does not matter to where view fails; any from 2 on shows the
 * same.
 */
const ANY_VOCABULARY = 2;

/** The script's step or evaluation, from the slice to the loss. */
export function storyCode({ batch, context, where, errors }: Settings<'replay'>): CodeLine[] {
  const B = Number(batch);
  const T = Number(context);
  const evaluation = where === 'evaluation';
  const loop: CodeLine[] = evaluation
    ? [{ text: 'for tokens in held_out:' }]
    : [{ text: 'for step, tokens in enumerate(batches, 1):' }];
  const body: CodeLine[] = [
    {
      text: `logits = model(tokens).logits      # sizes (${B}, ${T}, V), strides (${times(T)}, V, 1)`,
    },
    {
      text: `logits = logits[:, :-1]            # sizes (${B}, ${T - 1}, V), strides (${times(T)}, V, 1)`,
    },
    { text: 'labels = tokens[:, 1:]' },
    { text: 'loss = cross_entropy(logits.view(-1, V), labels.view(-1))', path: 'view' },
    { text: 'loss = cross_entropy(logits.reshape(-1, V), labels.reshape(-1))', path: 'reshape' },
    ...(evaluation
      ? [{ text: 'total += loss.item() * labels.numel(); n += labels.numel()' }]
      : [{ text: 'loss.backward(); optimizer.step(); steps_that_came_back += 1' }]),
  ];
  const indented = (lines: CodeLine[], by: number) =>
    lines.map((line) => ({ ...line, text: `${' '.repeat(by)}${line.text}` }));
  const guarded =
    errors === 'swallowed'
      ? [
          { text: '    try:' },
          ...indented(body, 8),
          { text: '    except RuntimeError:' },
          { text: evaluation ? '        continue' : '        steps_that_came_back += 1' },
        ]
      : indented(body, 4);
  return [
    ...loop,
    ...guarded,
    ...(evaluation ? [{ text: 'ppl = min(exp(total / n) if n else inf, 10000.0)' }] : []),
  ];
}

const times = (T: number) => `${T}·V`;

/** What `logits[:, :-1].view(-1, V)` does at these sizes: PyTorch refuses, or gives these rows. */
export function viewOutcome(B: number, T: number): 'refused' | 'contiguous' | 'strided' {
  const shifted = Layout.contiguous([B, T, ANY_VOCABULARY]).slice(1, 0, -1);
  try {
    return shifted.view([-1, ANY_VOCABULARY]).isContiguous ? 'contiguous' : 'strided';
  } catch {
    return 'refused';
  }
}

/**
 * The lines in which a kernel works out where an element lies: from offset and strides, not from
 * sizes.
 */
export function isAddressing(line: string): boolean {
  return /\b(student|teacher|target)_(offset|b|t|v)\b/.test(line.replace(/\/\/.*$/, ''));
}

/** The second bug: legal, and wrong. */
export const HEADS_CODE = {
  transposed: [
    'q = q.view(B, T, H, D).transpose(1, 2)          # (B, H, T, D)',
    'out = out.transpose(1, 2).reshape(B, T, C)',
  ],
  reshaped: [
    'q = q.reshape(B, H, T, D)                       # (B, H, T, D) too',
    'out = out.reshape(B, T, C)',
  ],
} as const;
