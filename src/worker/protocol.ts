// Every message between the page and the worker: two discriminated unions, nothing beside them.
// A run id goes with each message about a run; what arrives for a run that is over is dropped.

import type { CheckRow } from '../check/run';
import type { Config, LiveChanges } from '../config';
import type { CorpusFile, Reading } from '../data/documents';
import type { BugLabReport, Experiment } from '../distill/bug-lab/records';
import type { DataPreview } from '../distill/data';
import type { ExportType } from '../distill/export/export';
import type { RunStory } from '../distill/export/model-card';
import type { ProfileReport } from '../distill/profile/profile';
import type { EvaluationRecord, StepRecord } from '../distill/records';
import type { CacheReport, RunStage } from '../distill/run';

export type { CheckRow } from '../check/run';
export type { Reading } from '../data/documents';
export type * from '../distill/bug-lab/records';
export type { DataPreview } from '../distill/data';
export type { ExportType } from '../distill/export/export';
export type { LossRow, RunStory } from '../distill/export/model-card';
export type { LossPath } from '../distill/loss-paths';
export type { Figures, ProfileReport } from '../distill/profile/profile';
export type { EvaluationRecord, Sample, StepRecord } from '../distill/records';
export type { CacheReport } from '../distill/run';

/**
 * Files of the user's own, or a pasted text as one; without them the run uses the built-in book.
 */
export interface UserCorpus {
  files: CorpusFile[];
  reading: Reading;
}

/** What is in one of the user's files. */
export interface FileReport {
  name: string;
  documents: number;
  /** Values that were empty and so are in no document. */
  empty: number;
  /** What can be chosen in it: columns of a .csv, fields of a .jsonl. */
  columns: string[];
  /** Why it cannot be read, and what can be done. */
  problem?: string;
}

/** Which of the two models is meant. */
export type Role = 'teacher' | 'student';

/**
 * Files that were dropped on the page for a model, by their path in its folder; or the folder's
 * .zip alone, by its name.
 */
export type DroppedFiles = Partial<Record<Role, ReadonlyMap<string, Blob>>>;

/** What is known of a model before anything large of it is read. */
export interface ModelReport {
  label: string;
  /** What will run it: our own kernels, or onnxruntime. */
  engine: 'stillhouse' | 'onnxruntime';
  /** Undefined for a graph whose config.json does not tell. */
  parameters?: number;
  /** Of the weights, on disk. */
  bytes: number;
  vocabularySize: number;
  /** The longest context. */
  positions: number;
  /** Of a GPT-2. */
  layers?: number;
}

/** What a run will take of the GPU. */
export interface MemoryPlan {
  /** Bytes by purpose, as in a run's status. */
  memory: Record<string, number>;
  /**
   * Bytes; the most that the adapter gives in one piece. How much it has in all, no adapter tells.
   */
  largestBuffer: number;
  /** onnxruntime runs the teacher, and its working memory is not counted. */
  atLeast: boolean;
}

export type ToWorker =
  /**
   * Ask what this machine offers; answered by `adapter`, or `failed` with `runId: ''`. Starts
   * nothing.
   */
  | { type: 'probe' }
  /**
   * Hold every kernel against its slow twin; answered by `check-row` for each and `check-done`.
   * Refused while a run trains.
   */
  | { type: 'check' }
  /** Read what a model's folder says of it; answered by `inspected` with the same id. */
  | { type: 'inspect'; id: number; role: Role; reference: string; files?: DroppedFiles }
  /**
   * Read the data as a run with these settings would; answered by `preview` with the same id. Needs
   * no GPU.
   */
  | { type: 'preview'; id: number; config: Config; corpus?: UserCorpus; files?: DroppedFiles }
  /** Work out what a run of these settings will take; answered by `planned` with the same id. */
  | { type: 'plan'; id: number; config: Config; files?: DroppedFiles }
  /** Load, build and (unless `paused`) train. */
  | {
      type: 'start';
      runId: string;
      config: Config;
      corpus?: UserCorpus;
      files?: DroppedFiles;
      paused?: boolean;
    }
  | { type: 'pause'; runId: string }
  | { type: 'resume'; runId: string }
  /** One step while paused. */
  | { type: 'step'; runId: string }
  /** Drop the run and free its memory. */
  | { type: 'reset'; runId: string }
  | { type: 'change'; runId: string; changes: LiveChanges }
  /**
   * Write the student as a .zip; answered by `exporting` and then `exported` or `export-failed`.
   * Refused while the run trains.
   */
  | { type: 'export'; runId: string; dtype: ExportType; story: RunStory }
  /**
   * Measure where a step goes; answered by `profiled` or `profile-failed`. Refused while the run
   * trains, and changes nothing of it.
   */
  | { type: 'profile'; runId: string }
  /** After `lost`: a new device, and on from the last evaluation's weights. */
  | { type: 'recover'; runId: string }
  /**
   * Run one of the Bug Lab's experiments, after ending the one before. Refused while a run trains.
   */
  | { type: 'bug-lab'; experiment: Experiment }
  /** End the experiment that is going on. */
  | { type: 'bug-lab-stop' };

