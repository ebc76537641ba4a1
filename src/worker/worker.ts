// The worker: all GPU and model work happens here. It turns protocol messages into one Run at a time and reports what happens.

import { reportText, runChecks } from '../check/run';
import type { Config } from '../config';
import { CorpusError, decodeCorpus } from '../data/corpus';
import { type Document, readDocuments } from '../data/documents';
import { encodeDocuments } from '../data/split';
import { loadTokenizer, TokenizerError } from '../data/tokenizer';
import { previewData } from '../distill/data';
import type { StepRecord } from '../distill/records';
import { dtypeOf, Run } from '../distill/run';
import { teacherFromOnnx } from '../distill/teacher';
import { OnnxTeacher } from '../distill/teacher-onnx';
import { type Gpu, GpuError, openGpu } from '../gpu/device';
import { parseConfig } from '../model/config';
import { download, downloadJson, ModelFileError } from '../model/download';
import { inspectFiles } from './files';
import type { Failure, FileReport, FromWorker, LoadingStage, RunStatus, ToWorker, UserCorpus } from './protocol';

/** Records and status go to the page this often; the page draws no faster. */
const REPORT_MILLISECONDS = 200;
/** Steps that the speed is averaged over. */
const SPEED_STEPS = 20;
const BUILT_IN_CORPUS = 'corpus/moby-dick.txt';

// The built worker lies in the page's assets folder; the dev server serves it from src, and the page's files from its root.
const base = new URL(import.meta.env.DEV ? '/' : '../', self.location.href);

const post = (message: FromWorker) => self.postMessage(message);

let device: Promise<Gpu> | undefined;
let session: Session | undefined;
/** Starting, ending and recovering a run follow one another; what a running one is told takes effect at once. */
let queue: Promise<void> = Promise.resolve();

self.onmessage = ({ data }: MessageEvent<ToWorker>) => {
  if (data.type === 'probe') {
    void openDevice().then(
      (gpu) => post({ type: 'adapter', adapter: gpu.adapter }),
      (error) => post({ type: 'failed', runId: '', failure: describe('open the GPU', error) }),
    );
    return;
  }
  if (data.type === 'check') {
    queue = queue.then(checkGpu);
    return;
  }
  if (data.type === 'preview') {
    queue = queue.then(() => preview(data));
    return;
  }
  if (data.type === 'start') {
    const next = new Session(data.runId, data.config, data.corpus);
    const previous = session;
    session = next;
    queue = queue.then(async () => {
      await previous?.end();
      await next.start(data.paused ?? false);
    });
    return;
  }
  if (data.type === 'lab' || data.type === 'lab-stop') return;
  const current = session;
  if (!current || current.runId !== data.runId) return;
  if (data.type === 'reset') {
    session = undefined;
    queue = queue.then(() => current.end());
  } else if (data.type === 'recover') {
    queue = queue.then(() => current.recover());
  } else {
    current.handle(data);
  }
};

async function checkGpu(): Promise<void> {
  const operation = 'check the GPU';
  if (session?.training) {
    const why = { message: 'A run is training on it.', hint: 'Pause the run, then check again.' };
    return post({ type: 'check-done', failure: { operation, ...why, kind: 'internal' } });
  }
  try {
    const gpu = await openDevice();
    const started = performance.now();
    const rows = await runChecks(gpu, (row) => post({ type: 'check-row', row }));
    const seconds = (performance.now() - started) / 1000;
    post({ type: 'check-done', text: reportText(gpu.adapter, navigator.userAgent, rows, seconds) });
  } catch (error) {
    post({ type: 'check-done', failure: describe(operation, error) });
  }
}

async function preview({ id, config, corpus }: Extract<ToWorker, { type: 'preview' }>): Promise<void> {
  let files: FileReport[] = [];
  try {
    let texts: Document[] = [];
    if (corpus) ({ files, documents: texts } = inspectFiles(corpus));
    else texts = readBook(await download(new URL(BUILT_IN_CORPUS, base)));
    if (files.some(({ problem }) => problem !== undefined)) return post({ type: 'preview', id, files });
    const { tokenizer } = await loadTeacherFolder(config);
    const read = previewData(encodeDocuments(texts, tokenizer), config, tokenizer);
    post({ type: 'preview', id, files, preview: read });
  } catch (error) {
    post({ type: 'preview', id, files, failure: describe('read the data', error) });
  }
}

const readBook = (bytes: ArrayBuffer | Uint8Array) => [[decodeCorpus(BUILT_IN_CORPUS, bytes)]];

