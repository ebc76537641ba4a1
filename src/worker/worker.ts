// The worker's entry point. All GPU and model work happens here: one Session or one Bug Lab
// experiment at a time, started and steered by the protocol's messages.

import { reportText, runChecks } from '../check/run';
import type { Config } from '../config';
import { BugLabSession } from './bug-lab';
import { preview } from './corpus';
import { busy, FailureError } from './failure';
import { answer, base, openDevice as openSharedDevice, post } from './host';
import { keepRuns, keepSweep, labelRun, listRuns, openRun, readRun, saveRun } from './library';
import { inspectModel } from './models';
import { planRun } from './plan';
import { PreparedRun } from './prepared-run';
import type {
  CheckRow,
  Experiment,
  ExperimentProgress,
  RequestMessage,
  RunCommand,
  ToWorker,
} from './protocol';
import { expectedOf, exportRun, passagesOf, profileRun, recipeOf } from './run-errands';
import { Session } from './session';

let session: Session | undefined;
let bugLab: BugLabSession | undefined;
/** Built while nothing else uses the GPU. */
let prepared: PreparedRun | undefined;
/** Starting, ending and recovering a run wait for one another; messages to a run act at once. */
let queue: Promise<unknown> = Promise.resolve();

const openDevice = () => openSharedDevice(() => [bugLab, session, prepared]);

self.onmessage = ({ data }: MessageEvent<ToWorker>) => {
  if (data.type === 'say-stop') session?.stopSaying();
  else if (data.type === 'bug-lab-stop') void enqueue(async () => bugLab?.end());
  else if (data.type === 'prepare') void enqueue(() => prepare(data.config));
  else if ('id' in data) void onRequest(data);
  else onCommand(data);
};

void navigator.locks?.request(self.name, () => {
  post({ type: 'alive' });
  return new Promise(() => {});
});

/** Runs `task` when all that was enqueued before it has ended. */
function enqueue<Result>(task: () => Promise<Result>): Promise<Result> {
  const result = queue.then(task);
  queue = result.catch(() => undefined);
  return result;
}

/** Settles when the request is answered. */
function onRequest(request: RequestMessage): Promise<void> {
  const { id } = request;
  switch (request.type) {
    case 'probe':
      return answer('probe', id, async () => (await openDevice()).adapter);
    case 'inspect': {
      const { role, reference, teacher, files = {} } = request;
      return answer('inspect', id, () => inspectModel(role, reference, { files, base }, teacher));
    }
    case 'plan':
      // Queued, like a profile: it may measure the GPU.
      return answer('plan', id, () =>
        enqueue(async () => {
          const gpu = await openDevice();
          if (!gpu.adapter.software) await prepared?.settled;
          return planRun(request, gpu, !session?.training && !bugLab);
        }),
      );
    case 'preview':
      return answer('preview', id, (report) => enqueue(() => preview(request, report)));
    case 'check':
      return answer('check', id, (report) => enqueue(() => checkGpu(report)));
    case 'bug-lab':
      return answer('bug-lab', id, async (report) => {
        const started = await enqueue(() => startExperiment(request.experiment, report));
        await started.finished.finally(() => {
          if (bugLab === started) bugLab = undefined;
        });
        return undefined;
      });
    case 'runs':
      return answer('runs', id, listRuns);
    case 'run':
      return answer('run', id, () => readRun(request.runId));
    case 'label-run':
      return answer('label-run', id, () => labelRun(request.runId, request.label));
    case 'keep-runs':
      return answer('keep-runs', id, () => keepRuns(request.budget));
    case 'keep-sweep':
      return answer('keep-sweep', id, () => keepSweep(request.sweep));
    case 'save-run':
      return answer('save-run', id, () => saveRun(request.runId));
    case 'open-run':
      return answer('open-run', id, () => openRun(request.name, request.zip));
    case 'export':
      return answer('export', id, (report) =>
        sessionOf(request).whilePaused(
          'export the student',
          'Pause the run, then download the student.',
          (loaded) => exportRun(loaded, request, report),
        ),
      );
    case 'recipe':
      return answer('recipe', id, (report) =>
        sessionOf(request).whilePaused(
          'write the recipe',
          'Pause the run, then take its recipe.',
          (loaded) => recipeOf(loaded, report),
        ),
      );
    case 'say':
      return answer('say', id, async (report) => {
        // A paused run shares the GPU with no experiment, like one that trains.
        if (!session?.training) await enqueue(async () => bugLab?.end());
        return sessionOf(request).say(request, report);
      });
    case 'passages':
      return answer('passages', id, () => sessionOf(request).betweenSteps(passagesOf));
    case 'expect':
      return answer('expect', id, () =>
        sessionOf(request).betweenSteps((loaded) => expectedOf(loaded, request)),
      );
    case 'profile':
      // Queued, so that no kernel check and no experiment runs at the same time.
      return answer('profile', id, () =>
        enqueue(async () => {
          await bugLab?.end();
          const next = 'Pause the run, then measure.';
          return sessionOf(request).whilePaused('measure a step', next, profileRun);
        }),
      );
  }
}

