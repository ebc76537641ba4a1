// Opens the peers, runs the workloads in order and prints their results, in Node and on the page.

import { devDependencies } from '../../package.json';
import type { Gpu } from '../../src/gpu/device';
import type { Options, Workload } from './options';
import type { Peer } from './peer';
import type { Bench, Result } from './result';
import { formatResult } from './table';
import { benchStep } from './w1-step';
import { benchMatmul } from './w3-matmul';
import { benchLosses } from './w4-losses';
import { benchScaling } from './w5-scaling';
import { benchLlama } from './w6-llama';
import { benchExperts } from './w7-experts';

const BENCHES: Record<Workload, (bench: Bench) => Promise<Result>> = {
  W1: (bench) => benchStep(bench, 'W1'),
  W2: (bench) => benchStep(bench, 'W2'),
  W3: benchMatmul,
  W4: benchLosses,
  W5: benchScaling,
  W6: benchLlama,
  W7: benchExperts,
};

export interface Report {
  adapter: string;
  f16: boolean;
  /** The program that provides WebGPU. */
  host: string;
  date: string;
  versions: Record<string, string>;
  results: Result[];
}

/** @throws Disagreement if contestants compute different things */
export async function runBench(
  gpu: Gpu,
  options: Options,
  host: string,
  others: readonly Peer[],
): Promise<Report> {
  // On import, they look for navigator.gpu.
  const [{ openTfjs }, { openJax }] = await Promise.all([
    import('./peer-tfjs'),
    import('./peer-jax'),
  ]);
  const peers = [await openTfjs(), await openJax(), ...others];
  const date = new Date().toISOString();
  const versions = Object.fromEntries(peers.map(({ name, version }) => [name, version]));
  versions.webgpu = devDependencies.webgpu;
  const { name: adapter, f16 } = gpu.adapter;
  console.log(`${adapter}, ${f16 ? 'with' : 'without'} f16; ${host}; ${date}\n`);
  const results: Result[] = [];
  for (const workload of options.only) {
    // Progress goes to stderr, because it is not part of the results.
    const log = (line: string) => console.error(`${workload}: ${line} …`);
    const result = await BENCHES[workload]({ gpu, peers, turns: options.turns, log });
    results.push(result);
    console.log(`\n${formatResult(result)}\n`);
  }
  return { adapter, f16, host, date, versions, results };
}
