// Every message between the page and the worker, as two discriminated unions. There are two kinds:
// requests, each answered once under its id, and commands to a run, whose effects come back as
// events with the run's id. Events of a run that is over are dropped.

import type { CheckRow } from '../check/run';
import type { Config, LiveChanges } from '../config';
import type { CorpusFile, Reading } from '../data/documents';
import type { BugLabReport, Experiment } from '../distill/bug-lab/records';
import type { DataPreview } from '../distill/data';
import type { ExportType } from '../distill/export/export';
import type { RunStory } from '../distill/export/model-card';
import type { Passages } from '../distill/passages';
import type { ProfileReport } from '../distill/profile/profile';
import type { EvaluationRecord, SampleRecord, StepRecord } from '../distill/records';
import type { RunStage, StageUnit } from '../distill/run-events';
import type { Expectation, SaidToken } from '../distill/say';
import type { CacheReport } from '../distill/teacher/cache-file';
import type { EngineChoice } from '../distill/teacher/teacher';
import type { Verdict } from '../doctor/examine';
import type { Journal } from '../runs/journal';
import type { Label, RunRow } from '../runs/row';
import type { Sweep } from '../runs/sweep';
import type { SaySettings } from '../say-settings';

export type { CheckRow } from '../check/run';
export type { Reading } from '../data/documents';
export type * from '../distill/bug-lab/records';
export type { DataPreview } from '../distill/data';
export type { ExportType } from '../distill/export/export';
export type { LossRow, RunStory } from '../distill/export/model-card';
export type { LossPath } from '../distill/loss-paths';
export type { Passage, Passages } from '../distill/passages';
export type { Figures, ProfileReport } from '../distill/profile/profile';
export type {
  CalibrationGroup,
  EvaluationRecord,
  ExpertUse,
  KlGroup,
  Sample,
  SampleRecord,
  StepRecord,
} from '../distill/records';
export type { StageUnit } from '../distill/run-events';
export type { Expectation, SaidToken } from '../distill/say';
export type { CacheReport } from '../distill/teacher/cache-file';

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
  /** Known for a family that our kernels run. */
  layers?: number;
}

/** What a run will need, and what the Doctor can tell before it. */
export interface RunPlan {
  /** Bytes by purpose, as in a run's status. */
  memory: Record<string, number>;
  /** Bytes of the adapter's largest buffer. WebGPU does not say how much memory there is. */
  largestBuffer: number;
  /** True if onnxruntime runs the teacher: its working memory is not counted. */
  atLeast: boolean;
  /** What the Doctor can tell from settings, sizes and the text. */
  verdicts: readonly Verdict[];
  /** Why the text cannot be used, and what to do. */
  textProblem?: string;
  /**
   * How long it will train, at what speed. `like`: the kept run that had this speed; without one it
   * is the adapter's fastest product, and the time the least. Undefined where nothing was measured.
   */
  time?: { seconds: number; flopsPerSecond: number; like?: string };
}

/**
 * What the page asks for and waits for. The worker answers each request once, with a `result` or a
 * `failure`; some report `progress` before that.
 */
