// Lets a model speak: continues a prompt token by token with any folder that Stillhouse can load,
// in the page's engine, with the tokens that the page chooses.
//
//   npm run say -- out "The whale" --temperature 0.8 --top_k 40 --seed 1 --tokens 64
//
// --help lists all flags. Exit codes: 0 done, 1 failed, 2 invalid flags, 130 interrupted.

import { existsSync } from 'node:fs';
import { type Config, DEFAULTS } from '../config';
import { dtypeOf } from '../distill/run-setup';
import { say } from '../distill/say';
import { openTeacher, openTokenizer } from '../distill/teacher/folder';
import { openGpu } from '../gpu/device';
import { tuneMatmul } from '../kernels/matmul_tuning';
import { openDawn } from './dawn';
import { explain } from './failure';
import { sourceOf } from './models';
import { parseSayFlags, type SayFlags, sayHelp } from './say-flags';

const DONE = 0;
const FAILED = 1;
const BAD_FLAGS = 2;
const INTERRUPTED = 130;

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    if (stop.signal.aborted) process.exit(INTERRUPTED);
    stop.abort(new Error('interrupted'));
  });
}
process.exit(await main(process.argv.slice(2)));

async function main(args: string[]): Promise<number> {
  const flags = parseSayFlags(args);
  if (flags === 'help') {
    console.log(sayHelp());
    return DONE;
  }
  if ('problems' in flags) {
    console.error(`${flags.problems.join('\n')}\nnpm run say -- --help lists all flags.`);
    return BAD_FLAGS;
  }
  try {
    await speak(flags);
  } catch (error) {
    if (error !== stop.signal.reason) {
      console.error(`say: ${explain(error)}`);
      return FAILED;
    }
  }
  return stop.signal.aborted ? INTERRUPTED : DONE;
}

async function speak({ model, prompt, settings, ...run }: SayFlags): Promise<void> {
  const gpu = await openGpu(await openDawn());
  const config = { ...DEFAULTS, ...run } as Config;
  const dtype = dtypeOf(config, gpu);
  const source = sourceOf('teacher', existsSync(model) ? 'files' : model, {
    teacherDir: model,
    signal: stop.signal,
    say: (line) => console.error(line),
  });
  const folder = await openTeacher(source, {
    engine: config.teacher_engine,
    file: config.teacher_dtype,
    f16: gpu.adapter.f16,
    dtype,
  });
  const { vocabularySize, contextWindow } = folder.sizes;
  const tokenizer = await openTokenizer(source, vocabularySize);
  await tuneMatmul(gpu, dtype);
  const length = Math.max(1, tokenizer.encode(prompt).length) + settings.tokens;
  const T = Math.min(contextWindow, length);
  const loaded = await folder.make(gpu, { B: 1, T, dtype });
  source.close();
  console.error(`${source.label} in ${folder.engine.name}, ${dtype}, on ${gpu.adapter.name}`);
  process.stdout.write(prompt);
  const started = performance.now();
  let said = 0;
  try {
    for await (const { text } of say(loaded.next, tokenizer, prompt, settings)) {
      process.stdout.write(text);
      said++;
      if (stop.signal.aborted) break;
    }
  } finally {
    process.stdout.write('\n');
    await loaded.dispose();
  }
  const seconds = (performance.now() - started) / 1000;
  console.error(`${said} tokens in ${seconds.toFixed(1)} s, ${(said / seconds).toFixed(1)} tok/s`);
}
