// How fast rotary positions turn, as a config.json has it.

/** rope_scaling, or rope_parameters in version 5 of transformers. */
export type RotaryScaling =
  | { type: 'linear'; factor: number }
  | {
      type: 'llama3';
      factor: number;
      low_freq_factor: number;
      high_freq_factor: number;
      original_max_position_embeddings: number;
    };

/** The numbers of each scaling, in the order in which they are read. */
export const SCALINGS = {
  linear: ['factor'],
  llama3: ['factor', 'low_freq_factor', 'high_freq_factor', 'original_max_position_embeddings'],
} as const satisfies { [Type in RotaryScaling['type']]: readonly string[] };

/**
 * (D / 2) radians a position, theta^(−2i / D), before the scaling. `linear` divides all by its
 * factor. `llama3` divides those that turn less than low_freq_factor times in the original context,
 * leaves those that turn more than high_freq_factor times, and blends in between.
 */
export function rotaryFrequencies(
  D: number,
  theta: number,
  scaling: RotaryScaling | null,
): Float32Array {
  return Float32Array.from({ length: D / 2 }, (_, i) => {
    const frequency = 1 / theta ** ((2 * i) / D);
    if (!scaling) return frequency;
    if (scaling.type === 'linear') return frequency / scaling.factor;
    const { low_freq_factor: low, high_freq_factor: high } = scaling;
    const turns = (scaling.original_max_position_embeddings * frequency) / (2 * Math.PI);
    const kept = Math.min(1, Math.max(0, (turns - low) / (high - low)));
    return frequency * (kept + (1 - kept) / scaling.factor);
  });
}
