// Each rule of tests/rules.mjs reports what it should and accepts what it should.

import { describe, expect, test } from 'vitest';
import { checkTree } from '../rules.mjs';

const check = (files: Record<string, string>) => checkTree(new Map(Object.entries(files)));
/** Uses the exports of these files, so that no test trips over the rule about unused ones. */
const uses = (...paths: string[]) =>
  paths.map((path) => `import * as all from '../${path}';`).join('\n');

test('a room may not import a room that is not listed for it', () => {
  const files = {
    'src/tensor/dtype.ts': 'export const f16 = 2;',
    'src/gpu/device.ts': "import { f16 } from '../tensor/dtype';\nconsole.log(f16);",
    'src/data/batches.ts':
      "// Batches.\n\nimport { f16 } from '../tensor/dtype';\nconsole.log(f16);",
  };
  const problems = check(files);
  expect(problems).toHaveLength(1);
  expect(problems[0]).toMatch(
    /^src\/data\/batches\.ts:3: data imports src\/tensor\/dtype\.ts\. data may import quote\./,
  );
});

test.each([
  ['a type', "import type { A } from '../gpu/device';"],
  ['several lines', "import {\n  A,\n  type B,\n} from '../gpu/device';"],
  ['a default with names', "import device, { A } from '../gpu/device';"],
  ['a namespace', "import * as device from '../gpu/device';"],
  ['a side effect', "import '../gpu/device';"],
  ['a dynamic import', "const device = await import('../gpu/device');"],
  ['a type import in a type', "let a: import('../gpu/device').A;"],
  ['a re-export', "export { A } from '../gpu/device';"],
  ['a re-export of everything', "export * from '../gpu/device';"],
  ['a query', "import text from '../gpu/device.wgsl?raw';"],
])('the rule about rooms sees %s', (_, line) => {
  const files = {
    'src/gpu/device.ts': 'export const A = 1; export interface B {}\nexport default A;',
    'src/gpu/device.wgsl': '',
    'src/data/batches.ts': line,
    'tests/a.ts': uses('src/data/batches', 'src/gpu/device'),
  };
  expect(check(files).join('\n')).toMatch(
    /^src\/data\/batches\.ts:1: data imports src\/gpu\/device\.(ts|wgsl)\./,
  );
});

test('a family of models is known to its folder, the table of families and the Bug Lab', () => {
  const files = {
    'src/model/gpt2/config.ts': 'export const gpt2 = 1;',
    'src/model/gpt2/model.ts': "import { gpt2 } from './config';\nconsole.log(gpt2);",
    'src/model/families.ts': "import { gpt2 } from './gpt2/config';\nconsole.log(gpt2);",
    'src/distill/bug-lab/heads.ts': "import { gpt2 } from '../../model/gpt2/config';\ngpt2;",
    'src/model/weights.ts': "import { gpt2 } from './gpt2/config';\nconsole.log(gpt2);",
    'src/distill/trainer.ts': "import { gpt2 } from '../model/gpt2/config';\nconsole.log(gpt2);",
    'src/model/llama/model.ts': "import { gpt2 } from '../gpt2/config';\nconsole.log(gpt2);",
  };
  expect(check(files).map((problem) => problem.split(', of the family')[0])).toEqual([
    'src/distill/trainer.ts:1: imports src/model/gpt2/config.ts',
    'src/model/llama/model.ts:1: imports src/model/gpt2/config.ts',
    'src/model/weights.ts:1: imports src/model/gpt2/config.ts',
  ]);
});

test('text that only looks like an import does not count', () => {
  const text = [
    "// import { A } from '../gpu/device';",
    "/* import { A } from '../gpu/device'; */",
    "const quote = /['\"`]/; // it's one",
    "const help = `\nimport { A } from '../gpu/device';\n`;",
    "const url = 'https://host/path';",
    "import address from '../worker/worker.ts?worker&url';",
    'console.log(quote, help, url, address);',
  ].join('\n');
  expect(
    check({ 'src/app/client.ts': text, 'src/gpu/device.ts': '', 'src/worker/worker.ts': '' }),
  ).toEqual([]);
});

