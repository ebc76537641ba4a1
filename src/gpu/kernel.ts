// Compiles a WGSL file to a pipeline whose bindings and parameters are set by name.
//
// A kernel declares its storage buffers in group 0 and may declare `var<uniform> params: Params`, a
// struct of scalars. Its launcher chooses storage types and constants: the prelude put before the
// text defines `scalar` (f16 or f32) and the other names in the kernel's header, so that one text
// serves every storage type. What the text may say besides WGSL is in wgsl.ts.

import type { Gpu } from './device';
import { Struct, structOf } from './struct';
import { compose, type SourceLine, type Sources, withoutComments } from './wgsl';

export type Storage = 'f16' | 'f32';

export interface Specialisation {
  /** WGSL type aliases, e.g. { scalar: 'f16' }. */
  aliases?: Record<string, Storage | `vec4<${Storage}>`>;
  /** `const` declarations (u32) that must be known to the compiler, e.g. array lengths. */
  constants?: Record<string, number>;
  /** The file for each `#include <name>`, e.g. { lanes: 'attention_slices.wgsl' }. */
  includes?: Record<string, string>;
}

interface Binding {
  index: number;
  type: GPUBufferBindingType;
  /** What its array holds, or a vector in it; undefined for a struct. */
  element?: Element;
}
type Element = Storage | 'u32' | 'i32';

/** A kernel that does not compile: nothing that needs it can run on this adapter. */
export class KernelError extends Error {
  override name = 'KernelError';
}

export class Kernel {
  readonly bindings: ReadonlyMap<string, Binding>;
  readonly params: Struct;
  readonly layout: GPUBindGroupLayout;
  /** Rejects with the compiler's message, and the file, line and text that it is about. */
  readonly ready: Promise<void>;
  #pipeline: GPUComputePipeline | undefined;

  /** `lines`: the prelude and the composed text. */
  constructor(
    gpu: Gpu,
    readonly name: string,
    readonly lines: readonly SourceLine[],
  ) {
    const { device } = gpu;
    const code = codeOf(lines);
    const plain = withoutComments(code);
    this.bindings = reflectBindings(name, plain);
    this.params = this.bindings.has('params')
      ? structOf(plain, 'Params')
      : new Struct('Params', []);
    this.layout = device.createBindGroupLayout({
      label: name,
      entries: [...this.bindings.values()].map(({ index, type }) => ({
        binding: index,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type },
      })),
    });
    const module = device.createShaderModule({ label: name, code });
    this.ready = this.#compile(gpu, module);
    // Whoever records the kernel awaits `ready`; this keeps a failure from being reported as
    // unhandled before that.
    this.ready.catch(() => undefined);
  }

  async #compile(gpu: Gpu, module: GPUShaderModule): Promise<void> {
    const { device } = gpu;
    const layout = device.createPipelineLayout({
      label: this.name,
      bindGroupLayouts: [this.layout],
    });
    gpu.compiled.begun++;
    try {
      const compute = { module, entryPoint: 'main' };
      this.#pipeline = await gpu.answered(
        device.createComputePipelineAsync({ label: this.name, layout, compute }),
      );
    } catch (cause) {
      const { messages } = await module.getCompilationInfo();
      const reports = messages.map(({ lineNum, message }) => {
        // Some messages are about no line; those carry line 0.
        const { file, line, text } = this.lines[Math.max(lineNum, 1) - 1];
        return `${file}:${line}: ${message}\n    ${text}`;
      });
      throw new KernelError(
        `Kernel ${this.name} does not compile.\n${reports.join('\n') || (cause as Error).message}`,
        { cause },
      );
    } finally {
      gpu.compiled.ended++;
      gpu.onCompiled();
    }
  }

  get pipeline(): GPUComputePipeline {
    if (!this.#pipeline)
      throw new Error(`Kernel ${this.name} is not compiled yet; await its ready promise first.`);
    return this.#pipeline;
  }
}

/** A device's kernels by their text, prelude included: the same text is compiled once. */
const kernels = new WeakMap<Gpu, Map<string, Kernel>>();
/** Composed texts by file and specialisation, since a step records the same kernel many times. */
const texts = new WeakMap<Sources, Map<string, { lines: SourceLine[]; code: string }>>();

/**
 * The kernel in the file `name`.wgsl of the sources, specialised, on this device. It goes by the
 * file's name without its folder.
 */
export function kernelFrom(
  sources: Sources,
  gpu: Gpu,
  name: string,
  specialisation: Specialisation = {},
): Kernel {
  const composed = texts.get(sources) ?? new Map();
  texts.set(sources, composed);
  const request = `${name} ${JSON.stringify(specialisation)}`;
  const text = composed.get(request) ?? composeText(sources, `${name}.wgsl`, specialisation);
  composed.set(request, text);
  const cache = kernels.get(gpu) ?? new Map<string, Kernel>();
  kernels.set(gpu, cache);
  const known = cache.get(text.code) ?? new Kernel(gpu, name.replace(/^.*\//, ''), text.lines);
  cache.set(text.code, known);
  return known;
}

/** The prelude and the composed file. */
function composeText(
  sources: Sources,
  file: string,
  { aliases = {}, constants = {}, includes = {} }: Specialisation,
): { lines: SourceLine[]; code: string } {
  const body = compose(file, { sources, constants, includes });
  const halves = Object.values(aliases).some((type) => type.includes('f16'));
  const subgroups = /\b(subgroup|quad)[A-Z]/.test(withoutComments(codeOf(body)));
  const prelude = [
    ...(halves ? ['enable f16;'] : []),
    ...(subgroups ? ['enable subgroups;'] : []),
    ...Object.entries(aliases).map(([alias, type]) => `alias ${alias} = ${type};`),
    ...Object.entries(constants).map(([constant, value]) => `const ${constant} = ${value}u;`),
  ].map((text, i) => ({ text, file: `${file} (prelude)`, line: i + 1 }));
  const lines = [...prelude, ...body];
  return { lines, code: codeOf(lines) };
}

const codeOf = (lines: readonly SourceLine[]): string => lines.map(({ text }) => text).join('\n');

/** In vec2f and the like. */
const SUFFIXES: Record<string, Element> = { f: 'f32', h: 'f16', u: 'u32', i: 'i32' };
const DECLARATION = new RegExp(
  String.raw`@group\(0\)\s*@binding\((\d+)\)\s*var<(uniform|storage)(?:,\s*(read|read_write))?>` +
    String.raw`\s*(\w+)\s*:\s*([^;]+);`,
  'g',
);

function reflectBindings(name: string, wgsl: string): Map<string, Binding> {
  const aliases = new Map<string, string>();
  for (const [, alias, type] of wgsl.matchAll(/alias (\w+) = ([^;]+);/g)) aliases.set(alias, type);
  const bindings = new Map<string, Binding>();
  for (const [, index, space, access, variable, declared] of wgsl.matchAll(DECLARATION)) {
    const type =
      space === 'uniform' ? 'uniform' : access === 'read_write' ? 'storage' : 'read-only-storage';
    const resolved = declared.replace(/\w+/g, (word) => aliases.get(word) ?? word);
    // array<f16>, array<vec4<f32>>, array<vec2f>
    const [, held] = /^array<(?:vec\d<?)?(f16|f32|u32|i32|[fhui])\b/.exec(resolved) ?? [];
    const element = SUFFIXES[held] ?? (held as Element | undefined);
    bindings.set(variable, { index: Number(index), type, element });
  }
  if (bindings.size === 0) throw new Error(`Kernel ${name} declares no binding in group 0.`);
  return bindings;
}
