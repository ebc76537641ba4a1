// The Bug Lab's part of the worker: runs one experiment at a time, from loading its models to its
// last report.

import { DEFAULTS } from '../config';
import { decodeCorpus } from '../data/corpus';
import { loadTokenizer } from '../data/tokenizer';
import { type BugLabOptions, runExperiment } from '../distill/bug-lab/experiments';
import { download, downloadJson } from '../files/download';
import { readSafetensors } from '../files/safetensors';
import type { Gpu } from '../gpu/device';
import { parseConfig } from '../model/families';
import { loadWeights } from '../model/weights';
import { describe } from './failure';
import { BUILT_IN_CORPUS, base, type DeviceUser, nextTask, post } from './host';
import type { Experiment } from './protocol';

type Models = Omit<BugLabOptions, 'gpu'>;

/** Loaded once. Reset if loading fails, so that the next experiment tries again. */
let models: Promise<Models> | undefined;

/** After a failed GPU call, how long to wait for a lost device to be reported as the cause. */
const LOST_MILLISECONDS = 200;

export class BugLabSession implements DeviceUser {
  #over = false;
  #gpu: Gpu | undefined;
  readonly #done: Promise<void>;

  constructor(experiment: Experiment, openDevice: () => Promise<Gpu>) {
    this.#done = this.#run(experiment, openDevice);
  }

  /** Ends the experiment after the current step, and waits until its memory is freed. */
  async end(): Promise<void> {
    if (!this.#over) post({ type: 'bug-lab-done' });
    this.#over = true;
    await this.#done;
  }

  fail(operation: string, error: unknown): void {
    if (this.#over) return;
    this.#over = true;
    post({ type: 'bug-lab-failed', failure: describe(operation, error) });
  }

  lose(gpu: Gpu, { message, reason }: GPUDeviceLostInfo): void {
    if (gpu !== this.#gpu || this.#over) return;
    this.#over = true;
    post({
      type: 'bug-lab-failed',
      failure: {
        operation: 'run the experiment',
        message: `The GPU device was lost: ${message || reason || 'no reason given'}.`,
        hint: 'Start the experiment again. It opens a new device.',
        kind: 'internal',
      },
    });
  }

  async #run(experiment: Experiment, openDevice: () => Promise<Gpu>): Promise<void> {
    try {
      const stage = (detail: string) => {
        if (!this.#over) post({ type: 'bug-lab-loading', detail });
      };
      stage('opening the GPU');
      const gpu = await openDevice();
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
        post({ type: 'bug-lab-report', report });
        await nextTask();
        if (this.#over) break;
      }
    } catch (error) {
      // A lost device also makes GPU calls fail, in no fixed order. Its loss is the better message.
      await Promise.race([
        this.#gpu?.lost,
        new Promise((resolve) => setTimeout(resolve, LOST_MILLISECONDS)),
      ]);
      return this.fail('run the experiment', error);
    }
    if (this.#over) return;
    this.#over = true;
    post({ type: 'bug-lab-done' });
  }
}

async function loadModels(stage: (detail: string) => void): Promise<Models> {
  const folder = `models/${DEFAULTS.teacher_model}`;
  const fetchFile = (path: string) => {
    stage(path);
    return download(new URL(path, base));
  };
  const text = decodeCorpus(BUILT_IN_CORPUS, await fetchFile(BUILT_IN_CORPUS));
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
  stage(`reading ${BUILT_IN_CORPUS}`);
  return { tokenizer, tokens: tokenizer.encode(text), teacherConfig, teacherWeights };
}
