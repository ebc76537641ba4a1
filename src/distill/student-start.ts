// What a student starts from when it is not new: a checkpoint, or chosen layers of its teacher.

import type { Config } from '../config';
import type { Tokenizer } from '../data/tokenizer';
import { count, ModelFileError } from '../files/download';
import { type ModelSource, readJson } from '../files/source';
import { parseConfig } from '../model/families';
import type { Architecture } from '../model/family';
import type { Weights } from '../model/parameters';
import { openWeights, streamWeights } from '../model/weights';
import type { TeacherSizes } from './teacher/teacher';

export interface StudentStart {
  architecture: Architecture;
  weights: Weights;
}

/**
 * Reads headers only; the weights are read when the student takes them.
 * @param student the checkpoint's folder, where student_model names one
 * @returns undefined for a new student
 * @throws ModelFileError if the folder, the layers or the vocabulary do not fit
 */
export async function openStudent(
  { student_model, student_from_layers }: Pick<Config, 'student_model' | 'student_from_layers'>,
  teacher: ModelSource,
  teacherSizes: TeacherSizes,
  student?: ModelSource,
): Promise<StudentStart | undefined> {
  if (student_model === '') return undefined;
  const source = student_model === 'teacher' ? teacher : student;
  if (!source) throw new Error(`openStudent: student_model=${student_model} without its folder.`);
  const stored = parseConfig(
    await readJson(source, 'config.json'),
    `config.json of ${source.label}`,
  );
  if (stored.vocabularySize !== teacherSizes.vocabularySize) {
    const [own, taught] = [count(stored.vocabularySize), count(teacherSizes.vocabularySize)];
    throw new ModelFileError(
      'model',
      `The student ${source.label} has ${own} words, the teacher ${teacher.label} ${taught}. Choose two models with one ` +
        'tokenizer, or leave student_model empty for a new student with the teacher’s words.',
    );
  }
  const layers =
    student_model === 'teacher' ? chosenLayers(student_from_layers, stored.layers) : undefined;
  const files = await openWeights(source);
  return {
    architecture: layers ? stored.withLayers(layers.length) : stored,
    weights: (sink) => streamWeights(files, stored, sink, layers),
  };
}

/**
 * Words of the two vocabularies that are compared: enough to tell any two that were not made from
 * one another.
 */
const COMPARED_WORDS = 1000;

/**
 * @throws ModelFileError unless the student's tokenizer means the same by its ids as the teacher's
 */
export function checkSameWords(
  teacher: Tokenizer,
  student: Tokenizer,
  names: { teacher: string; student: string },
): void {
  const words = teacher.vocabularySize;
  for (let id = 0; id < words; id += Math.ceil(words / COMPARED_WORDS)) {
    const [taught, own] = [teacher.decode([id]), student.decode([id])];
    if (taught === own) continue;
    throw new ModelFileError(
      'model',
      `Token ${id} is ${JSON.stringify(taught)} to the teacher ${names.teacher} and ${JSON.stringify(own)} to the student ` +
        `${names.student}. Choose two models with one tokenizer, or leave student_model empty for a new student.`,
    );
  }
}

/** "0,2,4" as numbers. */
function chosenLayers(text: string, available: number): number[] {
  const layers = text.split(',').map(Number);
  const beyond = layers.find((layer) => layer >= available);
  if (beyond === undefined) return layers;
  throw new ModelFileError(
    'model',
    `student_from_layers is ${text}, and the teacher has no layer ${beyond}. Its ${available} layers are 0 to ${available - 1}.`,
  );
}