/** What the status strip says about the machine. */
export interface AdapterReport {
  /** As the driver names it, e.g. "NVIDIA GeForce RTX 4070" or "SwiftShader". */
  name: string;
  vendor: string;
  /** True for a software renderer: works, slowly. */
  software: boolean;
  f16: boolean;
  /** The fewest lanes that a subgroup has; 0 without subgroups. */
  subgroupSize: number;
  timestamps: boolean;
  maxBindingBytes: number;
}

export type LoadingStage = 'device' | 'corpus' | 'tokenizer' | RunStage;

/** What is fixed once a run is built. */
export interface RunReport {
  dtype: 'float16' | 'float32';
  /** Undefined for a graph whose config.json does not tell. */
  teacherParameters?: number;
  studentParameters: number;
  vocabularySize: number;
  /** Targets of one optimiser step: batch_size × max_length × gradient_accumulation. */
  tokensPerStep: number;
  /** Tokens of the corpus: for training, and held out. */
  trainTokens: number;
  heldOutTokens: number;
  /**
   * Our dispatches and submissions in one optimiser step; the status has submissions as they come.
   */
  dispatchesPerStep: number;
  submissionsPerStep: number;
  /** What was kept of the teacher, where it is cached: it is then no longer in memory. */
  cache?: CacheReport;
}

export interface RunStatus {
  state: 'running' | 'paused' | 'finished';
  /** Optimiser steps done. */
  step: number;
  tokensPerSecond: number;
  /** Undefined until there is something to estimate it from. */
  secondsLeft?: number;
  /** One a batch, more where they would keep the GPU busy for too long. */
  submissionsPerStep: number;
  /** Bytes of GPU memory by purpose, e.g. { weights: …, activations: …, teacher: … }. */
  memory: Record<string, number>;
}

/** An error with everything needed to say it whole. */
export interface Failure {
  /** What was being done, e.g. "load the teacher". */
  operation: string;
  /** What happened, with the values. */
  message: string;
  /** What the user can do next. */
  hint?: string;
  kind: 'no-webgpu' | 'no-adapter' | 'limits' | 'corpus' | 'model' | 'network' | 'internal';
  stack?: string;
}

export type FromWorker =
  | { type: 'adapter'; adapter: AdapterReport }
  | { type: 'check-row'; row: CheckRow }
  /** The table as text for a bug report, or why there is none. */
  | { type: 'check-done'; text: string }
  | { type: 'check-done'; failure: Failure }
  /** Without a `preview`, a file has a problem, or `failure` says what else is wrong. */
  | { type: 'preview'; id: number; files: FileReport[]; preview?: DataPreview; failure?: Failure }
  /** `loaded` and `total` are bytes where the stage downloads, and absent where it does not. */
  | {
      type: 'loading';
      runId: string;
      stage: LoadingStage;
      detail: string;
      loaded?: number;
      total?: number;
    }
  /** Worth a line in the log: something went another way than usual, and the run goes on. */
  | { type: 'note'; runId: string; text: string }
  | { type: 'inspected'; id: number; role: Role; report: ModelReport }
  | { type: 'inspected'; id: number; role: Role; failure: Failure }
  | { type: 'planned'; id: number; plan: MemoryPlan }
  | { type: 'planned'; id: number; failure: Failure }
  | { type: 'ready'; runId: string; adapter: AdapterReport; run: RunReport }
  | { type: 'steps'; runId: string; records: StepRecord[] }
  | { type: 'evaluation'; runId: string; record: EvaluationRecord }
  | { type: 'status'; runId: string; status: RunStatus }
  /** A live change took effect before this step. */
  | { type: 'changed'; runId: string; step: number; changes: LiveChanges }
  /** Bytes of all files so far, of how many; `file` is the one that is being written. */
  | { type: 'exporting'; runId: string; file: string; written: number; total: number }
  /** A folder of this name in a .zip. */
  | { type: 'exported'; runId: string; name: string; zip: Blob }
  /** The run itself goes on. */
  | { type: 'export-failed'; runId: string; failure: Failure }
  /** And the same as text, for a bug report. */
  | { type: 'profiled'; runId: string; report: ProfileReport; text: string }
  /** The run itself goes on. */
  | { type: 'profile-failed'; runId: string; failure: Failure }
  /** The run cannot go on. What it reported so far stays valid. */
  | { type: 'failed'; runId: string; failure: Failure }
  /** What the experiment is loading or building. */
  | { type: 'bug-lab-loading'; detail: string }
  | { type: 'bug-lab-report'; report: BugLabReport }
  /** The experiment is over: done, or ended as asked. */
  | { type: 'bug-lab-done' }
  | { type: 'bug-lab-failed'; failure: Failure }
  /**
   * The GPU device went away. `resumeStep` is the step of the last evaluation's weights, if there
   * are any.
   */
  | { type: 'lost'; runId: string; message: string; resumeStep?: number };
