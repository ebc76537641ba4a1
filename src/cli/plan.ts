// What a run will be, before anything large is read: its student, its tokens, its memory, and, in
// a dry run, its least time and what the Doctor can tell from these alone.

import { type Config, tokensPerStep } from '../config';
import type { Document } from '../data/documents';
import { encodeAligned, encodeDocuments } from '../data/split';
import { prepareData } from '../distill/data';
import { rooflineOf } from '../distill/profile/roofline';
import type { DataFacts } from '../distill/records';
import { routerWarning } from '../distill/router-training';
import { planMemory } from '../distill/run-models';
import { dtypeOf, newStudent, requireContext } from '../distill/run-setup';
import { stepFlops } from '../distill/step-flops';
import { Doctor } from '../doctor/doctor';
import { usualLearningRate } from '../doctor/rules/settings';
import type { Gpu } from '../gpu/device';
import type { Purpose } from '../gpu/memory';
import { routersOf } from '../model/experts';
import type { Architecture } from '../model/family';
import { planArena } from '../model/parameters';
import type { OpenModels } from './models';
import { duration, figure, learning, memoryText, verdictLines } from './progress';

export interface PlanOptions {
  config: Config;
  gpu: Gpu;
  models: OpenModels;
  texts: Document[];
}

/** @throws GpuError for a context or a precision that a model or the adapter does not offer */
export async function planRun({ config, gpu, models, texts }: PlanOptions) {
  const { teacher, tokenizer, teacherTokenizer } = models;
  const dtype = dtypeOf(config, gpu);
  requireContext(config, teacher.sizes, models.student?.architecture);
  const student = models.student?.architecture ?? newStudent(config, teacher.sizes);
  const assistantOnly = config.assistant_only_loss === 'on';
  const documents = teacherTokenizer
    ? encodeAligned(texts, tokenizer, teacherTokenizer, assistantOnly)
    : encodeDocuments(texts, tokenizer, assistantOnly);
  const makeTeacher = teacher.plan;
  const vocabularies = { tokenizer, teacherTokenizer };
  const planned = await planMemory({ gpu, config, dtype, student, makeTeacher, ...vocabularies });
  return { dtype, student, documents, planned };
}

/** What is planned, as a run prints it first. */
export function planLines(
  { gpu, models: { teacher } }: Pick<PlanOptions, 'gpu' | 'models'>,
  planned: Partial<Record<Purpose, number>>,
  dtype: 'f16' | 'f32',
): string[] {
  const atLeast = teacher.engine.name === 'onnxruntime' ? 'at least ' : '';
  return [
    `${gpu.adapter.name}, ${dtype === 'f16' ? 'float16' : 'float32'}. ` +
      `GPU memory planned: ${atLeast}${memoryText(planned)}`,
    `The teacher runs in ${teacher.engine.name}: ${teacher.engine.reason}.`,
  ];
}

/** The share of the training tokens that counts, if not all do, as part of a sentence. */
export const learnedText = ({ learnedShare }: Pick<DataFacts, 'learnedShare'>): string =>
  learnedShare === undefined
    ? ''
    : ` (loss on ${figure(100 * learnedShare, 1)}% of them, said by the assistant)`;

/** Which layers have routers, or what follows from there being none. */
function routerLine(config: Config, student: Architecture): string {
  const routers = routersOf(student);
  if (routers.length === 0)
    return (
      routerWarning(config, student) ??
      'No router layers: the student is a dense model, so no router trains.'
    );
  const [{ shape }] = routers;
  return `Router layers: ${routers.length} of ${student.layers}, each with ${shape[0]} experts.`;
}

/** Prints what can be known of a run without training it. */
export async function dryRun(options: PlanOptions, say: (line: string) => void): Promise<void> {
  const { config, gpu, models } = options;
  const { dtype, student, documents, planned } = await planRun(options);
  for (const line of planLines(options, planned, dtype)) say(line);
  const { train_steps } = config;
  const { parameters: studentParameters } = planArena(student.parameters);
  const facts = {
    dtype: dtype === 'f16' ? 'float16' : 'float32',
    studentParameters,
    vocabularySize: student.vocabularySize,
    data: prepareData(documents, config).describe(models.tokenizer),
    plannedMemory: planned,
  } as const;
  const { data } = facts;
  const whole = (value: number) => Math.round(value).toLocaleString('en-US');
  const tokens = tokensPerStep(config) * train_steps;
  say(
    `${learning(student)} learn from ${models.source.label} on ` +
      `${whole(data.trainTokens)} tokens${learnedText(data)}, ${whole(data.heldOutTokens)} held ` +
      'out: ' +
      `${whole(tokens)} targets in ${whole(train_steps)} steps, ` +
      `${(tokens / data.trainTokens).toFixed(2)} passes.`,
  );
  const flops = train_steps * stepFlops(config, student, models.teacher.parameters ?? 0);
  if (gpu.adapter.timestamps) {
    const { flopsPerSecond } = await rooflineOf(gpu);
    say(
      `At least ${duration(flops / flopsPerSecond)}: ${(flops / 1e12).toFixed(2)} TFLOP at the ` +
        `${(flopsPerSecond / 1e9).toFixed(1)} GFLOP/s of this adapter’s fastest product. Small ` +
        'models take longer.',
    );
  } else
    say(
      `Time: unknown. It takes ${(flops / 1e12).toFixed(2)} TFLOP, and this adapter has no ` +
        'timestamps to measure its speed with.',
    );
  const rate = usualLearningRate({ config, facts });
  const mine = Number(config.student_lr.toPrecision(3)).toExponential();
  say(
    `A learning rate of about ${rate.toExponential()} is usual for this student; ` +
      `this run’s is ${mine}.`,
  );
  say(routerLine(config, student));
  const { verdicts } = new Doctor(config, facts);
  for (const verdict of verdicts) for (const line of verdictLines(verdict)) say(line);
  if (verdicts.length === 0) say('Doctor: nothing speaks against this run.');
}
