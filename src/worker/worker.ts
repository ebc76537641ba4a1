// The worker's entry point. All GPU and model work happens here: one Session or one Bug Lab
// experiment at a time, started and steered by the protocol's messages.

import { reportText, runChecks } from '../check/run';
import { BugLabSession } from './bug-lab';
import { preview } from './corpus';
import { describe } from './failure';
import { base, openDevice as openSharedDevice, post } from './host';
import { inspectModel, planModels } from './models';
import type { Experiment, Failure, ToWorker } from './protocol';
import { Session } from './session';

let session: Session | undefined;
let bugLab: BugLabSession | undefined;
/** Starting, ending and recovering a run wait for one another; messages to a run act at once. */
let queue: Promise<void> = Promise.resolve();

const openDevice = () => openSharedDevice(() => [session, bugLab]);

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
  if (data.type === 'inspect') {
    const { id, role, reference, files = {} } = data;
    void inspectModel(role, reference, { files, base }).then(
      (report) => post({ type: 'inspected', id, role, report }),
      (error) =>
        post({ type: 'inspected', id, role, failure: describe('look up the model', error) }),
    );
    return;
  }
  if (data.type === 'preview') {
    queue = queue.then(() => preview(data));
    return;
  }
  if (data.type === 'plan') {
    const { id, config, files = {} } = data;
    void openDevice()
      .then((gpu) => planModels(config, gpu, { files, base }))
      .then(
        (plan) => post({ type: 'planned', id, plan }),
        (error) => post({ type: 'planned', id, failure: describe('plan the memory', error) }),
      );
    return;
  }
  if (data.type === 'start') {
    const next = new Session(data.runId, data.config, data.corpus, data.files, openDevice);
    const previous = session;
    session = next;
    previous?.stop();
    queue = queue.then(async () => {
      await bugLab?.end();
      await previous?.end();
      await next.start(data.paused ?? false);
    });
    return;
  }
  if (data.type === 'bug-lab') {
    queue = queue.then(() => startExperiment(data.experiment));
    return;
  }
  if (data.type === 'bug-lab-stop') {
    queue = queue.then(() => bugLab?.end());
    return;
  }
  const current = session;
  if (!current || current.runId !== data.runId) return;
  if (data.type === 'reset') {
    session = undefined;
    current.stop();
    queue = queue.then(() => current.end());
  } else if (data.type === 'export') {
    current.export(data);
  } else if (data.type === 'profile') {
    // Queued, so that no kernel check and no experiment runs at the same time.
    queue = queue.then(async () => {
      await bugLab?.end();
      await current.profile();
    });
  } else if (data.type === 'recover') {
    queue = queue.then(() => current.recover());
  } else {
    // A resumed run has the GPU to itself, like a new one.
    if (data.type === 'resume') void bugLab?.end();
    current.handle(data);
  }
};

/** Ends the previous experiment and starts this one, which runs outside the queue. */
async function startExperiment(experiment: Experiment): Promise<void> {
  const operation = 'run the experiment';
  if (session?.training) {
    const message = 'A run is training on the GPU.';
    const hint = 'Pause the run, then start the experiment again.';
    const failure: Failure = { operation, message, hint, kind: 'internal' };
    return post({ type: 'bug-lab-failed', failure });
  }
  await bugLab?.end();
  bugLab = new BugLabSession(experiment, openDevice);
}

async function checkGpu(): Promise<void> {
  const operation = 'check the GPU';
  if (session?.training) {
    const message = 'A run is training on the GPU.';
    const hint = 'Pause the run, then check again.';
    const failure: Failure = { operation, message, hint, kind: 'internal' };
    return post({ type: 'check-done', failure });
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
