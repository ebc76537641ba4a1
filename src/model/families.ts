// The families of models that Stillhouse's own kernels run: one row each.

import { ModelFileError } from '../files/download';
import { shownJson } from '../quote';
import type { Architecture, ExpertSizes, Family, ModelSizes } from './family';
import { GPT2 } from './gpt2/gpt2';
import { LLAMA_FAMILIES } from './llama/llama';

export const FAMILIES: Family[] = [GPT2, ...LLAMA_FAMILIES];

/** The family of a new student whose teacher's our kernels do not know. */
export const NEW_STUDENT_FAMILY: Family = GPT2;

/** What a new student with experts is where its teacher's architecture has none that fit. */
const WITH_EXPERTS = ['qwen3_moe', 'dots1'];

/**
 * The family of a new student with experts: the teacher's own, or the nearest in which the router
 * learns.
 * @param biased whether a bias shall take part in the choice
 */
export function familyWithExperts(
  teacher: Family,
  { perToken, biased }: Pick<ExpertSizes, 'perToken'> & { biased: boolean },
): Family {
  const fits = ({ experts }: Family) =>
    experts && !(experts.normalised && perToken === 1) && (experts.sigmoid || !biased);
  const types = [teacher.modelType, teacher.withExperts, ...WITH_EXPERTS];
  const families = types.flatMap((type) => FAMILIES.filter((one) => one.modelType === type));
  return families.find(fits) as Family;
}

// A damaged or hostile file must not ask for endless work.
const MOST_TOKENS = { vocabulary: 2 ** 20, context: 2 ** 20 };

/** For messages: GPT-2, Llama or Qwen3. */
export const familyTitles = (): string =>
  new Intl.ListFormat('en-GB', { type: 'disjunction' }).format(FAMILIES.map(({ title }) => title));

/** Whether our kernels run the model of this config.json; onnxruntime may run any other. */
export const isSupported = (json: unknown): boolean => familyOf(json) !== undefined;

/**
 * The model that a parsed config.json describes.
 * @param file the name that errors carry
 * @throws ModelFileError that names the field, its value and what is supported
 */
export function parseConfig(json: unknown, file = 'config.json'): Architecture {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    const got = shownJson(json);
    throw new ModelFileError(
      'model',
      `${file}: expected an object, got ${got}. Use the model's own config.json.`,
    );
  }
  const family = familyOf(json);
  if (family) return family.parseConfig(json as Record<string, unknown>, file);
  const type = shownJson(field(json, 'model_type'));
  const supported = FAMILIES.map(({ modelType }) => JSON.stringify(modelType)).join(', ');
  throw new ModelFileError(
    'model',
    `${file}: model_type is ${type}; Stillhouse reads ${supported}. ` +
      `Choose a ${familyTitles()} model, or for a teacher one with onnx/model.onnx.`,
  );
}

/** The model that our kernels run, or the error that says why they do not. */
export function tryConfig(json: unknown, file?: string): Architecture | ModelFileError {
  try {
    return parseConfig(json, file);
  } catch (error) {
    if (error instanceof ModelFileError) return error;
    throw error;
  }
}

/**
 * The sizes that any decoder's config.json has, under one name or another, and the family if it is
 * one of FAMILIES.
 * @throws ModelFileError that names the missing field
 */
export function parseSizes(
  json: unknown,
  file = 'config.json',
): Pick<ModelSizes, 'vocabularySize' | 'contextWindow'> & { family?: Family } {
  const size = (names: string[], most: number) => {
    const value = names.map((name) => field(json, name)).find((v) => v !== undefined);
    if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= most)
      return value as number;
    throw new ModelFileError(
      'model',
      `${file}: ${names.join(' or ')} is ${shownJson(value)}; ` +
        `it must be a whole number from 1 to ${most}.`,
    );
  };
  return {
    vocabularySize: size(['vocab_size'], MOST_TOKENS.vocabulary),
    contextWindow: size(['n_positions', 'max_position_embeddings', 'n_ctx'], MOST_TOKENS.context),
    family: familyOf(json),
  };
}

function familyOf(json: unknown): Family | undefined {
  const type = field(json, 'model_type');
  return FAMILIES.find(({ modelType }) => modelType === type);
}

/** A field of an object that came from a file. */
function field(json: unknown, name: string): unknown {
  if (typeof json !== 'object' || json === null || !Object.hasOwn(json, name)) return undefined;
  return (json as Record<string, unknown>)[name];
}
