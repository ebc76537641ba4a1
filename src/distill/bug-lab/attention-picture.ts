// Attention weights for a picture: the probabilities of one layer on one text, computed from the
// activations of a forward pass.

import type { Gpu } from '../../gpu/device';
import { bufferOf, Pool, persistentTensor, Recorder, type Tensor } from '../../gpu/program';
import { copy } from '../../kernels/copy';
import type { Gpt2Model } from '../../model/gpt2/forward';
import { Layout } from '../../tensor/layout';

/**
 * One (T, T) matrix per head, row-major, row = query, column = key.
 * @param tokens (T), at most the model's context
 */
export async function attentionWeights(
  gpu: Gpu,
  model: Gpt2Model,
  tokens: Uint32Array,
  layer: number,
): Promise<number[][]> {
  const { width: C, heads: H } = model.architecture;
  const T = tokens.length;
  const tensors: Tensor[] = [];
  const make = (label: string, shape: number[], dtype: 'u32' | 'f32') => {
    tensors.push(persistentTensor(gpu, 'metrics', label, Layout.contiguous(shape), dtype));
    return tensors[tensors.length - 1];
  };
  const pool = new Pool(gpu);
  try {
    const inputs = make('picture tokens', [1, T], 'u32');
    const [qkv, lse] = [
      make('picture qkv', [T, 3 * C], 'f32'),
      make('picture lse', [1, H, T], 'f32'),
    ];
    gpu.device.queue.writeBuffer(bufferOf(inputs), 0, new Uint32Array(tokens));
    const recorder = new Recorder(gpu, pool);
    const { attention } = model.forward(recorder, inputs).blocks[layer].heads;
    // Copied at the end of the pass, which keeps their memory from being reused by later layers.
    copy(recorder, attention.qkv, qkv);
    copy(recorder, attention.lse, lse);
    const program = await recorder.build('attention picture');
    const encoder = gpu.device.createCommandEncoder({ label: 'attention picture' });
    program.encode(encoder);
    gpu.device.queue.submit([encoder.finish()]);
    program.destroy();
    const read = async (tensor: Tensor) => new Float32Array(await gpu.read(bufferOf(tensor)));
    return probabilities(await read(qkv), await read(lse), [T, C, H]);
  } finally {
    pool.destroy();
    for (const tensor of tensors) gpu.memory.destroy(bufferOf(tensor));
  }
}

/** exp(q · k / √D − lse), 0 for keys after their query. qkv (T, 3·C), lse (H, T). */
function probabilities(
  qkv: Float32Array,
  lse: Float32Array,
  [T, C, H]: [number, number, number],
): number[][] {
  const D = C / H;
  return Array.from({ length: H }, (_, h) =>
    Array.from({ length: T * T }, (_, cell) => {
      const [t, j] = [Math.floor(cell / T), cell % T];
      if (j > t) return 0;
      let score = 0;
      for (let d = 0; d < D; d++)
        score += qkv[t * 3 * C + h * D + d] * qkv[j * 3 * C + C + h * D + d];
      return Math.exp(score / Math.sqrt(D) - lse[h * T + t]);
    }),
  );
}
