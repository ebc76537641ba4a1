// A WGSL file made into a pipeline whose bindings and parameters go by name.
//
// A kernel's text declares, in group 0, `var<uniform> params: Params` (scalars only) and its
// storage buffers. The prelude put before it defines `scalar` (f16 or f32) and the aliases and
// constants that the kernel names in its header, so that one text serves every storage type.
// `@each(i, COUNT) … @end` is repeated with 0, 1, … in place of `$i`: registers have no index, so
// that many of them want many names. A COUNT of 0 or 1 is a condition.

import type { Gpu } from './device';

export type Storage = 'f16' | 'f32';

export interface Specialisation {
  /** WGSL type aliases, e.g. { scalar: 'f16' }. */
  aliases?: Record<string, Storage | `vec4<${Storage}>`>;
  /** `const` declarations (u32) that must be known to the compiler, e.g. array lengths. */
  constants?: Record<string, number>;
}

interface Binding {
  index: number;
  type: GPUBufferBindingType;
}
interface Param {
  name: string;
  type: 'u32' | 'i32' | 'f32';
}

export class Kernel {
  readonly bindings: ReadonlyMap<string, Binding>;
  readonly params: readonly Param[];
  readonly layout: GPUBindGroupLayout;
  /** Rejects with the compiler's message, line and source. */
  readonly ready: Promise<void>;
  #pipeline: GPUComputePipeline | undefined;

  constructor(
    gpu: Gpu,
    readonly name: string,
    wgsl: string,
    { aliases = {}, constants = {} }: Specialisation,
  ) {
    const { device } = gpu;
    const text = repeated(withoutComments(wgsl), constants);
    this.bindings = reflectBindings(name, text);
    this.params = reflectParams(text);
    this.layout = device.createBindGroupLayout({
      label: name,
      entries: [...this.bindings.values()].map(({ index, type }) => ({
        binding: index,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type },
      })),
    });
    const halves = Object.values(aliases).some((type) => type.includes('f16'));
    const prelude = [
      ...(halves ? ['enable f16;'] : []),
      ...(/\b(subgroup|quad)[A-Z]/.test(text) ? ['enable subgroups;'] : []),
      ...Object.entries(aliases).map(([alias, type]) => `alias ${alias} = ${type};`),
      ...Object.entries(constants).map(([constant, value]) => `const ${constant} = ${value}u;`),
    ].join(' ');
    // One line, so that the compiler's line numbers are the file's plus one.
    const code = `${prelude}\n${text}`;
    const module = device.createShaderModule({ label: name, code });
    this.ready = this.#compile(gpu, module, code);
    // Whoever records the kernel awaits `ready`; this keeps a failure from being reported as
    // unhandled before that.
    this.ready.catch(() => undefined);
  }

  async #compile({ device }: Gpu, module: GPUShaderModule, code: string): Promise<void> {
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
      const lines = code.split('\n');
      const said = messages.map(
        (m) =>
          `${this.name}.wgsl:${m.lineNum - 1}: ${m.message}\n    ${lines[m.lineNum - 1] ?? ''}`,
      );
      throw new Error(
        `Kernel ${this.name} does not compile.\n${said.join('\n') || (cause as Error).message}`,
        {
          cause,
        },
      );
    }
  }

  get pipeline(): GPUComputePipeline {
    if (!this.#pipeline)
      throw new Error(`Kernel ${this.name} is not compiled yet; await its ready promise first.`);
    return this.#pipeline;
  }
}

const kernels = new WeakMap<Gpu, Map<string, Kernel>>();

/**
 * The kernel of this text and specialisation on this device, compiled once. `name` is that of its
 * file.
 */
export function kernel(
  gpu: Gpu,
  name: string,
  wgsl: string,
  specialisation: Specialisation = {},
): Kernel {
  const cache = kernels.get(gpu) ?? new Map<string, Kernel>();
  kernels.set(gpu, cache);
  const key = `${name} ${JSON.stringify(specialisation)}`;
  const known = cache.get(key) ?? new Kernel(gpu, name, wgsl, specialisation);
  cache.set(key, known);
  return known;
}

/**
 * Writes out every `@each(i, COUNT) … @end`, the inner ones first. COUNT is a number or a constant.
 * Lines keep their numbers.
 */
function repeated(wgsl: string, constants: Record<string, number>): string {
  const innermost = /@each\((\w+), (\w+)\)((?:(?!@each|@end).)*)@end/gs;
  const once = wgsl.replace(innermost, (_, index: string, count: string, body: string) => {
    const line = body.replaceAll('\n', ' ');
    const times = constants[count] ?? Number(count);
    const all = Array.from({ length: times }, (_, i) => line.replaceAll(`$${index}`, `${i}`)).join(
      '',
    );
    return all + '\n'.repeat(body.split('\n').length - 1);
  });
  return once === wgsl ? wgsl : repeated(once, constants);
}

const withoutComments = (wgsl: string) => wgsl.replace(/\/\/.*$/gm, '');

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

function reflectParams(wgsl: string): Param[] {
  const body = /struct Params\s*\{([^}]*)\}/.exec(wgsl)?.[1] ?? '';
  return [...body.matchAll(/(\w+)\s*:\s*(u32|i32|f32)/g)].map(([, name, type]) => ({
    name,
    type: type as Param['type'],
  }));
}
