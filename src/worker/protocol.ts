// Every message between the page and the worker: two discriminated unions, nothing else. Messages
// about a run carry its id; those about a run that is over are ignored.

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

/** The user's files; a pasted text counts as one. Without them a run uses the built-in book. */
export interface UserCorpus {
  files: CorpusFile[];
  reading: Reading;
}

/** The contents of one of the user's files. */
export interface FileReport {
  name: string;
  documents: number;
  /** Empty values; they are in no document. */
  empty: number;
  /** The user can choose among these: columns of a .csv, fields of a .jsonl. */
  columns: string[];
  /** Why it cannot be read, and what to do. */
  problem?: string;
}

export type Role = 'teacher' | 'student';

/** Files dropped on the page for a model, by path in its folder; or a single .zip, by name. */
export type DroppedFiles = Partial<Record<Role, ReadonlyMap<string, Blob>>>;

/** A model, as far as its config and headers tell. */
export interface ModelReport {
  label: string;
  /** Runs the model: our own kernels, or onnxruntime. */
  engine: 'stillhouse' | 'onnxruntime';
  /** Undefined for an ONNX graph whose config.json does not say. */
  parameters?: number;
  /** Size of the weights on disk. */
  bytes: number;
  vocabularySize: number;
  /** The longest context, in tokens. */
  positions: number;
  /** Known for a GPT-2 only. */
  layers?: number;
}

/** The GPU memory that a run will use. */
export interface MemoryPlan {
  /** Bytes by purpose, as in a run's status. */
  memory: Record<string, number>;
  /** Bytes of the adapter's largest buffer. WebGPU does not say how much memory there is. */
  largestBuffer: number;
  /** True if onnxruntime runs the teacher: its working memory is not counted. */
  atLeast: boolean;
}

export type ToWorker =
  /** Open the GPU; answered by `adapter`, or `failed` with `runId: ''`. Starts nothing. */
  | { type: 'probe' }
  /**
   * Compare every kernel with its slow reference; answered by a `check-row` each, then `check-done`.
   * Refused while a run trains.
   */
  | { type: 'check' }
  /** Read a model's config and headers; answered by `inspected` with the same id. */
  | { type: 'inspect'; id: number; role: Role; reference: string; files?: DroppedFiles }
  /** Read the data as a run would; answered by `preview` with the same id. Needs no GPU. */
  | { type: 'preview'; id: number; config: Config; corpus?: UserCorpus; files?: DroppedFiles }
  /** Work out the GPU memory of a run; answered by `planned` with the same id. */
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
  /** Take one step while paused. */
  | { type: 'step'; runId: string }
  /** End the run and free its memory. */
  | { type: 'reset'; runId: string }
  | { type: 'change'; runId: string; changes: LiveChanges }
  /**
   * Export the student as a .zip; answered by `exporting`, then `exported` or `export-failed`.
   * Refused while the run trains.
   */
  | { type: 'export'; runId: string; dtype: ExportType; story: RunStory }
  /**
   * Measure where a step's time goes; answered by `profiled` or `profile-failed`. Refused while the
   * run trains. The run is not changed.
   */
  | { type: 'profile'; runId: string }
  /** After `lost`: open a new device and continue from the last evaluation's weights. */
  | { type: 'recover'; runId: string }
  /** End the Bug Lab's current experiment, then run this one. Refused while a run trains. */
  | { type: 'bug-lab'; experiment: Experiment }
  /** End the current experiment. */
  | { type: 'bug-lab-stop' };

/** The adapter, as the status strip shows it. */
export interface AdapterReport {
  /** The driver's name for it, e.g. "NVIDIA GeForce RTX 4070" or "SwiftShader". */
  name: string;
  vendor: string;
  /** True for a software renderer, which works but is slow. */
  software: boolean;
  f16: boolean;
  /** Smallest subgroup size; 0 without subgroups. */
  subgroupSize: number;
  timestamps: boolean;
  maxBindingBytes: number;
}

export type LoadingStage = 'device' | 'corpus' | 'tokenizer' | RunStage;

/** Facts about a run that are fixed once it is built. */
export interface RunReport {
  dtype: 'float16' | 'float32';
  /** Undefined for an ONNX graph whose config.json does not say. */
  teacherParameters?: number;
  studentParameters: number;
  vocabularySize: number;
  /** Targets per optimiser step: batch_size × max_length × gradient_accumulation. */
  tokensPerStep: number;
  /** Tokens of the data: for training, and held out. */
  trainTokens: number;
  heldOutTokens: number;
  /** Our dispatches in one optimiser step. */
  dispatchesPerStep: number;
  /** Our submissions in one optimiser step, as planned; RunStatus has the current number. */
  submissionsPerStep: number;
  /** The teacher's cache, if there is one: the teacher is then no longer in memory. */
  cache?: CacheReport;
}

export interface RunStatus {
  state: 'running' | 'paused' | 'finished';
  /** Optimiser steps done. */
  step: number;
  tokensPerSecond: number;
  /** Undefined until it can be estimated. */
  secondsLeft?: number;
  /** One per batch; more if a single one would keep the GPU busy for too long. */
  submissionsPerStep: number;
  /** Bytes of GPU memory by purpose, e.g. { weights: …, activations: …, teacher: … }. */
  memory: Record<string, number>;
}

/** An error with everything needed to explain it. */
export interface Failure {
  /** What failed, e.g. "load the teacher". */
  operation: string;
  /** What happened, with its values. */
  message: string;
  /** What the user can do next. */
  hint?: string;
  kind: 'no-webgpu' | 'no-adapter' | 'limits' | 'corpus' | 'model' | 'network' | 'internal';
  stack?: string;
}

export type FromWorker =
  | { type: 'adapter'; adapter: AdapterReport }
  | { type: 'check-row'; row: CheckRow }
  /** The table as text, for a bug report; or why there is none. */
  | { type: 'check-done'; text: string }
  | { type: 'check-done'; failure: Failure }
  /** Without a `preview`, a file has a problem or `failure` says what is wrong. */
  | { type: 'preview'; id: number; files: FileReport[]; preview?: DataPreview; failure?: Failure }
  /** `loaded` and `total` are bytes, in stages that download. */
  | {
      type: 'loading';
      runId: string;
      stage: LoadingStage;
      detail: string;
      loaded?: number;
      total?: number;
    }
  /** A line for the log: something unusual happened and the run continues. */
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
  /** Bytes written of all files, and their total; `file` is the current one. */
  | { type: 'exporting'; runId: string; file: string; written: number; total: number }
  /** The .zip contains a folder called `name`. */
  | { type: 'exported'; runId: string; name: string; zip: Blob }
  /** The run itself is not affected. */
  | { type: 'export-failed'; runId: string; failure: Failure }
  /** `text` is the report for a bug report. */
  | { type: 'profiled'; runId: string; report: ProfileReport; text: string }
  /** The run itself is not affected. */
  | { type: 'profile-failed'; runId: string; failure: Failure }
  /** The run cannot continue. Its reports so far stay valid. */
  | { type: 'failed'; runId: string; failure: Failure }
  /** What the experiment is loading or compiling. */
  | { type: 'bug-lab-loading'; detail: string }
  | { type: 'bug-lab-report'; report: BugLabReport }
  /** The experiment is over: finished, or ended on request. */
  | { type: 'bug-lab-done' }
  | { type: 'bug-lab-failed'; failure: Failure }
  /** The GPU device was lost. `resumeStep`: the step of the last evaluation's weights, if any. */
  | { type: 'lost'; runId: string; message: string; resumeStep?: number };
