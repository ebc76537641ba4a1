// A run's recipe: a folder with which PyTorch trains the same run, on as many machines as there
// are. It has the program, the settings under their own names, the tokens, the student's starting
// weights and, of a run that has begun, its checkpoint. What Python computes is in distill.py,
// models.py and stillhouse.py; this file writes what they read.

import { type Config, FIELDS } from '../../config';
import { ALIGNED_NAMES, alignedLossOf } from '../../divergences';
import type { Field } from '../../field';
import { ModelFileError } from '../../files/download';
import { ExportError, type Piece } from '../../files/pieces';
import { type SafetensorsType, writeSafetensors } from '../../files/safetensors';
import type { ModelSource } from '../../files/source';
import { SCALER } from '../../kernels/sources';
import { formatLink } from '../../link';
import type { Architecture } from '../../model/family';
import { trainedOf } from '../../model/lora';
import { type Parameter, planArena, type Weights, withNewWeights } from '../../model/parameters';
import { openWeights, safetensorsPieces } from '../../model/weights';
import { modelReference } from '../../model-reference';
import { Random } from '../../tensor/random';
import type { prepareData } from '../data';
import { exportName, fileOf, jsonPieces, type StudentFile } from '../export/export';
import { adapterPieces, peftFiles } from '../export/peft';
import type { FolderTokenizer } from '../teacher/folder';
import { type Snapshot, splitSnapshot } from '../training-state';
import accelerate from './accelerate.yaml?raw';
import distill from './distill.py?raw';
import gkd from './gkd.py?raw';
import models from './models.py?raw';
import { type HubModel, inGkd, readme } from './readme';
import requirements from './requirements.txt?raw';
import stillhouse from './stillhouse.py?raw';

/** A parameter's values, by its name. */
type Reader = (name: string) => Promise<Float32Array>;

/** What a run gives to its recipe. */
export interface Ingredients {
  config: Readonly<Config>;
  student: Architecture;
  /** Those that the run started from. */
  weights: Weights;
  data: Pick<ReturnType<typeof prepareData>, 'joined' | 'batches'>;
  /** Where the run stands; none before its first step. */
  snapshot?: Snapshot;
}

interface Origin {
  teacher: ModelSource;
  /** The hub's commits of the models that came from it. */
  revisions?: { teacher?: string; student?: string };
  tokenizer: Pick<FolderTokenizer, 'files' | 'endOfText'>;
  /** `sha256` is of all tokens. `own`: the user's text. */
  corpus: { name: string; own: boolean; sha256: string };
}

/** What each setting of a few values may be in Python. */
const CHOICES = Object.fromEntries(
  Object.entries<Field>(FIELDS).flatMap(([name, field]) =>
    field.type === 'choice'
      ? [[name, field.choices.filter((choice) => !ALIGNED_NAMES.some((one) => one === choice))]]
      : [],
  ),
);
/** A recipe repeats so many batches' places in the text, by which Python checks its own. */
const CHECKED_BATCHES = 4;
/** What a student of adapters needs besides requirements.txt. */
const PEFT = 'peft==0.21.0';
/** Bytes of a teacher's file that are read at a time. */
const SLICE = 2 ** 22;

/**
 * The folder's name and its files.
 * @throws ExportError for a teacher without safetensors
 */
