// PyTorch on one CPU core, in its own process, which takes a step on request. It does not compete;
// it shows the limit. Node only.

import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Peer, Training, TrainingTask } from './peer';

const SCRIPT = 'tests/bench/pytorch_step.py';

/** The Python that has torch; undefined if there is none. */
export function findPyTorch(): Peer | undefined {
  for (const python of ['python3', '/usr/bin/python3']) {
    const { status, stdout } = spawnSync(python, ['-c', 'import torch; print(torch.__version__)'], {
      encoding: 'utf8',
    });
    if (status !== 0) continue;
    const version = stdout.trim();
    return { name: 'PyTorch', version, training: (task) => train(python, version, task) };
  }
  return undefined;
}

async function train(
  python: string,
  version: string,
  { config, B, T }: TrainingTask,
): Promise<Training> {
  const child = spawn(python, [SCRIPT], { env: { ...process.env, OPENBLAS_NUM_THREADS: '1' } });
  child.stderr.pipe(process.stderr);
  const next = lines(child);
  const ask = (line: string): Promise<string> => {
    child.stdin.write(`${line}\n`);
    return next();
  };
  let last = Number.NaN;
  const blas = await ask(JSON.stringify({ config, B, T }));
  return {
    name: `PyTorch ${version}, one thread, ${blas}`,
    kind: 'limit',
    async run() {
      last = Number(await ask('step'));
    },
    loss: async () => last,
    async end() {
      child.stdin.end();
    },
  };
}

/** The child's answers, one a line. */
function lines(child: ChildProcessWithoutNullStreams): () => Promise<string> {
  const read = createInterface(child.stdout)[Symbol.asyncIterator]();
  return async () => {
    const { value, done } = await read.next();
    if (done)
      throw new Error(`bench: ${SCRIPT} ended before it answered. What it said stands above.`);
    return value;
  };
}
