// A student that starts from weights: a checkpoint's, or those of some of its teacher's layers.

import type { Config } from '../config';
import { isPadded, type Tokenizer } from '../data/tokenizer';
import { count, ModelFileError } from '../files/download';
import { type ModelSource, readJson } from '../files/source';
import { copiedToExperts, routersOf } from '../model/experts';
import { parseConfig, parseSizes } from '../model/families';
import type { Architecture, ExpertSizes } from '../model/family';
import { withAdapters } from '../model/lora';
import type { Parameter, Weights } from '../model/parameters';
import { openWeights, streamWeights } from '../model/weights';
import { withTrainedRouters } from './router-training';
import { hasTokenizer, openTokenizer } from './teacher/folder';
import type { TeacherSizes } from './teacher/teacher';

export interface StudentStart {
  architecture: Architecture;
  weights: Weights;
  /** Parameters that `weights` lacks and that begin at random. */
  routers?: Parameter[];
}

/** The experts that the settings ask for. */
export const expertSizes = ({
  student_experts: count,
  experts_per_token: perToken,
}: Pick<Config, 'student_experts' | 'experts_per_token'>): ExpertSizes | undefined =>
  count > 0 ? { count, perToken } : undefined;

/**
 * Reads headers only; the weights are read when the run is built.
 * @param student the checkpoint's folder, if student_model names one
 * @param ownVocabulary it is not the teacher's, and need not be
 * @returns undefined for a student that starts from random weights
 * @throws ModelFileError if the folder, the layers, the vocabulary, lora_targets or experts do not
 * fit
 */
export async function openStudent(
  {
    student_model,
    student_from_layers,
    lora_rank: rank,
    lora_alpha: alpha,
    lora_targets: targets,
    ...config
  }: Pick<
    Config,
    | 'student_model'
    | 'student_from_layers'
    | 'student_experts'
    | 'experts_per_token'
    | 'lora_rank'
    | 'lora_alpha'
    | 'lora_targets'
    | 'train_router'
    | 'train_only_router'
  >,
  teacher: ModelSource,
  teacherSizes: TeacherSizes,
  student?: ModelSource,
  ownVocabulary = false,
): Promise<StudentStart | undefined> {
  if (student_model === '') return undefined;
  const source = student_model === 'teacher' ? teacher : student;
  if (!source) throw new Error(`openStudent: student_model=${student_model} without its folder.`);
  const stored = parseConfig(
    await readJson(source, 'config.json'),
    `config.json of ${source.label}`,
  );
  const [studentV, teacherV] = [stored, teacherSizes].map((sizes) => sizes.vocabularySize);
  const fewer = ownVocabulary ? studentV : Math.min(studentV, teacherV);
  if (!ownVocabulary && !isPadded(fewer, Math.max(studentV, teacherV)))
    throw differentSizes([source, studentV], [teacher, teacherV]);
  const layers =
    student_model === 'teacher' ? chosenLayers(student_from_layers, stored.layers) : undefined;
  const files = await openWeights(source);
  // Rows that only one of the models has are padding: see `requireSameVocabulary`.
  const whole = (layers ? stored.withLayers(layers) : stored).withVocabulary(fewer);
  const experts = expertSizes(config);
  if (experts) {
    const architecture = withTrainedRouters(whole.withExperts(experts), config);
    return {
      architecture,
      weights: (sink) => streamWeights(files, stored, copiedToExperts(architecture, sink), layers),
      routers: routersOf(architecture),
    };
  }
  return {
    architecture: withTrainedRouters(
      rank > 0 ? withAdapters(whole, { rank, alpha, targets }) : whole,
      config,
    ),
    weights: (sink) => streamWeights(files, stored, sink, layers),
  };
}

/** The loss that such a pair can be trained with. */
const OR_ALIGN = 'or use loss=uld, which compares probabilities by rank.';

type Sized = [model: ModelSource, tokens: number];

const differentSizes = ([student, studentV]: Sized, [teacher, teacherV]: Sized) =>
  new ModelFileError(
    'model',
    `The student ${student.label} has ${count(studentV)} tokens, ` +
      `the teacher ${teacher.label} ${count(teacherV)}. ` +
      'Choose two models with the same tokenizer, leave student_model empty for a new student ' +
      `with the teacher’s tokenizer, ${OR_ALIGN}`,
  );

/** Enough to tell any two tokenizers apart, unless one was made from the other. */
const COMPARED_TOKENS = 1000;

/**
 * Compares the student's tokenizer with the teacher's, if its folder has one. The models may have
 * different numbers of rows, as long as both have all tokens: the others are padding.
 * @throws ModelFileError unless the same ids stand for the same text in both
 */
export async function requireSameVocabulary(
  ...models: Parameters<typeof vocabularyDifference>
): Promise<void> {
  const difference = await vocabularyDifference(...models);
  if (difference) throw difference;
}

/** What `requireSameVocabulary` throws; undefined for one vocabulary. */
export async function vocabularyDifference(
  tokenizer: Tokenizer,
  teacher: ModelSource,
  student: ModelSource,
  note: (text: string) => void,
): Promise<ModelFileError | undefined> {
  const file = `config.json of ${student.label}`;
  const { vocabularySize: rows } = parseSizes(await readJson(student, 'config.json'), file);
  if (!isPadded(tokenizer.vocabularySize, rows))
    return differentSizes([student, rows], [teacher, tokenizer.vocabularySize]);
  if (!(await hasTokenizer(student))) {
    note(`${student.label} has no tokenizer: it is assumed to use the teacher’s.`);
    return undefined;
  }
  const names = { teacher: teacher.label, student: student.label };
  return differentTokens(tokenizer, await openTokenizer(student, rows), names);
}

/** Undefined if the same ids stand for the same text in both tokenizers. */
export function differentTokens(
  teacher: Tokenizer,
  student: Tokenizer,
  names: { teacher: string; student: string },
): ModelFileError | undefined {
  const V = Math.min(teacher.vocabularySize, student.vocabularySize);
  for (let id = 0; id < V; id += Math.ceil(V / COMPARED_TOKENS)) {
    const [a, b] = [teacher, student].map((tokenizer) => JSON.stringify(tokenizer.decode([id])));
    if (a === b) continue;
    return new ModelFileError(
      'model',
      `Token ${id} is ${a} for the teacher ${names.teacher} and ${b} for the student ` +
        `${names.student}. Choose two models with the same tokenizer, leave student_model empty ` +
        `for a new student, ${OR_ALIGN}`,
    );
  }
  return undefined;
}

/** Parses "0,2,4". @throws ModelFileError for a layer that the teacher lacks */
function chosenLayers(text: string, available: number): number[] {
  const layers = text.split(',').map(Number);
  const unknown = layers.find((layer) => layer >= available);
  if (unknown === undefined) return layers;
  throw new ModelFileError(
    'model',
    `student_from_layers is ${text}, and the teacher has no layer ${unknown}. ` +
      `Its ${available} layers are 0 to ${available - 1}.`,
  );
}