export interface Requests {
  /** Open the GPU and report what it offers. Starts no run. */
  probe: { input: object; progress: never; result: AdapterReport };
  /**
   * Compare every kernel with its slow reference. Each row is reported as progress; the result is
   * the table as text, for a bug report. Refused while a run trains.
   */
  check: { input: object; progress: CheckRow; result: string };
  /**
   * Read a model's config.json and headers, and for a student its tokenizer, which is compared with
   * the teacher's. No weights are read.
   */
  inspect: {
    input: { role: Role; reference: string; teacher?: string; files?: DroppedFiles };
    progress: never;
    result: ModelReport;
  };
  /**
   * Read the data as a run with these settings would. Needs no GPU. The progress is a report on the
   * files; the result is undefined if one of them has a problem.
   */
  preview: {
    input: { config: Config; corpus?: UserCorpus; files?: DroppedFiles };
    progress: FileReport[];
    result: DataPreview | undefined;
  };
  /** Estimate GPU memory and time of a run with these settings. */
  plan: {
    input: { config: Config; corpus?: UserCorpus; files?: DroppedFiles };
    progress: never;
    result: RunPlan;
  };
  /** Every run that is kept. Brings those of killed tabs up to date. */
  runs: { input: object; progress: never; result: KeptRuns };
  /** What a run reported. */
  run: { input: { runId: string }; progress: never; result: Journal };
  /** Rename, pin, note, delete a run or bring it back. */
  'label-run': { input: { runId: string; label: Label }; progress: never; result: KeptRuns };
  /** Choose how much is kept, in bytes. */
  'keep-runs': { input: { budget: number }; progress: never; result: KeptRuns };
  /** Keep a sweep, as planned or with what has come of it. */
  'keep-sweep': { input: { sweep: Sweep }; progress: never; result: KeptRuns };
  /** A run as one file, a .zip of its folder. */
  'save-run': { input: { runId: string }; progress: never; result: { name: string; zip: Blob } };
  /** Take in a run that was saved as one file. The result is its id. */
  'open-run': { input: { name: string; zip: Blob }; progress: never; result: string };
  /** Export the student as a .zip. Refused while its run trains. */
  export: {
    input: { runId: string; dtype: ExportType; story: RunStory };
    progress: ExportProgress;
    result: ExportedStudent;
  };
  /** The run as a folder for PyTorch, in a .zip, as it stands. Refused while it trains. */
  recipe: { input: { runId: string }; progress: ExportProgress; result: ExportedStudent };
  /** Measure where a step's time goes, without changing the run. Refused while it trains. */
  profile: {
    input: { runId: string };
    progress: never;
    result: ProfileResult;
  };
  /**
   * Let student and teacher continue a prompt, between two steps of the run, which waits. Each
   * token is reported as progress. Resolves when they are done or were stopped by `say-stop`.
   */
  say: {
    input: { runId: string; prompt: string; settings: SaySettings };
    progress: SaidToken;
    result: SayResult;
  };
  /** Evaluate between two steps, and find the passages that the student predicts worst and best. */
  passages: { input: { runId: string }; progress: never; result: Passages };
  /** What both models expect between two steps, after the tokens `before`, in `token`’s place. */
  expect: {
    input: { runId: string; before: number[]; token: number };
    progress: never;
    result: Expectation;
  };
  /**
   * End the Bug Lab's current experiment, then run this one. Refused while a run trains. Resolves
   * when the experiment is done or was stopped by `bug-lab-stop`.
   */
  'bug-lab': {
    input: { experiment: Experiment };
    progress: ExperimentProgress;
    result: undefined;
  };
}

export type RequestName = keyof Requests;

/** A request on its way to the worker; its answers carry the same id. */
export type RequestMessage = {
  [Name in RequestName]: { type: Name; id: number } & Requests[Name]['input'];
}[RequestName];

export type RequestAnswer =
  | { type: 'progress'; id: number; progress: Requests[RequestName]['progress'] }
  | { type: 'result'; id: number; result: Requests[RequestName]['result'] }
  | { type: 'failure'; id: number; failure: Failure };

/** The runs, the newest first, and where they are kept. */
export interface KeptRuns {
  rows: RunRow[];
  /** False if there is no private storage: runs then last until the tab is closed. */
  lasting: boolean;
  /** True if the browser has promised not to clear the storage by itself. */
  persisted: boolean;
  /** All runs together, and what they may take, in bytes. */
  bytes: number;
  budget: number;
  /** The newest first. */
  sweeps: Sweep[];
  /** What the browser allows this page in all; unknown in some. */
  quota?: number;
}

/** Bytes written of all files, and their total; `file` is the current one. */
export interface ExportProgress {
  file: string;
  written: number;
  total: number;
}

/** A .zip with a folder called `name`. */
export interface ExportedStudent {
  name: string;
  zip: Blob;
}

/** The report, and its text for a bug report. */
export interface ProfileResult {
  report: ProfileReport;
  text: string;
}

export interface SayResult {
  /** The student had been trained for so many steps. */
  step: number;
  stopped: boolean;
}

/** What an experiment loads or compiles, then what it measures. */
export type ExperimentProgress = { detail: string } | { report: BugLabReport };

