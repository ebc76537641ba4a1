// `npm run doctor`: trains the sick and the healthy runs of tests/doctor/cases.ts on the adapter
// that Node finds, and counts the Doctor's misses and false alarms. Exits with 1 if there is one.
//
//   npm run doctor -- [--only TEXT]… [--part I/N] [--json FILE] [--dawn FEATURE]…
//
// --only runs the cases whose name or rule contains TEXT; --part every N-th of them from the I-th,
// so that N processes can share a large GPU. --json writes all records, of which
// tests/doctor/fixtures.mjs makes the fixture of the unit tests. --dawn switches a feature of Dawn
// on, such as vulkan_enable_f16_on_nvidia.

import { readFile, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { BUILT_IN_MODELS, type BuiltInName, TEXTS } from '../../src/built-in';
import { openDawn } from '../../src/cli/dawn';
import { decodeCorpus } from '../../src/data/corpus';
import { loadTokenizer } from '../../src/data/tokenizer';
import { readSafetensors } from '../../src/files/safetensors';
import { openGpu } from '../../src/gpu/device';
import { parseConfig } from '../../src/model/families';
import { loadWeights } from '../../src/model/weights';
import { type Case, HEALTHY, SICK } from '../doctor/cases';
import { type Place, type Trained, trainCase } from '../doctor/train';

const { values: options } = parseArgs({
  options: {
    only: { type: 'string', multiple: true, default: [''] },
    part: { type: 'string', default: '1/1' },
    json: { type: 'string' },
    dawn: { type: 'string', multiple: true, default: [] },
  },
});
const gpu = await openGpu(await openDawn(options.dawn));
const [part, parts] = options.part.split('/').map(Number);
const chosen = [...SICK, ...HEALTHY]
  .filter(({ name, expects = 'healthy' }) =>
    options.only.some((text) => name.includes(text) || expects.includes(text)),
  )
  .filter((_, index) => index % parts === part - 1);
const done: { wanted: Case; trained: Trained; right: boolean }[] = [];
for (const wanted of chosen) {
  const started = performance.now();
  const trained = await trainCase(await placeOf(wanted.teacher), wanted);
  const right = isRight(wanted, trained);
  done.push({ wanted, trained, right });
  if (options.json) await writeRecords(options.json);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${right ? 'ok  ' : 'MISS'} ${seconds} s  ${wanted.name}: ${said(wanted, trained)}`);
  for (const { step, verdict } of trained.ever)
    console.log(`       step ${step}, ${verdict.rule}: ${verdict.text}`);
}

async function placeOf(teacher: BuiltInName = 'moby-teacher'): Promise<Place> {
  const folder = `public/models/${teacher}`;
  const architecture = parseConfig(JSON.parse(await readFile(`${folder}/config.json`, 'utf8')));
  const tokenizer = await loadTokenizer(folder, {
    read: (path) => readFile(path, 'utf8'),
    vocabularySize: architecture.vocabularySize,
  });
  const file = `${folder}/model.safetensors`;
  const weights = loadWeights(readSafetensors(await readFile(file), file), architecture, file);
  const book = `public/${TEXTS[BUILT_IN_MODELS[teacher].text].file}`;
  return {
    gpu,
    tokenizer,
    book: decodeCorpus(book, await readFile(book)),
    teacher: { architecture, weights },
  };
}

/** All records so far, so that a run that is ended early leaves some. */
async function writeRecords(path: string): Promise<void> {
  const runs = done.map(({ wanted, trained: { evidence, error } }) => ({
    name: wanted.name,
    expects: wanted.expects,
    unseen: wanted.unseen,
    error,
    evidence,
  }));
  await writeFile(path, JSON.stringify({ adapter: gpu.adapter.name, runs }));
}

/** A sick run's rule must stand first at the end; on a healthy run none may ever have spoken. */
function isRight({ expects }: Case, { verdicts, ever }: Trained): boolean {
  return expects ? verdicts[0]?.rule === expects : ever.length === 0;
}

function said({ expects }: Case, { verdicts }: Trained): string {
  const found = verdicts.map(({ rule }) => rule).join(', ') || 'nothing';
  return `${found} (expected: ${expects ?? 'nothing'})`;
}

const count = (sick: boolean, right: boolean) =>
  done.filter((row) => Boolean(row.wanted.expects) === sick && row.right === right).length;
console.log(
  `\n${gpu.adapter.name}: ${count(true, true) + count(true, false)} sick runs, ` +
    `${count(true, false)} missed; ${count(false, true) + count(false, false)} healthy runs, ` +
    `${count(false, false)} false alarms.`,
);
process.exit(done.every(({ right }) => right) ? 0 : 1);