test('the app may import only the protocol of the worker', () => {
  const files = {
    'src/worker/protocol.ts': 'export interface Step {}',
    'src/worker/worker.ts': "import type { Step } from './protocol';\nexport let step: Step;",
    'src/app/client.ts':
      "import type { Step } from '../worker/protocol';\nlet step: Step; console.log(step);",
    'src/app/store.ts': "import { step } from '../worker/worker';\nconsole.log(step);",
  };
  const problems = check(files);
  expect(problems).toHaveLength(1);
  expect(problems[0]).toMatch(
    /^src\/app\/store\.ts:1: app imports src\/worker\/worker\.ts\. app may import config, /,
  );
});

test('link.ts belongs to the config room', () => {
  const files = {
    'src/config.ts': 'export const DEFAULTS = {};',
    'src/link.ts': "import { DEFAULTS } from './config';\nexport const link = DEFAULTS;",
    'src/app/share.ts': "import { link } from '../link';\nconsole.log(link);",
  };
  expect(check(files)).toEqual([]);
  expect(
    check({ ...files, 'src/gpu/a.ts': "import { link } from '../link';\nconsole.log(link);" }),
  ).toHaveLength(1);
});

test('an unknown room and a missing file are reported', () => {
  expect(check({ 'src/utils/misc.ts': '' })[0]).toContain(
    'src/utils/misc.ts:1: "utils" is not a room',
  );
  expect(check({ 'src/gpu/a.ts': "import './b';" })[0]).toContain(
    'src/gpu/a.ts:1: imports ./b, which does not exist',
  );
  expect(check({ 'src/gpu/a.ts': "import '../../tests/b';", 'tests/b.ts': '' })[0]).toContain(
    'outside src/',
  );
});

test('src/ may import nothing outside src/ and public/', () => {
  const files = { 'tests/harness.ts': 'export const open = 1;' };
  const importing = {
    ...files,
    'src/check/run.ts': "import { open } from '../../tests/harness';\nopen();",
  };
  expect(check(importing)[0]).toContain('outside src/');
});

test('a package with a single importer may not be imported by two files', () => {
  const one = {
    'src/distill/teacher.ts': "import * as ort from 'onnxruntime-web/webgpu';\nconsole.log(ort);",
  };
  expect(check(one)).toEqual([]);
  const problems = check({ ...one, 'src/model/run.ts': "\nimport 'onnxruntime-web';" });
  expect(problems).toHaveLength(2);
  expect(problems[1]).toContain('src/model/run.ts:2: onnxruntime-web is imported by');
});

test('only src/gpu/ may name navigator.gpu', () => {
  for (const text of ['navigator.gpu;', 'globalThis.navigator?.gpu;', "navigator['gpu'];"]) {
    expect(check({ 'src/gpu/device.ts': text, 'tests/e2e/a.ts': text })).toEqual([]);
    expect(check({ 'src/app/a.ts': `\n${text}` })[0]).toContain(
      'src/app/a.ts:2: names navigator.gpu',
    );
  }
  expect(check({ 'src/app/a.ts': '// navigator.gpu is elsewhere\nnavigator.language;' })).toEqual(
    [],
  );
});

test.each([
  'export const a = 1;',
  'export function a() {}',
  'export async function a() {}',
  'export function* a() {}',
  'export class a {}',
  'export abstract class a {}',
  'export interface a {}',
  'export type a = 1;',
  'const b = 1;\nexport { b as a };',
])('an unused export is reported: %s', (text) => {
  expect(check({ 'src/gpu/one.ts': text }).join()).toMatch(
    /^src\/gpu\/one\.ts:\d: nothing imports a\. Delete it/,
  );
  for (const line of [
    "import { a } from './one';",
    "import {\n  a as b,\n} from './one';",
    "export * from './one';",
  ]) {
    expect(check({ 'src/gpu/one.ts': text, 'src/gpu/two.ts': line })).toEqual([]);
  }
  expect(
    check({ 'src/gpu/one.ts': text, 'src/gpu/two.ts': "import { b } from './one';" }),
  ).toHaveLength(1);
});

test('a default export is used only by a default import', () => {
  const files = { 'src/app/Page.tsx': 'export default function Page() { return null; }' };
  expect(check(files)[0]).toContain('nothing imports default');
  expect(check({ ...files, 'src/app/main.tsx': "import Page from './Page';\nPage();" })).toEqual(
    [],
  );
  expect(
    check({ ...files, 'src/app/main.tsx': "import { Page } from './Page';\nPage();" }),
  ).toHaveLength(1);
});

test('a type used in an exported signature of its own file may be exported', () => {
  const text = 'export interface Sizes {}\nexport function plan(sizes: Sizes) {}';
  expect(
    check({ 'src/gpu/plan.ts': text, 'tests/a.ts': "import { plan } from '../src/gpu/plan';" }),
  ).toEqual([]);
});