/** The teacher's sizes and its tokenizer. */
async function loadTeacherFolder({ teacher_model }: Config) {
  const folder = `models/${teacher_model}`;
  const file = `${folder}/config.json`;
  const teacherConfig = parseConfig(await downloadJson(new URL(file, base)), file);
  const tokenizer = await loadTokenizer(new URL(folder, base).href, { vocabularySize: teacherConfig.vocab_size });
  return { folder, teacherConfig, tokenizer };
}

/** The page's one device, until it is lost. */
function openDevice(): Promise<Gpu> {
  if (device) return device;
  const opened = openGpu();
  device = opened;
  const forget = () => {
    if (device === opened) device = undefined;
  };
  opened.then((gpu) => {
    gpu.onError = (error) => session?.fail('use the GPU', error);
    void gpu.lost.then((info) => {
      forget();
      session?.lose(gpu, info);
    });
  }, forget);
  return opened;
}

class Session {
  #run: Run | undefined;
  #gpu: Gpu | undefined;
  #state: RunStatus['state'] | 'over' = 'paused';
  /** Steps asked for one at a time. */
  #singles = 0;
  #loop: Promise<void> = Promise.resolve();
  #lost: Promise<void> | undefined;
  #records: StepRecord[] = [];
  #times: number[] = [];
  #reported = 0;

  constructor(
    readonly runId: string,
    private readonly config: Config,
    private readonly corpus: UserCorpus | undefined,
  ) {}

  get training(): boolean {
    return this.#state === 'running';
  }

  async start(paused: boolean): Promise<void> {
    try {
      await this.#build();
    } catch (error) {
      return this.fail('start the run', error);
    }
    this.#resume(paused ? 'paused' : 'running');
  }