export async function writeRecipe(
  { config, student, weights, data, snapshot }: Ingredients,
  origin: Origin,
): Promise<{ name: string; files: StudentFile[] }> {
  const { tokenizer, corpus, teacher } = origin;
  const { adapters } = student;
  const aligned = alignedLossOf(config);
  if (aligned) {
    throw new ExportError(
      `A recipe does not have the loss ${aligned}. Use another loss, or TRL’s GOLDTrainer with ` +
        `uld_token_merge_strategy="bayesian"${aligned === 'gold' ? ' and the hybrid loss' : ''}.`,
    );
  }
  const fixed = (name: string, pieces: readonly Piece[]) =>
    fileOf(name, pieces, { parameter: () => Promise.reject(new Error(`${name} has no weights.`)) });
  const text = (name: string, content: string) => fixed(name, [new TextEncoder().encode(content)]);
  const weightFile = (name: string, parameter: (name: string) => Promise<Float32Array>) =>
    fileOf(name, safetensorsPieces(student, 'F32'), { parameter });

  // `teacher` is no model's name here: it stands for the teacher's layers. With experts that are
  // copies, the student is no longer the model that it starts from.
  const isOwn = config.student_model === 'teacher' || config.student_experts > 0;
  const start = isOwn ? undefined : modelReference(config.student_model);
  const teacherReference = modelReference(config.teacher_model);
  const fromHub = (reference: typeof start, revision?: string): HubModel | undefined =>
    reference?.kind === 'hub'
      ? { id: reference.id, revision: revision ?? reference.revision ?? 'main' }
      : undefined;
  const hubStudent = fromHub(start, origin.revisions?.student);
  const hubTeacher = fromHub(teacherReference, origin.revisions?.teacher);
  const step = snapshot?.step;
  const { batch_size: B, max_length: T, seed, packing } = config;
  const starts = Array.from({ length: CHECKED_BATCHES }, (_, index) => data.batches.starts(index));
  const recipe = {
    link: `#${formatLink(config)}`,
    student: hubStudent ?? { folder: 'student' },
    teacher: hubTeacher ?? { folder: 'teacher' },
    vocabulary: student.vocabularySize,
    sizes: student.config,
    data: corpus,
    order: { of: [B, T, seed, packing], starts },
    choices: CHOICES,
  };
  const formatted = jsonPieces(student.formatConfig('float32', tokenizer.endOfText));
  const files = [
    text('README.md', readme({ config, step, hubStudent, hubTeacher, corpus })),
    text('models.py', models),
    text('stillhouse.py', stillhouse),
    ...(inGkd(config) ? [text('gkd.py', gkd)] : []),
    text('requirements.txt', adapters ? `${requirements}${PEFT}\n` : requirements),
    text('accelerate.yaml', accelerate),
    fixed('settings.json', jsonPieces(config)),
    fixed('recipe.json', jsonPieces(recipe)),
    fixed('tokens.safetensors', [tokensFile(data.joined)]),
    fixed('student/config.json', formatted),
    ...[...tokenizer.files].map(([file, bytes]) => fixed(`student/${file}`, [bytes])),
    ...(hubStudent
      ? []
      : [weightFile('student/model.safetensors', await readerOf(student, weights))]),
    ...(hubTeacher ? [] : await folderFiles(teacher)),
  ];
  const random = new Random(seed).fork('adapters');
  const started = await readerOf(
    student,
    withNewWeights(new Map(), adapters?.parameters ?? [], random),
  );
  const adapterFiles = peftFiles(student, hubStudent?.id);
  for (const [name, pieces] of adapterFiles)
    files.push(fileOf(name, pieces, { parameter: started }));
  if (snapshot) {
    const trained = trainedOf(student);
    const [first] =
      config.twin === '' ? [snapshot] : splitSnapshot(snapshot, planArena(trained).count);
    const { applied } = SCALER.read(first.scaler);
    const state = (name: string, array: ArrayBuffer, frozen?: Reader) => {
      const parameters = frozen ? student.parameters : trained;
      const pieces = adapters
        ? adapterPieces(student, trained)
        : safetensorsPieces({ ...student, parameters }, 'F32');
      const parameter = arrayReader(trained, array, frozen);
      return fileOf(`checkpoint/${name}`, pieces, { parameter });
    };
    files.push(
      adapters
        ? fixed('checkpoint/adapter_config.json', adapterFiles[0][1])
        : fixed('checkpoint/config.json', formatted),
      fixed('checkpoint/state.json', jsonPieces({ step, applied })),
      adapters
        ? state('adapter_model.safetensors', first.master)
        : state('model.safetensors', first.master, await frozenOf(student, weights)),
      state('mean.safetensors', first.mean),
      state('square.safetensors', first.square),
    );
  }
  // The last: files that were not all written cannot be run.
  files.push(text('distill.py', distill));
  return { name: `recipe-${exportName(config, student, step ?? 0)}`, files };
}

/** All tokens, where documents begin, and, if some tokens are no targets, which are. */
function tokensFile({ train, heldOut }: Ingredients['data']['joined']) {
  type Row = [name: string, dtype: SafetensorsType, data?: Uint8Array | Int32Array];
  const rows = Object.entries({ train, held_out: heldOut }).flatMap(([part, text]): Row[] => [
    [`${part}.tokens`, 'I32', Int32Array.from(text.ids)],
    [`${part}.documents`, 'I32', Int32Array.from(text.documents)],
    [`${part}.learned`, 'U8', text.learned],
  ]);
  return writeSafetensors(
    new Map(
      rows.flatMap(([name, dtype, data]) =>
        data ? [[name, { dtype, shape: [data.length], data }] as const] : [],
      ),
    ),
  );
}

/** Reads a parameter of weights in memory, or of streamed ones, which are then kept. */
async function readerOf({ parameters }: Architecture, weights: Weights): Promise<Reader> {
  let values = weights as ReadonlyMap<string, Float32Array>;
  if (typeof weights === 'function') {
    const sizes = parameters.map(
      ({ name, shape }) => [name, shape.reduce((a, b) => a * b)] as const,
    );
    const kept = new Map(sizes.map(([name, size]) => [name, new Float32Array(size)]));
    await weights((name, first, slice) => kept.get(name)?.set(slice, first));
    values = kept;
  }
  return async (name: string) => values.get(name) as Float32Array;
}

/** Reads what does not train; undefined if all does. */
const frozenOf = (student: Architecture, weights: Weights) =>
  student.trains && readerOf(student, weights);

/** Reads a parameter of an array that has an arena's layout, or one that is not in it. */
function arrayReader(
  parameters: readonly Parameter[],
  array: ArrayBuffer,
  others?: Reader,
): Reader {
  const { tensors } = planArena(parameters);
  return async (name) => {
    const place = tensors.get(name);
    if (!place && others) return others(name);
    return new Float32Array(array, 4 * (place?.first ?? 0), place?.size ?? 0);
  };
}

/** A model's config and weights, copied as they are. */
async function folderFiles(source: ModelSource): Promise<StudentFile[]> {
  const { tensors } = await openWeights(source).catch((error) => {
    if (!(error instanceof ModelFileError && error.missing)) throw error;
    throw new ExportError(
      `write the recipe: ${source.label} has no safetensors, and PyTorch does not read ONNX. ` +
        'Choose a teacher with a model.safetensors.',
    );
  });
  const shards = [...new Set([...tensors.values()].map(({ file }) => file))];
  const index = 'model.safetensors.index.json';
  const names = ['config.json', ...(shards[0] === 'model.safetensors' ? [] : [index]), ...shards];
  return Promise.all(
    names.map(async (name) => {
      const bytes = await source.size(name);
      return {
        name: `teacher/${name}`,
        bytes,
        async *chunks() {
          for (let from = 0; from < bytes; from += SLICE)
            yield await source.range(name, from, Math.min(bytes, from + SLICE));
        },
      };
    }),
  );
}
