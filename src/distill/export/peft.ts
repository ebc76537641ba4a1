// A student's adapters as PEFT keeps them, in a folder of the exported one:
// `PeftModel.from_pretrained(base, "FOLDER/adapter")`. The other files hold the student with its
// adapters merged into its weights.

import type { Piece } from '../../files/pieces';
import type { Architecture } from '../../model/family';
import type { Parameter } from '../../model/parameters';
import { tensorPieces } from '../../model/weights';

/** PEFT's name for a tensor: under transformers' name of the module that it wraps. */
const peftName = ({ tensorNames }: Architecture, adapter: string): string => {
  const [module, matrix] = adapter.split(/\.(?=lora_[AB]\.weight$)/);
  return `base_model.model.${tensorNames.stored(`${module}.weight`).replace(/weight$/, matrix)}`;
};

/**
 * The files of the adapters; none without any.
 * @param base the model on the hub that the student started from, if it is one
 */
export function peftFiles(
  architecture: Architecture,
  base: string | undefined,
): [string, Piece[]][] {
  const { adapters, fanInFirst } = architecture;
  if (!adapters) return [];
  const { rank, alpha, targets, parameters } = adapters;
  const config = {
    base_model_name_or_path: base ?? null,
    bias: 'none',
    fan_in_fan_out: fanInFirst,
    inference_mode: true,
    lora_alpha: alpha,
    lora_dropout: 0,
    peft_type: 'LORA',
    r: rank,
    target_modules: targets,
    task_type: 'CAUSAL_LM',
  };
  return [
    [
      'adapter/adapter_config.json',
      [new TextEncoder().encode(`${JSON.stringify(config, null, 2)}\n`)],
    ],
    ['adapter/adapter_model.safetensors', adapterPieces(architecture, parameters)],
  ];
}

/** A safetensors file of values of the adapters' sizes, under PEFT's names. */
export const adapterPieces = (
  architecture: Architecture,
  parameters: readonly Parameter[],
): Piece[] =>
  tensorPieces(
    parameters.map((each) => ({ ...each, stored: peftName(architecture, each.name) })),
    'F32',
  );
