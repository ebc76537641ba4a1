// One run as the page sees it: loaded, trained, paused, lost and recovered. Turns the page's
// messages into steps, and posts reports.

import { type Config, type LiveChanges, tokensPerStep } from '../config';
import type { StepRecord } from '../distill/records';
import type { Run } from '../distill/run';
import { isLarge } from '../distill/spacing';
import type { Snapshot } from '../distill/training-state';
import { Doctor } from '../doctor/doctor';
import type { Verdict } from '../doctor/examine';
import { nonFiniteAt } from '../doctor/words';
import type { Gpu } from '../gpu/device';
import { activeParameters } from '../model/experts';
import { CheckpointError, type RunFacts } from '../runs/checkpoint';
import type { Journal } from '../runs/journal';
import { Stopwatch } from '../runs/stopwatch';
import { buildRun, type Measured, type Stage } from './build-run';
import { corpusName } from './corpus';
import { Errands } from './errands';
import { busy, DeviceLostError, describe, KEEP, lossAfter } from './failure';
import { base, type DeviceUser, nextTask, post } from './host';
import { continueFrom, type KeptRun, openKept, replay, startKept } from './kept-run';
import { type Models, teacherSource } from './models';
import type { PreparedRun } from './prepared-run';
import type {
  DroppedFiles,
  Failure,
  LoadingStage,
  Requests,
  RunCommand,
  RunStatus,
  SaidToken,
  SayResult,
  StageUnit,
  UserCorpus,
} from './protocol';
import { answerOf, countKernels, type LoadedRun } from './run-errands';
import { RunReports } from './run-reports';

export class Session implements DeviceUser {
  #run: Run | undefined;
  #gpu: Gpu | undefined;
  #tokenizer: Models['tokenizer'] | undefined;
  #doctor: Doctor | undefined;
  #state: RunStatus['state'] | 'over' = 'paused';
  /** Single steps requested while paused, and not yet taken. */
  #singleSteps = 0;
  readonly #ended = new AbortController();
  #loop: Promise<void> = Promise.resolve();
  readonly #errands = new Errands();
  #saying: AbortController | undefined;
  /** How the device was lost, and what then still ran on it. */
  #lost: { info: GPUDeviceLostInfo; settled: Promise<void> } | undefined;
  /** Of a run that is continued, until it is built. */
  #journal: Journal | undefined;
  /** What the run was built from. */
  #from: Snapshot | undefined;
  /** Undefined until the run is built, and where it cannot be kept. */
  #kept: KeptRun | undefined;
  #facts: RunFacts | undefined;
  /** The newest snapshot of an evaluation that is not a checkpoint yet, with its settings. */
  #unsaved: { snapshot: Snapshot; config: Config } | undefined;
  #keepNow = false;
  #letting: Promise<void> | undefined;
  readonly #reports: RunReports;
  /** Built before it was started, if anything was. */
  #prepared: PreparedRun | undefined;
  #clock = new Stopwatch();
  /** Undefined while a file arrives, whose bytes are counted then. */
  #loading: LoadingStage | undefined;

  constructor(
    readonly runId: string,
    readonly config: Config,
    public corpus: UserCorpus | undefined,
    readonly files: DroppedFiles | undefined,
    private readonly openDevice: () => Promise<Gpu>,
    /** Go on with the kept run of this id. */
    private readonly continues = false,
    prepared?: PreparedRun,
  ) {
    this.#prepared = prepared;
    this.#reports = new RunReports(runId);
  }

  get training(): boolean {
    return this.#state === 'running';
  }

