// Which layers of an architecture get low-rank adapters (low-rank.ts), with which initial values,
// and the weights that both make together. Names, initial values and scale are those of Hugging
// Face's PEFT.

import { ModelFileError } from '../files/download';
import type { Architecture } from './family';
import { adapterNames } from './low-rank';
import { groupsOf, type Parameter, planArena, type Role } from './parameters';

export interface LoraSettings {
  /** r */
  rank: number;
  alpha: number;
  /** Names of linear layers separated by commas, or `all-linear`. */
  targets: string;
}

const ALL_LINEAR = 'all-linear';

/** The parameters that train, in arena order: the adapters', or the model's own but frozen ones. */
export const trainedOf = ({ adapters, parameters, trains }: Architecture): readonly Parameter[] =>
  adapters?.parameters ?? (trains ? parameters.filter(({ role }) => trains(role)) : parameters);

/** How many they are. */
export const trainedParameters = (architecture: Architecture): number =>
  planArena(trainedOf(architecture)).parameters;

/** `h.3.attn.c_proj.weight` is the layer `c_proj` of the module `h.3.attn`. */
const lastName = (weight: string) => weight.split('.').at(-2) as string;

/** As PEFT does: the whole name of a module, or its end. */
const isNamed = (weight: string, target: string) => `.${weight}`.endsWith(`.${target}.weight`);

/** A linear layer's numbers of inputs and outputs. */
const sizesOf = ({ fanInFirst }: Architecture, shape: readonly number[]): [number, number] =>
  fanInFirst ? [shape[0], shape[1]] : [shape[1], shape[0]];

/**
 * The architecture with adapters at its linear layers; the head is none of them, nor are experts
 * and what is named like them, which PEFT takes for experts.
 * @throws ModelFileError for a name that no linear layer has
 */
export function withAdapters(
  architecture: Architecture,
  { rank, alpha, targets }: LoraSettings,
): Architecture {
  const of = (wanted: Role) => architecture.parameters.filter(({ role }) => role === wanted);
  const experts = new Set(of('expert').map(({ name }) => lastName(name)));
  const matrices = of('matrix').filter(({ name }) => !experts.has(lastName(name)));
  const known = [...new Set(matrices.map(({ name }) => lastName(name)))];
  const chosen = targets === ALL_LINEAR ? known : targets.split(',').map((name) => name.trim());
  const unknown = chosen.find((target) => !matrices.some(({ name }) => isNamed(name, target)));
  if (unknown !== undefined) {
    throw new ModelFileError(
      'model',
      `lora_targets names ${JSON.stringify(unknown)}, and no linear layer of this ` +
        `${architecture.family.title} ends with it. It has ${known.join(', ')}; ` +
        `${ALL_LINEAR} means all of them.`,
    );
  }
  const parameters = groupsOf(matrices).flatMap((group) => {
    const adapted = group.filter(({ name }) => chosen.some((target) => isNamed(name, target)));
    const matrix = ({ name, shape, layer }: Parameter) => {
      const [inputs, outputs] = sizesOf(architecture, shape);
      return { names: adapterNames(name), inputs, outputs, layer, role: 'matrix' as const };
    };
    const first = adapted.map(matrix).map(
      ({ names, inputs, role, layer }, i): Parameter => ({
        name: names.A,
        role,
        shape: [rank, inputs],
        // Kaiming's uniform distribution with a = √5.
        initial: { bound: 1 / Math.sqrt(inputs) },
        layer,
        joined: i > 0 || undefined,
      }),
    );
    const second = adapted.map(matrix).map(
      ({ names, outputs, role, layer }): Parameter => ({
        name: names.B,
        role,
        shape: [outputs, rank],
        initial: { value: 0 },
        layer,
      }),
    );
    return [...first, ...second];
  });
  return { ...architecture, adapters: { rank, alpha, targets: chosen, parameters } };
}

/**
 * A parameter of the model that a frozen one and its adapters make, as one matrix:
 * W + scale · B · A, or its transpose where inputs come first.
 * @param read a parameter's or an adapter's values, f32
 */
export async function mergedParameter(
  architecture: Architecture,
  name: string,
  read: (name: string) => Promise<Float32Array>,
): Promise<Float32Array> {
  const { adapters, parameters, fanInFirst } = architecture;
  const { A, B } = adapterNames(name);
  const weight = await read(name);
  const shape = parameters.find((parameter) => parameter.name === name)?.shape;
  if (!shape || !adapters?.parameters.some((parameter) => parameter.name === A)) return weight;
  const [a, b] = [await read(A), await read(B)];
  const [inputs, outputs] = sizesOf(architecture, shape);
  const { rank, alpha } = adapters;
  const row = new Float64Array(inputs);
  for (let o = 0; o < outputs; o++) {
    row.fill(0);
    for (let r = 0; r < rank; r++) {
      const factor = (alpha / rank) * b[o * rank + r];
      for (let i = 0; i < inputs; i++) row[i] += factor * a[r * inputs + i];
    }
    const [start, stride] = fanInFirst ? [o, outputs] : [o * inputs, 1];
    for (let i = 0; i < inputs; i++) weight[start + i * stride] += row[i];
  }
  return weight;
}
