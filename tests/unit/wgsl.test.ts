// Kernels composed from files: what each directive does, where a line says it comes from, and what
// a mistake is answered with. And structs that TypeScript reads by field name.

import { describe, expect, it } from 'vitest';
import { structOf } from '../../src/gpu/struct';
import { compose } from '../../src/gpu/wgsl';
import { SCALER, STEP } from '../../src/kernels/sources';

const composed = (
  sources: Record<string, string>,
  constants: Record<string, number> = {},
  includes: Record<string, string> = {},
) =>
  compose('main.wgsl', { sources, constants, includes }).map(
    ({ file, line, text }) => `${file.replace('.wgsl', '')}:${line} ${text.trim()}`,
  );

describe('directives', () => {
  it('#include puts a file in its place, once, and each line keeps its file and number', () => {
    const sources = {
      'main.wgsl': 'first\n#include "a.wgsl"\n#include "folder/b.wgsl"\nlast',
      'a.wgsl': 'in a',
      'folder/b.wgsl': '#include "a.wgsl"\n#include "main.wgsl"\nin b',
    };
    expect(composed(sources)).toEqual([
      'main:1 first',
      'a:1 in a',
      'folder/b:3 in b',
      'main:4 last',
    ]);
  });

  it('#include <name> takes the file that the launcher names', () => {
    const sources = { 'main.wgsl': '#include <lanes> // how rows are shared', 'b.wgsl': 'in b' };
    expect(composed(sources, {}, { lanes: 'b.wgsl' })).toEqual(['b:1 in b']);
  });

  it('#if keeps one branch, and what the other includes is not read', () => {
    const text =
      '#if BIAS\n  #include "a.wgsl"\n#else\n  #if DEEP\n  y\n  #endif\n  z\n#endif\nend';
    const sources = { 'main.wgsl': text, 'a.wgsl': 'in a' };
    expect(composed(sources, { BIAS: 1, DEEP: 0 })).toEqual(['a:1 in a', 'main:9 end']);
    expect(composed(sources, { BIAS: 0, DEEP: 0 })).toEqual(['main:7 z', 'main:9 end']);
    expect(composed(sources, { BIAS: 0, DEEP: 1 })).toEqual(['main:5 y', 'main:7 z', 'main:9 end']);
  });

  it('#for repeats lines, nested ones too, and every copy has the line of the original', () => {
    const text = '#for i < ROWS\n#for j < 2\nlet c_$i_$j = $i;\n#endfor\n#endfor';
    expect(composed({ 'main.wgsl': text }, { ROWS: 2 })).toEqual([
      'main:3 let c_0_0 = 0;',
      'main:3 let c_0_1 = 0;',
      'main:3 let c_1_0 = 1;',
      'main:3 let c_1_1 = 1;',
    ]);
    expect(composed({ 'main.wgsl': text }, { ROWS: 0 })).toEqual([]);
    const short = '#for i < ROWS, j < 2\n$i$j\n#endfor';
    expect(composed({ 'main.wgsl': short }, { ROWS: 2 })).toEqual(
      ['00', '01', '10', '11'].map((copy) => `main:2 ${copy}`),
    );
  });

  it.each([
    ['a\n#include "b.wgsl"', 'main.wgsl:2: there is no kernel source b.wgsl. Correct the path.'],
    ['#include <lanes>', 'main.wgsl:1: #include <lanes>: the launcher names no such file.'],
    ['#if BIAS\n#endif', 'main.wgsl:1: the launcher gives no constant "BIAS".'],
    ['x\n#if ONE\n#if ONE\n#endif', 'main.wgsl:2: #if has no #endif.'],
    ['#for i < 2', 'main.wgsl:1: #for has no #endfor.'],
    [
      '#for i in 2\n#endfor',
      'main.wgsl:1: #for i in 2: want the form "#for i < COUNT, j < COUNT".',
    ],
    ['x\n#endif', 'main.wgsl:2: #endif stands alone, or is no directive. See gpu/wgsl.ts.'],
    ['#pragma once', 'main.wgsl:1: #pragma stands alone, or is no directive. See gpu/wgsl.ts.'],
  ])('%j is refused with its file and line', (text, message) => {
    expect(() => composed({ 'main.wgsl': text }, { ONE: 1 })).toThrow(new Error(message));
  });
});

describe('structs', () => {
  const EXAMPLE = structOf(
    'struct Other { a: f32 }\n' +
      'struct Example {\n  count: u32, // of rows: f32\n  shift: i32,\n  rate: f32,\n}',
    'Example',
  );

  it('fields are written and read by name, where WGSL has them', () => {
    expect(EXAMPLE.bytes).toBe(12);
    const data = EXAMPLE.write({ rate: 0.5, shift: -2, count: 2 ** 31 });
    expect([...new Uint32Array(data)]).toEqual([2 ** 31, 2 ** 32 - 2, 0x3f000000]);
    expect(EXAMPLE.read(data)).toEqual({ count: 2 ** 31, shift: -2, rate: 0.5 });
    const padded = new Uint8Array(20);
    padded.set(new Uint8Array(data), 8);
    expect(EXAMPLE.read(padded.buffer, 8)).toEqual({ count: 2 ** 31, shift: -2, rate: 0.5 });
  });

  it('a missing or unknown field is refused, and so is a struct that is no list of scalars', () => {
    expect(() => EXAMPLE.write({ count: 1, shift: 0, speed: 1 })).toThrow(
      'struct Example: fields: missing [rate], unknown [speed]; ' +
        'the kernel declares [count,shift,rate].',
    );
    expect(() => structOf('struct A { at: vec4f }', 'A')).toThrow(
      'struct A: "at: vec4f" is no field of type u32, i32 or f32.',
    );
    expect(() => structOf('struct A { at: f32 }', 'B')).toThrow('The text declares no struct B.');
  });

  it('a step’s settings and the loss scaler’s state have the sizes that the kernels bind', () => {
    expect([STEP.bytes, SCALER.bytes]).toEqual([28, 40]);
  });
});