/** What the page tells a run to do. Its effects are reported as run events. */
export type RunCommand =
  /** Load, build and (unless `paused`) train. */
  | {
      type: 'start';
      runId: string;
      config: Config;
      corpus?: UserCorpus;
      files?: DroppedFiles;
      paused?: boolean;
      /** Go on with the kept run of this id, from its last checkpoint and with its settings. */
      continues?: boolean;
    }
  | { type: 'pause'; runId: string }
  | { type: 'resume'; runId: string }
  /** Take one step while paused. */
  | { type: 'step'; runId: string }
  /** End the run and free its memory. */
  | { type: 'reset'; runId: string }
  /** The page may be closed soon: write a checkpoint after the current step. */
  | { type: 'keep'; runId: string }
  | { type: 'change'; runId: string; changes: LiveChanges }
  /** After `lost`: open a new device and continue from the last evaluation's weights, if any. */
  | { type: 'recover'; runId: string };

export type ToWorker =
  | RequestMessage
  | RunCommand
  /** Build a run of these settings, which may be started next; nothing is told of it. */
  | { type: 'prepare'; config: Config }
  /** End the answers of `say`. */
  | { type: 'say-stop' }
  /** End the Bug Lab's experiment. */
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
  /** What runs the teacher, and why; unknown for the recorded run. */
  teacherEngine?: EngineChoice;
  studentParameters: number;
  /** Those that change, if only adapters do. */
  trainedParameters?: number;
  /** Those that a token's pass reads, where there are experts. */
  activeParameters?: number;
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
  /** The teacher's vocabulary is another than the student's: some figures are not measured. */
  otherVocabulary?: boolean;
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
  kind:
    | 'no-webgpu'
    | 'no-adapter'
    | 'withdrawn'
    | 'limits'
    | 'corpus'
    | 'model'
    | 'network'
    | 'internal';
  /** For a text that is too short: the longest context, in tokens, that it is enough for. */
  longestContext?: number;
  /** Of the kernels that were checked, for a bug report. */
  table?: string;
  stack?: string;
}

/** What the worker reports about a run. */
export type RunEvent =
  /** `loaded` of `total`, in stages that count something; in bytes if there is no `unit`. */
  | {
      type: 'loading';
      runId: string;
      stage: LoadingStage;
      detail: string;
      loaded?: number;
      total?: number;
      unit?: StageUnit;
    }
  /**
   * The run goes on from a checkpoint. Its records up to there follow as events of their own kind.
   * `config`: at the checkpoint; `initial`: at the start.
   */
  | {
      type: 'continued';
      runId: string;
      step: number;
      seconds: number;
      initial: Config;
      config: Config;
      corpus?: UserCorpus;
    }
  /** What is kept of the run has changed; also told of a run that is over. */
  | { type: 'kept'; runId: string }
  /** The run can no longer be kept, but trains on; without a failure, it is kept again. */
  | { type: 'unkept'; runId: string; failure?: Failure }
  /** A line for the log: something unusual happened and the run continues. */
  | { type: 'note'; runId: string; text: string }
  | { type: 'ready'; runId: string; adapter: AdapterReport; run: RunReport }
  | { type: 'steps'; runId: string; records: StepRecord[] }
  | { type: 'evaluation'; runId: string; record: EvaluationRecord }
  /** The twin's reports; see RunOptions.events. */
  | { type: 'twin-steps'; runId: string; records: StepRecord[] }
  | { type: 'twin-evaluation'; runId: string; record: EvaluationRecord }
  /** What both models say after a step without an evaluation. */
  | { type: 'sample'; runId: string; record: SampleRecord }
  | { type: 'status'; runId: string; status: RunStatus }
  /**
   * The Doctor's verdicts after `step`, as they stand; `line` is the gravest, or that all is well.
   * `fresh` names those that are new.
   */
  | {
      type: 'diagnosis';
      runId: string;
      step: number;
      line: string;
      verdicts: readonly Verdict[];
      fresh: readonly Verdict[];
    }
  /** A live change took effect before this step. */
  | { type: 'changed'; runId: string; step: number; changes: LiveChanges }
  /** The run cannot continue. Its reports so far stay valid. */
  | { type: 'failed'; runId: string; failure: Failure }
  /**
   * The GPU device was lost. `resumeStep`: the step of the last evaluation's weights, if any.
   * `failure`: why the run could not go on from there; it can be tried again.
   */
  | { type: 'lost'; runId: string; message: string; resumeStep?: number; failure?: Failure };

export type FromWorker =
  | RunEvent
  | RequestAnswer
  /** The worker holds the lock of its name, until it ends. */
  | { type: 'alive' };