/** @throws FailureError if the run is over */
function sessionOf({ runId }: { runId: string }): Session {
  if (session?.runId === runId) return session;
  throw new FailureError({
    operation: 'find the run',
    message: 'The run is over.',
    hint: 'Start a run first.',
    kind: 'internal',
  });
}

function onCommand(command: RunCommand): void {
  if (command.type === 'start') {
    const { runId, config, corpus, files, paused = false, continues } = command;
    const ready = prepared?.serves(command) ? prepared : undefined;
    if (ready) prepared = undefined;
    const next = new Session(runId, config, corpus, files, openDevice, continues, ready);
    const previous = session;
    session = next;
    previous?.stop();
    void enqueue(async () => {
      await dropPrepared();
      await bugLab?.end();
      await previous?.end();
      await next.start(paused);
    });
    return;
  }
  const current = session;
  if (!current || current.runId !== command.runId) return;
  if (command.type === 'reset') {
    session = undefined;
    current.stop();
    void enqueue(() => current.end());
  } else if (command.type === 'recover') {
    void enqueue(() => current.recover());
  } else {
    // A resumed run has the GPU to itself, like a new one.
    if (command.type === 'resume') void bugLab?.end();
    current.handle(command);
  }
}

/** Builds a run that may be started next, unless there is one that needs the GPU. */
async function prepare(config: Config): Promise<void> {
  await dropPrepared();
  if (!session && !bugLab) prepared = new PreparedRun(config, openDevice);
}

/** What is prepared leaves the GPU to what somebody asked for. */
async function dropPrepared(): Promise<void> {
  const dropped = prepared;
  prepared = undefined;
  await dropped?.drop();
}

/** Ends the previous experiment and starts this one, which runs outside the queue. */
async function startExperiment(
  experiment: Experiment,
  report: (progress: ExperimentProgress) => void,
): Promise<BugLabSession> {
  if (session?.training) {
    throw busy(
      'run the experiment',
      'A run is training on the GPU.',
      'Pause the run, then start the experiment again.',
    );
  }
  await dropPrepared();
  await bugLab?.end();
  bugLab = new BugLabSession(experiment, openDevice, report);
  return bugLab;
}

/** The table as text. */
async function checkGpu(report: (row: CheckRow) => void): Promise<string> {
  if (session?.training) {
    throw busy(
      'check the GPU',
      'A run is training on the GPU.',
      'Pause the run, then check again.',
    );
  }
  await dropPrepared();
  const gpu = await openDevice();
  const started = performance.now();
  const rows = await runChecks(gpu, report);
  const seconds = (performance.now() - started) / 1000;
  return reportText(gpu.adapter, navigator.userAgent, rows, seconds);
}
