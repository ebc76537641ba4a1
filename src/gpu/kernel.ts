// A WGSL file made into a pipeline whose bindings and parameters go by name.
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
}

export class Kernel {
  readonly bindings: ReadonlyMap<string, Binding>;
  readonly params: Struct;
  readonly layout: GPUBindGroupLayout;
  /** Rejects with the compiler's message, and the file, line and text that it is about. */
  readonly ready: Promise<void>;
  #pipeline: GPUComputePipeline | undefined;

  /** `lines`: the whole text, as `compose` and the prelude make it. */
  constructor(
    gpu: Gpu,
    readonly name: string,
    readonly lines: readonly SourceLine[],
  ) {
    const { device } = gpu;
    const code = textOf(lines);
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

  async #compile({ device }: Gpu, module: GPUShaderModule): Promise<void> {
    const layout = device.createPipelineLayout({
      label: this.name,
      bindGroupLayouts: [this.layout],
    });
    try {
      this.#pipeline = await device.createComputePipelineAsync({
        label: this.name,
        layout,
        compute: { module, entryPoint: 'main' },
      });
    } catch (cause) {
      const { messages } = await module.getCompilationInfo();
      const reports = messages.map(({ lineNum, message }) => {
        // Some messages are about no line; those carry line 0.
        const { file, line, text } = this.lines[Math.max(lineNum, 1) - 1];
        return `${file}:${line}: ${message}\n    ${text}`;
      });
      throw new Error(
        `Kernel ${this.name} does not compile.\n${reports.join('\n') || (cause as Error).message}`,
        { cause },
      );
    }
  }

  get pipeline(): GPUComputePipeline {
    if (!this.#pipeline)
      throw new Error(`Kernel ${this.name} is not compiled yet; await its ready promise first.`);
    return this.#pipeline;
  }
}

/** A device's kernels by their whole text: the same text is compiled once. */
const kernels = new WeakMap<Gpu, Map<string, Kernel>>();

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
  const cache = kernels.get(gpu) ?? new Map<string, Kernel>();
  kernels.set(gpu, cache);
  const lines = sourceLines(sources, `${name}.wgsl`, specialisation);
  const key = textOf(lines);
  const known = cache.get(key) ?? new Kernel(gpu, name.replace(/^.*\//, ''), lines);
  cache.set(key, known);
  return known;
}

/** The prelude and the composed file. */
function sourceLines(
  sources: Sources,
  file: string,
  { aliases = {}, constants = {}, includes = {} }: Specialisation,
): SourceLine[] {
  const body = compose(file, { sources, constants, includes });
  const halves = Object.values(aliases).some((type) => type.includes('f16'));
  const prelude = [
    ...(halves ? ['enable f16;'] : []),
    ...(/\b(subgroup|quad)[A-Z]/.test(withoutComments(textOf(body))) ? ['enable subgroups;'] : []),
    ...Object.entries(aliases).map(([alias, type]) => `alias ${alias} = ${type};`),
    ...Object.entries(constants).map(([constant, value]) => `const ${constant} = ${value}u;`),
  ].map((text, i) => ({ text, file: `${file} (prelude)`, line: i + 1 }));
  return [...prelude, ...body];
}

const textOf = (lines: readonly SourceLine[]): string => lines.map(({ text }) => text).join('\n');

function reflectBindings(name: string, wgsl: string): Map<string, Binding> {
  const declaration =
    /@group\(0\)\s*@binding\((\d+)\)\s*var<(uniform|storage)(?:,\s*(read|read_write))?>\s*(\w+)\s*:/g;
  const bindings = new Map<string, Binding>();
  for (const [, index, space, access, variable] of wgsl.matchAll(declaration)) {
    const type =
      space === 'uniform' ? 'uniform' : access === 'read_write' ? 'storage' : 'read-only-storage';
    bindings.set(variable, { index: Number(index), type });
  }
  if (bindings.size === 0) throw new Error(`Kernel ${name} declares no binding in group 0.`);
  return bindings;
}