  handle(message: Extract<ToWorker, { type: 'pause' | 'resume' | 'step' | 'change' }>): void {
    if (message.type === 'change') {
      Object.assign(this.config, message.changes);
      this.#run?.change(message.changes);
      post({ type: 'changed', runId: this.runId, step: (this.#run?.step ?? 0) + 1, changes: message.changes });
    } else if (this.#state === 'running' || this.#state === 'paused') {
      if (message.type === 'step') this.#singles++;
      this.#resume(message.type === 'resume' ? 'running' : 'paused');
    }
  }

  /** Stops, and frees what the run holds on the GPU. */
  async end(): Promise<void> {
    this.#state = 'over';
    await this.#loop;
    const run = this.#run;
    this.#run = undefined;
    await run?.destroy().catch(() => undefined);
  }

  fail(operation: string, error: unknown): void {
    if (this.#state === 'over') return;
    // A device that goes away fails whatever was under way; `lost` says it better.
    if (this.#lost) return;
    this.#state = 'over';
    this.#flush();
    post({ type: 'failed', runId: this.runId, failure: describe(operation, error) });
  }

  lose(gpu: Gpu, { message, reason }: GPUDeviceLostInfo): void {
    if (gpu !== this.#gpu || this.#state === 'over' || this.#state === 'finished') return;
    this.#lost = this.#loop;
    this.#state = 'paused';
    this.#flush();
    const resumeStep = this.#run?.snapshot?.step;
    post({ type: 'lost', runId: this.runId, message: message || reason || 'no reason given', resumeStep });
  }

  /** A new device, and on from the last evaluation's state. */
  async recover(): Promise<void> {
    if (!this.#lost) return;
    await this.#lost;
    this.#lost = undefined;
    const lost = this.#run;
    const snapshot = lost?.snapshot;
    this.#run = undefined;
    // Its buffers went with the device; what is left is onnxruntime's session.
    await lost?.destroy().catch(() => undefined);
    try {
      await this.#build(snapshot);
    } catch (error) {
      return this.fail('recover the run', error);
    }
    this.#resume('running');
  }

  #stage(stage: LoadingStage, detail: string, loaded?: number, total?: number): void {
    post({ type: 'loading', runId: this.runId, stage, detail, loaded, total });
  }

  async #build(snapshot?: Run['snapshot']): Promise<void> {
    const { config } = this;
    const corpus = this.corpus;
    this.#stage('device', 'opening the GPU');
    const gpu = await openDevice();
    this.#gpu = gpu;
    const fetchFile = (path: string, stage: LoadingStage) =>
      download(new URL(path, base), { onProgress: (loaded, total) => this.#stage(stage, path, loaded, total) });
    const texts = corpus
      ? corpus.files.flatMap((file) => readDocuments(file, corpus.reading).documents)
      : readBook(await fetchFile(BUILT_IN_CORPUS, 'corpus'));
    this.#stage('tokenizer', `models/${config.teacher_model}/tokenizer.json`);
    const { folder, teacherConfig, tokenizer } = await loadTeacherFolder(config);
    this.#stage('tokenizer', `reading ${corpus?.files.map(({ name }) => name).join(', ') ?? BUILT_IN_CORPUS}`);
    const documents = encodeDocuments(texts, tokenizer);
    const file = `${folder}/onnx/${dtypeOf(config, gpu) === 'f16' ? 'model_fp16' : 'model'}.onnx`;
    this.#run = await Run.create(
      {
        ...{ gpu, config, tokenizer, documents, teacherConfig },
        makeTeacher: async ({ B, T, dtype }) => {
          const model = await fetchFile(file, 'teacher');
          const onnx = await OnnxTeacher.create({ device: gpu.device, model, config: teacherConfig, dtype, file });
          return teacherFromOnnx(gpu, onnx, teacherConfig, B, T);
        },
        events: {
          stage: (stage, detail) => this.#stage(stage, detail),
          record: (record) => this.#records.push(record),
          evaluation: (record) => {
            this.#flush();
            post({ type: 'evaluation', runId: this.runId, record });
          },
        },
      },
      snapshot,
    );
    const { dtype, studentParameters, studentConfig, trainTokens, heldOutTokens } = this.#run;
    const accumulation = config.gradient_accumulation;
    post({
      ...{ type: 'ready', runId: this.runId, adapter: gpu.adapter },
      run: {
        ...{ dtype: dtype === 'f16' ? 'float16' : 'float32', studentParameters, trainTokens, heldOutTokens },
        teacherParameters: this.#run.teacherParameters,
        vocabularySize: studentConfig.vocab_size,
        tokensPerStep: config.batch_size * config.max_length * accumulation,
        dispatchesPerStep: this.#run.dispatchesPerStep,
        submissionsPerStep: accumulation,
      },
    });
  }

  #resume(state: 'running' | 'paused'): void {
    if (this.#state === 'over' || this.#lost) return;
    const changed = state !== this.#state;
    this.#state = state;
    this.#times = [];
    this.#loop = this.#loop.then(() => this.#advance());
    if (changed) this.#report();
  }

  /** Trains until paused, done or over; one step for each single one asked for. */
  async #advance(): Promise<void> {
    const run = this.#run;
    if (!run) return;
    try {
      while (
        !run.done &&
        !this.#lost &&
        (this.#state === 'running' || (this.#state === 'paused' && this.#singles > 0))
      ) {
        if (this.#state === 'paused') this.#singles--;
        await run.advance();
        this.#times = [...this.#times.slice(-SPEED_STEPS), performance.now()];
        if (performance.now() - this.#reported > REPORT_MILLISECONDS) this.#report();
        await nextTask();
      }
      await run.drain();
    } catch (error) {
      // A failing GPU call and the word that the device is gone come in no particular order; the word explains it.
      await Promise.race([this.#gpu?.lost, new Promise((resolve) => setTimeout(resolve, REPORT_MILLISECONDS))]);
      return this.fail('train', error);
    }
    if (run.done && !this.#lost && this.#state !== 'over') this.#state = 'finished';
    this.#report();
  }

  #flush(): void {
    if (this.#records.length > 0) post({ type: 'steps', runId: this.runId, records: this.#records.splice(0) });
  }

  #report(): void {
    this.#flush();
    const run = this.#run;
    if (!run || !this.#gpu || this.#lost || this.#state === 'over') return;
    this.#reported = performance.now();
    const { batch_size, max_length, gradient_accumulation, train_steps } = this.config;
    const steps = this.#times.length - 1;
    const seconds = steps > 0 ? (this.#times[steps] - this.#times[0]) / 1000 : 0;
    const stepsPerSecond = seconds > 0 ? steps / seconds : 0;
    post({
      ...{ type: 'status', runId: this.runId },
      status: {
        ...{ state: this.#state, step: run.step },
        tokensPerSecond: stepsPerSecond * batch_size * max_length * gradient_accumulation,
        secondsLeft: stepsPerSecond > 0 ? (train_steps - run.step) / stepsPerSecond : undefined,
        memory: this.#gpu.memory.totals() as Record<string, number>,
      },
    });
  }
}

/** Lets messages in between two steps; a timer would wait longer. */
function nextTask(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

/** An error as the page shows it, with nothing lost on the way. */
function describe(operation: string, error: unknown): Failure {
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  if (error instanceof GpuError) return { operation, message, hint: error.hint, kind: error.kind, stack };
  if (error instanceof CorpusError)
    return { operation: error.operation, message, hint: error.hint, kind: 'corpus', stack };
  if (error instanceof TokenizerError)
    return { operation: error.operation, message, hint: error.hint, kind: 'model', stack };
  if (error instanceof ModelFileError) return { operation: 'load the model', message, kind: error.kind, stack };
  return {
    operation,
    message,
    hint: 'This is a fault of Stillhouse. The log has the details.',
    kind: 'internal',
    stack,
  };
}