test('a file of more than 600 lines is reported', () => {
  expect(check({ 'src/kernels/long.wgsl': '\n'.repeat(600) })).toEqual([]);
  expect(check({ 'src/kernels/long.wgsl': '\n'.repeat(601) })[0]).toContain(
    'src/kernels/long.wgsl:601: 601 lines',
  );
});

test('a line of more than 100 columns in TypeScript or WGSL is reported', () => {
  const [fits, long] = [`// ${'é'.repeat(97)}`, `// ${'é'.repeat(98)}`];
  for (const path of ['src/gpu/a.ts', 'src/app/A.tsx', 'src/kernels/a.wgsl', 'tests/unit/a.ts']) {
    expect(check({ [path]: `${fits}\n` })).toEqual([]);
    expect(check({ [path]: `\n${long}\n` })).toEqual([
      `${path}:2: 101 columns; the limit is 100. Break the line.`,
    ]);
  }
  for (const path of ['tests/fixtures/a.ts', 'public/a.ts', 'src/app/a.css', 'tests/a.mjs'])
    expect(check({ [path]: long })).toEqual([]);
});

test('a lockfile that names a registry is reported', () => {
  const entry = '{\n  "resolved": "https://host/a.tgz"\n}';
  expect(check({ 'package-lock.json': entry })[0]).toContain(
    'package-lock.json:2: names a registry',
  );
  expect(check({ 'package-lock.json': '{ "funding": { "url": "https://host/" } }' })).toEqual([]);
});

test('a spread literal is reported', () => {
  expect(check({ 'src/gpu/a.ts': `const c = {\n  ...{ a, b },\n};\n` })).toEqual([
    'src/gpu/a.ts:2: spreads a literal. Write its fields out.',
  ]);
  expect(check({ 'src/gpu/a.ts': 'const c = { ...a, b };\n' })).toEqual([]);
});

test('a circle of imports is reported', () => {
  expect(
    check({
      'src/gpu/a.ts': "import { b } from './b';\nexport const a = b;\n",
      'src/gpu/b.ts': "import type { a } from './a';\nexport const b = 1 as typeof a;\n",
    }),
  ).toEqual([
    'src/gpu/a.ts:1: a circle of imports: src/gpu/a.ts → src/gpu/b.ts → src/gpu/a.ts. ' +
      'Move what they share.',
  ]);
});

describe('the READMEs', () => {
  const files = {
    'package.json': '{ "scripts": { "check": "node tests/check.mjs" } }',
    'tests/check.mjs': '',
    'src/gpu/program.ts': 'export class Program { encode() { this.#groups(); } #groups() {} }',
    'tests/a.ts': uses('src/gpu/program'),
  };
  const problems = (path: string, text: string) => check({ ...files, [path]: text });

  test('may name paths, scripts and links that exist', () => {
    const text = '`npm run check` runs `tests/check.mjs`, see [gpu](src/gpu) and `src/gpu/`.';
    expect(problems('README.md', text)).toEqual([]);
    const map = '`gpu/program.ts` has `Program`, `Program.encode()` and `#groups`. `src/gpu/`';
    expect(problems('src/README.md', map)).toEqual([]);
  });

  test('may name what a reader adds, in angle brackets', () => {
    expect(problems('src/README.md', 'Write `gpu/<name>.ts` with `class <Name>`.')).toEqual([]);
  });

  test.each([
    ['README.md', 'one\n`src/gpu/queue.ts`', 'README.md:2: names src/gpu/queue.ts'],
    ['README.md', '[one](docs/gpu.md)', 'README.md:1: names docs/gpu.md'],
    ['README.md', 'npm run lint', 'README.md:1: names npm run lint'],
    ['src/README.md', '`gpu/queue.ts`', 'src/README.md:1: names gpu/queue.ts'],
    ['src/README.md', '`queue.wgsl`', 'src/README.md:1: names queue.wgsl'],
    ['src/README.md', '`queue/`', 'src/README.md:1: names queue/'],
    ['src/README.md', '`Queue`', 'src/README.md:1: names Queue'],
    ['src/README.md', '`Program.decode()`', 'src/README.md:1: names Program.decode()'],
  ])('%s: may not name what does not exist: %s', (path, text, problem) => {
    expect(problems(path, text)).toEqual([`${problem}, which does not exist.`]);
  });
});