  async start(paused: boolean): Promise<void> {
    try {
      await this.#open();
    } catch (error) {
      await lossAfter(this.#gpu);
      this.fail(this.continues ? 'continue the run' : 'start the run', error);
      return;
    }
    this.#resume(paused ? 'paused' : 'running');
  }

  async #open(): Promise<void> {
    const onChange = (problem: unknown) => this.#keepingChanged(problem);
    this.#kept = await openKept(this.runId, onChange).catch((error: Error) => {
      // Another tab may have the run: it then trains there alone.
      if (this.continues) throw error;
      onChange(error);
      return undefined;
    });
    if (!this.continues || !this.#kept) return this.#build();
    const continued = await continueFrom(this.#kept, (text) => this.#note(text));
    Object.assign(this.config, continued.facts.config);
    this.corpus = continued.corpus ?? this.corpus;
    const { data } = continued.journal.settings ?? {};
    if (data?.own && !this.corpus) {
      throw new CheckpointError(
        'misfit',
        `The run reads your own files, ${data.name}, which are not kept. ` +
          'Choose them as its data first.',
      );
    }
    this.#clock = new Stopwatch(continued.seconds * 1000);
    for (const event of replay(this.runId, continued)) post(event);
    this.#facts = continued.facts;
    this.#journal = continued.journal;
    await this.#build(continued.snapshot);
  }

  #keepingChanged(problem: unknown): void {
    const failure = problem === undefined ? undefined : describe(KEEP, problem);
    post({ type: 'unkept', runId: this.runId, failure });
  }

  #note(text: string): void {
    post({ type: 'note', runId: this.runId, text });
    // Before the run is built, it has no journal.
    if (this.#run) this.#kept?.keeper.report.note({ step: this.#run.step, text });
  }

  handle(
    message: Extract<RunCommand, { type: 'pause' | 'resume' | 'step' | 'change' | 'keep' }>,
  ): void {
    if (message.type === 'change') {
      this.#change(message.changes);
    } else if (message.type === 'keep') {
      this.#keepNow = this.training;
    } else if (this.#state === 'running' || this.#state === 'paused') {
      if (message.type === 'step') this.#singleSteps++;
      this.#resume(message.type === 'resume' ? 'running' : 'paused');
    }
  }

  #change(changes: LiveChanges): void {
    try {
      this.#run?.change(changes);
    } catch (error) {
      // The teacher's cache does not support this temperature; the run continues unchanged.
      post({ type: 'note', runId: this.runId, text: (error as Error).message });
      return;
    }
    // A recovered run is built from these.
    Object.assign(this.config, changes);
    const step = (this.#run?.step ?? 0) + 1;
    post({ type: 'changed', runId: this.runId, step, changes });
    this.#kept?.keeper.report.changed({ step, changes });
    this.#doctor?.change(changes);
  }

  /**
   * Runs a task that takes too long for a run that trains. A run resumed meanwhile continues
   * afterwards.
   * @throws FailureError while the run trains, with what to do `next`
   */
  async whilePaused<Result>(
    operation: string,
    next: string,
    task: (loaded: LoadedRun) => Promise<Result>,
  ): Promise<Result> {
    if (this.training) throw busy(operation, 'The run is training.', next);
    return this.betweenSteps(task);
  }

  get #loaded(): LoadedRun {
    return {
      run: this.#run,
      gpu: this.#gpu,
      tokenizer: this.#tokenizer,
      facts: this.#facts,
      teacher: () => teacherSource(this.config, { files: this.files ?? {}, base }),
      corpus: { name: corpusName(this.config, this.corpus), own: this.corpus !== undefined },
      signal: this.#ended.signal,
    };
  }

  /**
   * Student and teacher continue a prompt, between two steps and so with the same weights to the
   * end; a run that trains waits. An earlier answer stops.
   */
  async say(
    input: Requests['say']['input'],
    report: (token: SaidToken) => void,
  ): Promise<SayResult> {
    this.stopSaying();
    const saying = new AbortController();
    this.#saying = saying;
    const stopped = () => saying.signal.aborted || this.#ended.signal.aborted;
    return this.betweenSteps((loaded) => answerOf(loaded, input, report, stopped));
  }

  stopSaying(): void {
    this.#saying?.abort();
  }

  /** Runs a task before the next step, or at once if the run does not train. */
  betweenSteps<Result>(task: (loaded: LoadedRun) => Promise<Result>): Promise<Result> {
    const result = this.#errands.add(async () => {
      const lost = this.#lost;
      if (lost && this.#state === 'finished') await this.#loadAgain();
      else if (lost) throw new DeviceLostError(lost.info, 'Continue the run, then try again.');
      return task(this.#loaded);
    });
    this.#loop = this.#loop.then(async () => void (await this.#errands.run()));
    return result;
  }

  /** Cancels loading and stops training. */
  stop(): void {
    this.#state = 'over';
    this.#ended.abort(new Error('The run was reset.'));
  }

  /** Stops, and frees the run's GPU memory. */
  async end(): Promise<void> {
    this.stop();
    await this.#loop;
    const run = this.#run;
    if (run && !this.#lost) await this.#save(run).catch(() => undefined);
    this.#run = undefined;
    await run?.destroy().catch(() => undefined);
    await this.#letGo();
  }

  /** Lets another tab work on the run. */
  async #letGo(): Promise<void> {
    const kept = this.#kept;
    this.#kept = undefined;
    // What was let go of before is gone by now.
    await this.#letting;
    if (!kept) return;
    await kept.keeper.close();
    await kept.release();
    await kept.keeper.settle();
    post({ type: 'kept', runId: this.runId });
  }

  fail(operation: string, error: unknown): boolean {
    if (this.#state === 'over') return false;
    if (this.#errands.fail(error)) return true;
    // A lost device makes pending calls fail, too. The `lost` message is the better one.
    if (this.#lost) return true;
    this.#state = 'over';
    this.#reports.flush();
    post({ type: 'failed', runId: this.runId, failure: describe(operation, error) });
    // What still loads is for nothing.
    this.#ended.abort(error);
    if (this.#unsaved) void this.#write(this.#unsaved);
    this.#letting = this.#letGo();
    return true;
  }

  /** What the run can go on from without its device. */
  get #resumable(): Snapshot | undefined {
    return this.#run?.snapshot ?? this.#from;
  }

  lose(gpu: Gpu, info: GPUDeviceLostInfo): void {
    if (gpu !== this.#gpu || this.#state === 'over') return;
    this.#lost = { info, settled: this.#loop };
    // All of it is there, and is loaded again as soon as something is asked of it.
    if (this.#state === 'finished' && this.#resumable?.step === this.#run?.step) return;
    this.#state = 'paused';
    this.#reports.flush();
    if (this.#unsaved) void this.#write(this.#unsaved);
    this.#tellLost(info);
  }

  #tellLost({ message, reason }: GPUDeviceLostInfo, failure?: Failure): void {
    post({
      type: 'lost',
      runId: this.runId,
      message: message || reason || 'no reason given',
      resumeStep: this.#resumable?.step,
      failure,
    });
  }

  /** Opens a new device and continues from the last evaluation's snapshot. */
  async recover(): Promise<void> {
    if (!this.#lost) return;
    await this.#lost.settled;
    const again = this.#loadAgain().then(() => this.#resume('running'));
    // It has told why.
    await again.catch(() => undefined);
  }

  /** Builds the run anew on a new device. If that fails, it can be tried again. */
  async #loadAgain(): Promise<void> {
    const lost = this.#run;
    const { info } = this.#lost as { info: GPUDeviceLostInfo };
    this.#from = this.#resumable;
    this.#run = undefined;
    this.#lost = undefined;
    // Its buffers are gone with the device, but onnxruntime's session is not.
    await lost?.destroy().catch(() => undefined);
    try {
      await this.#build(this.#from);
    } catch (error) {
      await lossAfter(this.#gpu);
      // Lost again, and told.
      if (this.#lost || this.#state === 'over') throw error;
      this.#lost = { info, settled: Promise.resolve() };
      if (this.#state !== 'finished') this.#tellLost(info, describe('recover the run', error));
      throw error;
    }
  }

  #stage(
    stage: LoadingStage,
    detail: string,
    loaded?: number,
    total?: number,
    unit?: StageUnit,
  ): void {
    this.#loading = unit === undefined && (loaded ?? 0) < (total ?? 0) ? undefined : stage;
    post({ type: 'loading', runId: this.runId, stage, detail, loaded, total, unit });
  }

  async #build(snapshot?: Snapshot): Promise<void> {
    const { config, corpus, files } = this;
    const { signal } = this.#ended;
    const before = this.#facts;
    this.#from = snapshot;
    this.#stage('device', 'opening the GPU');
    const gpu = await this.openDevice();
    this.#gpu = gpu;
    countKernels(gpu, (...counts) => {
      const stage = this.#loading;
      if (stage === 'teacher' || stage === 'compile')
        this.#stage(stage, 'compiling kernels', ...counts, 'kernels');
    });
    const stage: Stage = (...report) => this.#stage(...report);
    const events = this.#events(gpu);
    const prepared = this.#prepared;
    this.#prepared = undefined;
    const taken = await prepared?.take(gpu, stage, signal);
    const source = { config, corpus, files, gpu };
    const building = { ...source, signal, stage, events, snapshot, before };
    const { run, models, student, facts } = await (taken ?? buildRun(building));
    this.#run = run;
    signal.throwIfAborted();
    gpu.onCompiled = () => {};
    facts.config = config;
    this.#facts = facts;
    this.#tokenizer = models.tokenizer;
    const { dtype, studentParameters, trainTokens, heldOutTokens } = run;
    if (this.#kept) await startKept(this.#kept, this, run, gpu, facts, snapshot?.step);
    post({ type: 'kept', runId: this.runId });
    // A recovered run keeps its Doctor, who has seen what came before.
    this.#doctor ??= new Doctor(config, {
      dtype: dtype === 'f16' ? 'float16' : 'float32',
      studentParameters,
      vocabularySize: student.vocabularySize,
      data: run.dataFacts,
      // All buffers of a run are made before its first step.
      plannedMemory: gpu.memory.totals(),
    });
    if (this.#journal) this.#doctor.recall(this.#journal, run.step);
    this.#journal = undefined;
    post({
      type: 'ready',
      runId: this.runId,
      adapter: gpu.adapter,
      run: {
        dtype: dtype === 'f16' ? 'float16' : 'float32',
        studentParameters,
        trainedParameters: student.adapters || student.trains ? run.trainedParameters : undefined,
        activeParameters: student.experts && activeParameters(student),
        trainTokens,
        heldOutTokens,
        teacherParameters: run.teacherParameters,
        teacherEngine: run.teacherEngine ?? models.teacherEngine,
        vocabularySize: student.vocabularySize,
        tokensPerStep: tokensPerStep(config),
        dispatchesPerStep: run.dispatchesPerStep,
        submissionsPerStep: run.submissionsPerStep,
        cache: run.cache,
        otherVocabulary: models.teacherTokenizer !== undefined,
      },
    });
    this.#diagnose(run.step, this.#doctor.verdicts);
    if (taken) prepared?.listen(events);
  }

  /** What becomes of what the run measures. */
  #events(gpu: Gpu): Measured {
    return {
      note: (text) => this.#note(text),
      record: (record) => {
        const timed = this.#timed(record);
        this.#reports.record(timed);
        this.#kept?.keeper.report.step(timed);
        const fresh = this.#doctor?.step(record) ?? [];
        if (fresh.length > 0) this.#diagnose(record.step, fresh);
      },
      nonFinite: (record) => {
        this.#note(`Step ${record.step}: ${nonFiniteAt(record)}`);
        this.#diagnose(record.step, this.#doctor?.nonFinite(record) ?? []);
      },
      twin: {
        record: (record) => {
          const timed = this.#timed(record);
          this.#reports.twinRecord(timed);
          this.#kept?.keeper.report.twinStep(timed);
        },
        evaluation: (record) => {
          this.#reports.flush();
          post({ type: 'twin-evaluation', runId: this.runId, record });
          this.#kept?.keeper.report.twinEvaluation(record);
        },
      },
      evaluation: (record) => {
        this.#reports.flush();
        post({ type: 'evaluation', runId: this.runId, record });
        this.#kept?.keeper.report.evaluation(record);
        const totals = Object.values(gpu.memory.totals());
        const bytes = totals.reduce<number>((sum, bytes = 0) => sum + bytes, 0);
        this.#doctor?.memory(record.step, bytes);
        this.#diagnose(record.step, this.#doctor?.evaluation(record) ?? []);
      },
      snapshot: (snapshot, then) => {
        this.#unsaved = { snapshot, config: then };
      },
      sample: (record) => {
        this.#reports.flush();
        post({ type: 'sample', runId: this.runId, record });
        this.#kept?.keeper.report.sample(record);
      },
    };
  }

  /** Keeps a run that rests, now or as soon as that is possible. */
  async #keep(run: Run): Promise<void> {
    const start = performance.now();
    await this.#save(run);
    const kept = this.#kept;
    await kept?.keeper.settle();
    performance.measure('wait until the run is kept', { start });
    post({ type: 'kept', runId: this.runId });
    void kept?.keeper.insist(() => this.#kept !== kept || this.training);
  }

  /** Writes a checkpoint of the run as it is now, unless there is one. */
  async #save(run: Run): Promise<void> {
    // One may be on its way.
    await this.#kept?.keeper.written();
    if (!this.#kept || run.step === 0 || this.#kept.keeper.savedStep === run.step) return;
    await this.#write({ snapshot: await run.save(), config: { ...this.config } });
  }

  async #write({ snapshot, config }: { snapshot: Snapshot; config: Config }): Promise<void> {
    this.#unsaved = undefined;
    if (!this.#facts || snapshot.step === 0) return;
    await this.#kept?.keeper.save(
      { ...this.#facts, config },
      snapshot,
      this.#clock.milliseconds / 1000,
    );
  }

  #resume(state: 'running' | 'paused'): void {
    if (this.#state === 'over' || this.#lost) return;
    const changed = state !== this.#state;
    this.#state = state;
    this.#reports.interrupt();
    this.#loop = this.#loop.then(() => this.#advance());
    if (changed) this.#report();
  }

  /** Trains until paused, done or over; while paused, takes the single steps requested. */
  async #advance(): Promise<void> {
    const run = this.#run;
    if (!run) return;
    const byHand = this.#state === 'paused' && this.#singleSteps > 0;
    this.#clock.start();
    try {
      while (
        !run.done &&
        !this.#lost &&
        (this.#state === 'running' || (this.#state === 'paused' && this.#singleSteps > 0))
      ) {
        if (this.#state === 'paused') this.#singleSteps--;
        await run.advance();
        if (this.#unsaved && (await this.#kept?.keeper.isDue(run.trainedParameters)))
          void this.#write(this.#unsaved);
        if (this.#keepNow) await this.#save(run);
        this.#keepNow = false;
        if (this.#reports.tick()) this.#report();
        await nextTask();
        if (await this.#errands.run()) this.#reports.interrupt();
      }
      await run.drain();
      const rests = !this.#lost && this.#state !== 'over';
      if (rests && !(byHand && isLarge(run.trainedParameters))) await this.#keep(run);
    } catch (error) {
      // A lost device also makes GPU calls fail, in no fixed order. Its loss is the better message.
      await lossAfter(this.#gpu);
      this.fail('train', error);
      return;
    } finally {
      this.#clock.stop();
    }
    if (run.done && !this.#lost && this.#state !== 'over') this.#state = 'finished';
    this.#report();
  }

  #diagnose(step: number, fresh: readonly Verdict[]): void {
    const doctor = this.#doctor;
    if (!doctor) return;
    const { line, verdicts } = doctor;
    for (const verdict of fresh) this.#kept?.keeper.report.verdict(step, verdict);
    post({ type: 'diagnosis', runId: this.runId, step, line, verdicts, fresh });
  }

  #timed(record: StepRecord): StepRecord {
    return { ...record, seconds: this.#clock.milliseconds / 1000 };
  }

  #report(): void {
    this.#reports.flush();
    const run = this.#run;
    if (!run || !this.#gpu || this.#lost || this.#state === 'over') return;
    const { stepsPerSecond } = this.#reports;
    const left = this.config.train_steps - run.step;
    post({
      type: 'status',
      runId: this.runId,
      status: {
        state: this.#state,
        step: run.step,
        tokensPerSecond: stepsPerSecond * tokensPerStep(this.config),
        secondsLeft: stepsPerSecond > 0 ? left / stepsPerSecond : undefined,
        submissionsPerStep: run.submissionsPerStep,
        memory: this.#gpu.memory.totals() as Record<string, number>,
      },
    });
  }
}
