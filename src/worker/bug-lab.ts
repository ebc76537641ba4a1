// The Bug Lab's part of the worker: runs one experiment at a time, from loading its models to its
// last report.

import { BUILT_IN_MODELS, TEXTS } from '../built-in';
import { decodeCorpus } from '../data/corpus';
import { loadTokenizer } from '../data/tokenizer';
import { type BugLabOptions, runExperiment } from '../distill/bug-lab/experiments';
import { download, downloadJson } from '../files/download';
import { readSafetensors } from '../files/safetensors';
import type { Gpu } from '../gpu/device';
import { parseConfig } from '../model/families';
import { loadWeights } from '../model/weights';
import { DeviceLostError, describe, FailureError, lossAfter } from './failure';
import { base, type DeviceUser, nextTask } from './host';
import type { Experiment, ExperimentProgress, Failure } from './protocol';

type Models = Omit<BugLabOptions, 'gpu'>;

/** Loaded once. Reset if loading fails, so that the next experiment tries again. */
let models: Promise<Models> | undefined;

export class BugLabSession implements DeviceUser {
  /** Resolves when the experiment is done or was ended; rejects with a FailureError. */
  readonly finished: Promise<void>;
  #over = false;
  #gpu: Gpu | undefined;
  #resolve = () => {};
  #reject: (error: FailureError) => void = () => {};
  readonly #released: Promise<void>;

  constructor(
    experiment: Experiment,
    private readonly openDevice: () => Promise<Gpu>,
    private readonly report: (progress: ExperimentProgress) => void,
  ) {
    this.finished = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#released = this.#run(experiment);
  }

  /** Ends the experiment after the current step, and waits until its memory is freed. */
  async end(): Promise<void> {
    this.#finish();
    await this.#released;
  }

  fail(operation: string, error: unknown): boolean {
    return this.#finish(describe(operation, error));
  }

  lose(gpu: Gpu, info: GPUDeviceLostInfo): void {
    if (gpu !== this.#gpu) return;
    const hint = 'Start the experiment again. It opens a new device.';
    this.#finish(describe('run the experiment', new DeviceLostError(info, hint)));
  }

  /** The first end counts: returns whether this was it. */
  #finish(failure?: Failure): boolean {
    if (this.#over) return false;
    this.#over = true;
    if (failure) this.#reject(new FailureError(failure));
    else this.#resolve();
    return true;
  }

  async #run(experiment: Experiment): Promise<void> {
    try {
      const stage = (detail: string) => {
        if (!this.#over) this.report({ detail });
      };
      stage('opening the GPU');
      const gpu = await this.openDevice();
      this.#gpu = gpu;
      models ??= loadModels(stage).catch((error) => {
        models = undefined;
        throw error;
      });
      const loaded = await models;
      if (this.#over) return;
      stage('compiling kernels');
      // Leaving the loop, by `break` or an error, ends the generator, which frees its memory.
      for await (const report of runExperiment({ gpu, ...loaded }, experiment)) {
        if (this.#over) break;
        this.report({ report });
        await nextTask();
        if (this.#over) break;
      }
    } catch (error) {
      // A lost device also makes GPU calls fail, in no fixed order. Its loss is the better message.
      await lossAfter(this.#gpu);
      this.fail('run the experiment', error);
    }
    this.#finish();
  }
}

/** The experiments' sizes and texts are written for this one. */
const TEACHER = 'moby-teacher';
const CORPUS = TEXTS[BUILT_IN_MODELS[TEACHER].text].file;

async function loadModels(stage: (detail: string) => void): Promise<Models> {
  const folder = `models/${TEACHER}`;
  const fetchFile = (path: string) => {
    stage(path);
    return download(new URL(path, base));
  };
  const text = decodeCorpus(CORPUS, await fetchFile(CORPUS));
  stage(`${folder}/tokenizer.json`);
  const teacherConfig = parseConfig(
    await downloadJson(new URL(`${folder}/config.json`, base)),
    `${folder}/config.json`,
  );
  const tokenizer = await loadTokenizer(new URL(folder, base).href, {
    vocabularySize: teacherConfig.vocabularySize,
  });
  const file = `${folder}/model.safetensors`;
  const teacherWeights = loadWeights(
    readSafetensors(await fetchFile(file), file),
    teacherConfig,
    file,
  );
  stage(`reading ${CORPUS}`);
  return { tokenizer, tokens: tokenizer.encode(text), teacherConfig, teacherWeights };
}
