// A block's attention where the keys and values of a text's tokens are kept, for all families.

import type { Recorder, Tensor } from '../gpu/program';
import { type Attention, attention } from '../kernels/attention';
import { attentionNext } from '../kernels/attention_next';
import { copy } from '../kernels/copy';
import { embedding } from '../kernels/embedding';
import { matrix } from '../kernels/tensors';
import { Layout } from '../tensor/layout';
import type { KeyValues } from './family';

/** What a layer keeps, and the position of the one new token: see `KeyValues`. */
export interface LayerKeyValues {
  kept: Tensor;
  position?: Tensor;
}

export const layerOf = (
  keyValues: KeyValues | undefined,
  layer: number,
): LayerKeyValues | undefined =>
  keyValues && { kept: keyValues.layers[layer], position: keyValues.position };

/** `attention`, which keeps what `own` asks for; `lse` is left as it is where one token is new. */
export function attend(recorder: Recorder, forward: Attention, own?: LayerKeyValues): void {
  const { qkv, out, lse, window } = forward;
  if (own?.position) {
    const { kept, position } = own;
    attentionNext(recorder, { qkv, position, kept, out, window }, lse.layout.shape[1]);
    return;
  }
  attention(recorder, forward);
  if (!own) return;
  const [, width] = own.kept.layout.shape;
  const queries = qkv.layout.shape[1] - width;
  copy(recorder, { ...qkv, layout: qkv.layout.narrow(1, queries, width) }, own.kept);
}

/** What a table (T, …) has for N positions, as (N, …); without positions all of it. */
export function rowsAt(recorder: Recorder, table: Tensor, positions: Tensor | undefined): Tensor {
  if (!positions) return table;
  const [T, ...sizes] = table.layout.shape;
  const N = positions.layout.numel;
  const layout = Layout.contiguous([N, ...sizes]);
  const rows = recorder.tensor(`${table.place.label} rows`, layout, table.dtype);
  const width = layout.numel / N;
  embedding(recorder, positions, matrix(table, T, width), undefined, matrix(rows, N, width));
  return rows;
}
