// Trains a case: a real run on the adapter at hand, with the fault that the case names, and its
// Doctor beside it.

import { DEFAULTS } from '../../src/config';
import { Batches, IGNORED_TARGET } from '../../src/data/batches';
import { encodeDocuments } from '../../src/data/split';
import type { Tokenizer } from '../../src/data/tokenizer';
import { detached } from '../../src/distill/bug-lab/detached';
import { Run } from '../../src/distill/run';
import { planMemory } from '../../src/distill/run-models';
import { dtypeOf, newStudent } from '../../src/distill/run-setup';
import type { StudentStart } from '../../src/distill/student-start';
import { teacherFromWeights } from '../../src/distill/teacher/engine';
import { Doctor } from '../../src/doctor/doctor';
import type { Evidence } from '../../src/doctor/evidence';
import type { Verdict } from '../../src/doctor/examine';
import type { Gpu } from '../../src/gpu/device';
import type { Architecture } from '../../src/model/family';
import { initialWeights } from '../../src/model/parameters';
import { Random } from '../../src/tensor/random';
import type { Case, Fault } from './cases';
import { shortDocuments, TEXTS } from './texts';

type WeightMap = ReadonlyMap<string, Float32Array>;

/** What all cases of a teacher share. */
export interface Place {
  gpu: Gpu;
  tokenizer: Tokenizer;
  book: string;
  teacher: { architecture: Architecture; weights: WeightMap };
}

export interface Trained {
  evidence: Evidence;
  /** As they stood at the end. */
  verdicts: readonly Verdict[];
  /** Every verdict that stood at any time, with the step at which it came. */
  ever: { step: number; verdict: Verdict }[];
  /** Why it ended early. */
  error?: string;
}

export async function trainCase(place: Place, wanted: Case): Promise<Trained> {
  const { gpu, tokenizer, book, teacher } = place;
  const { fault, text } = wanted;
  const config = { ...DEFAULTS, ...wanted.settings };
  const dtype = dtypeOf(config, gpu);
  const texts =
    text === 'short-documents' ? shortDocuments(book) : [[text ? TEXTS[text](book) : book]];
  const documents = encodeDocuments(texts, tokenizer);
  const start = studentOf(fault, teacher, newStudent(config, teacher.architecture));
  const weights = teacherOf(fault, teacher);
  const makeTeacher = (gpu: Gpu, shape: Parameters<typeof teacherFromWeights>[3]) =>
    teacherFromWeights(gpu, weights, teacher.architecture, shape);
  const student = start?.architecture ?? newStudent(config, teacher.architecture);
  const plannedMemory = await planMemory({
    gpu,
    config,
    dtype,
    student,
    makeTeacher: (gpu, shape) => teacherFromWeights(gpu, undefined, teacher.architecture, shape),
  });
  const unmask = fault === 'masked-targets' ? maskTargets() : () => {};
  const leaks: GPUBuffer[] = [];
  let doctor: Doctor | undefined;
  const ever: Trained['ever'] = [];
  const note = (step: number, verdicts: readonly Verdict[] = []) => {
    for (const verdict of verdicts) ever.push({ step, verdict });
  };
  let run: Run | undefined;
  let error: string | undefined;
  try {
    run = await Run.create({
      gpu,
      config,
      tokenizer,
      documents,
      makeTeacher,
      teacherConfig: teacher.architecture,
      student: start,
      events: {
        stage: () => {},
        record: (record) => note(record.step, doctor?.step(record)),
        nonFinite: (record) => note(record.step, doctor?.nonFinite(record)),
        evaluation: (record) => {
          if (fault === 'leak') leaks.push(gpu.memory.create('metrics', 'leak', 2e6));
          const totals = Object.values(gpu.memory.totals());
          doctor?.memory(
            record.step,
            totals.reduce<number>((sum, bytes = 0) => sum + bytes, 0),
          );
          note(record.step, doctor?.evaluation(record));
        },
      },
    });
    doctor = new Doctor(config, {
      dtype: dtype === 'f16' ? 'float16' : 'float32',
      studentParameters: run.studentParameters,
      vocabularySize: tokenizer.vocabularySize,
      data: run.dataFacts,
      plannedMemory,
    });
    note(0, doctor.verdicts);
    while (!run.done) await run.advance();
    await run.drain();
  } catch (reason) {
    error = (reason as Error).message;
  } finally {
    unmask();
    await run?.destroy();
    for (const buffer of leaks) gpu.memory.destroy(buffer);
  }
  if (!doctor) throw new Error(`${wanted.name}: the run was not built. ${error}`);
  return { evidence: doctor.evidence, verdicts: doctor.verdicts, ever, error };
}

/** The student's start that a fault asks for; undefined for a new student. */
function studentOf(
  fault: Fault | undefined,
  teacher: Place['teacher'],
  fresh: Architecture,
): StudentStart | undefined {
  const initial = () => initialWeights(fresh.parameters, new Random(1).fork('weights'));
  switch (fault) {
    case 'nan-weights': {
      const weights = new Map(initial());
      weights.set(
        'wte.weight',
        changed(weights, 'wte.weight', () => Number.NaN),
      );
      return { architecture: fresh, weights };
    }
    case 'large-gains': {
      const weights = new Map(initial());
      for (const name of weights.keys())
        if (/ln_.*weight/.test(name))
          weights.set(
            name,
            changed(weights, name, (w) => 200 * w),
          );
      return { architecture: fresh, weights };
    }
    case 'detached-loss':
      return { architecture: detached(fresh), weights: initial() };
    case 'copied-teacher':
      return teacher;
    case 'permuted-student':
      return { architecture: teacher.architecture, weights: permuted(teacher) };
    default:
      return undefined;
  }
}

function teacherOf(fault: Fault | undefined, teacher: Place['teacher']): WeightMap {
  if (fault === 'permuted-teacher') return permuted(teacher);
  if (fault !== 'random-teacher') return teacher.weights;
  return initialWeights(teacher.architecture.parameters, new Random(5).fork('weights'));
}

const changed = (weights: WeightMap, name: string, change: (w: number) => number) =>
  (weights.get(name) as Float32Array).map(change);

/** The model with its tokens' rows in the opposite order: a vocabulary of the same size. */
function permuted({ architecture, weights }: Place['teacher']): WeightMap {
  const V = architecture.vocabularySize;
  const rows = weights.get('wte.weight') as Float32Array;
  const width = rows.length / V;
  const moved = new Float32Array(rows.length);
  for (let id = 0; id < V; id++)
    moved.set(rows.subarray(id * width, (id + 1) * width), (V - 1 - id) * width);
  return new Map(weights).set('wte.weight', moved);
}

/** Ignores three of four targets of every training batch, until the returned function is called. */
function maskTargets(): () => void {
  const { at } = Batches.prototype;
  Batches.prototype.at = function (index) {
    const batch = at.call(this, index);
    return { ...batch, targets: batch.targets.map((t, i) => (i % 4 === 0 ? t : IGNORED_TARGET)) };
  };
  return () => {
    Batches.prototype.at = at;
  };
}
