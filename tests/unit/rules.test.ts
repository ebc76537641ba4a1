// Each rule of tests/rules.mjs can fail, and lets through what it should.

import { expect, test } from 'vitest';
import { checkTree } from '../rules.mjs';

const check = (files: Record<string, string>) => checkTree(new Map(Object.entries(files)));
/** Keeps the exports of fixtures used, so that a test is about one rule. */
const uses = (...paths: string[]) =>
  paths.map((path) => `import * as all from '../${path}';`).join('\n');

test('a room may not import a room that is closed to it', () => {
  const files = {
    'src/tensor/dtype.ts': 'export const f16 = 2;',
    'src/gpu/device.ts': "import { f16 } from '../tensor/dtype';\nconsole.log(f16);",
    'src/data/batches.ts':
      "// Batches.\n\nimport { f16 } from '../tensor/dtype';\nconsole.log(f16);",
  };
  const problems = check(files);
  expect(problems).toHaveLength(1);
  expect(problems[0]).toMatch(
    /^src\/data\/batches\.ts:3: data imports src\/tensor\/dtype\.ts\. data may import nothing of ours\./,
  );
});

test.each([
  ['a type', "import type { A } from '../gpu/device';"],
  ['several lines', "import {\n  A,\n  type B,\n} from '../gpu/device';"],
  ['a default with names', "import device, { A } from '../gpu/device';"],
  ['a namespace', "import * as device from '../gpu/device';"],
  ['an effect', "import '../gpu/device';"],
  ['run time', "const device = await import('../gpu/device');"],
  ['a type import in a type', "let a: import('../gpu/device').A;"],
  ['a re-export', "export { A } from '../gpu/device';"],
  ['a re-export of everything', "export * from '../gpu/device';"],
  ['a query', "import text from '../gpu/device.wgsl?raw';"],
])('a closed room is closed to %s', (_, line) => {
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

test('what only looks like an import is none', () => {
  const text = [
    "// import { A } from '../gpu/device';",
    "/* import { A } from '../gpu/device'; */",
    "const quote = /['\"`]/; // it's one",
    "const help = `\nimport { A } from '../gpu/device';\n`;",
    "const url = 'https://host/path';",
    "new Worker(new URL('../worker/worker.ts', import.meta.url));",
    'console.log(quote, help, url);',
  ].join('\n');
  expect(
    check({ 'src/app/client.ts': text, 'src/gpu/device.ts': '', 'src/worker/worker.ts': '' }),
  ).toEqual([]);
});

test('the app reaches the worker by its protocol alone', () => {
  const files = {
    'src/worker/protocol.ts': 'export interface Step {}',
    'src/worker/worker.ts': "import type { Step } from './protocol';\nexport let step: Step;",
    'src/app/client.ts':
      "import type { Step } from '../worker/protocol';\nlet step: Step; console.log(step);",
    'src/app/store.ts': "import { step } from '../worker/worker';\nconsole.log(step);",
  };
  const problems = check(files);
  expect(problems).toHaveLength(1);
  expect(problems[0]).toContain(
    'src/app/store.ts:1: app imports src/worker/worker.ts. app may import config, divergences, tensor, src/worker/protocol.ts, src/kernels/compare.wgsl.',
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

test('a room that the table does not know, and a file that is not there, are said', () => {
  expect(check({ 'src/utils/misc.ts': '' })[0]).toContain(
    'src/utils/misc.ts:1: "utils" is no room',
  );
  expect(check({ 'src/gpu/a.ts': "import './b';" })[0]).toContain(
    'src/gpu/a.ts:1: imports ./b, and there is no such file',
  );
  expect(check({ 'src/gpu/a.ts': "import '../../tests/b';", 'tests/b.ts': '' })[0]).toContain(
    'outside src/',
  );
});

test('nothing outside src/ and public/ is imported', () => {
  const files = { 'tests/harness.ts': 'export const open = 1;' };
  const importing = {
    ...files,
    'src/check/run.ts': "import { open } from '../../tests/harness';\nopen();",
  };
  expect(check(importing)[0]).toContain('outside src/');
});

test('a package that one file may import is not imported by two', () => {
  const one = {
    'src/distill/teacher.ts': "import * as ort from 'onnxruntime-web/webgpu';\nconsole.log(ort);",
  };
  expect(check(one)).toEqual([]);
  const problems = check({ ...one, 'src/model/run.ts': "\nimport 'onnxruntime-web';" });
  expect(problems).toHaveLength(2);
  expect(problems[1]).toContain('src/model/run.ts:2: onnxruntime-web is imported by');
});

test('only src/gpu names navigator.gpu', () => {
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
])('an export that nothing imports is said: %s', (text) => {
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

test('a default export is used by its importers only', () => {
  const files = { 'src/app/Page.tsx': 'export default function Page() { return null; }' };
  expect(check(files)[0]).toContain('nothing imports default');
  expect(check({ ...files, 'src/app/main.tsx': "import Page from './Page';\nPage();" })).toEqual(
    [],
  );
  expect(
    check({ ...files, 'src/app/main.tsx': "import { Page } from './Page';\nPage();" }),
  ).toHaveLength(1);
});

test('a type that an interface of its own file is made of may stay exported', () => {
  const text = 'export interface Sizes {}\nexport function plan(sizes: Sizes) {}';
  expect(
    check({ 'src/gpu/plan.ts': text, 'tests/a.ts': "import { plan } from '../src/gpu/plan';" }),
  ).toEqual([]);
});

test('a file of more than 600 lines is said', () => {
  expect(check({ 'src/kernels/long.wgsl': '\n'.repeat(600) })).toEqual([]);
  expect(check({ 'src/kernels/long.wgsl': '\n'.repeat(601) })[0]).toContain(
    'src/kernels/long.wgsl:601: 601 lines',
  );
});

test('a lockfile that names a registry is said', () => {
  const entry = '{\n  "resolved": "https://host/a.tgz"\n}';
  expect(check({ 'package-lock.json': entry })[0]).toContain(
    'package-lock.json:2: names a registry',
  );
  expect(check({ 'package-lock.json': '{ "funding": { "url": "https://host/" } }' })).toEqual([]);
});

test('a spread literal is said', () => {
  expect(check({ 'src/gpu/a.ts': `const c = {\n  ...{ a, b },\n};\n` })).toEqual([
    'src/gpu/a.ts:2: spreads a literal. Write its fields out.',
  ]);
  expect(check({ 'src/gpu/a.ts': 'const c = { ...a, b };\n' })).toEqual([]);
});

test('a circle of imports is said', () => {
  expect(
    check({
      'src/gpu/a.ts': "import { b } from './b';\nexport const a = b;\n",
      'src/gpu/b.ts': "import type { a } from './a';\nexport const b = 1 as typeof a;\n",
    }),
  ).toEqual([
    'src/gpu/a.ts:1: a circle of imports: src/gpu/a.ts → src/gpu/b.ts → src/gpu/a.ts. Move what they share.',
  ]);
});
