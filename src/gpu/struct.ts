// Structs that WGSL and TypeScript share, declared once, in WGSL. Their fields are read and written
// by name. Scalars only: each takes 4 bytes, so offsets need no alignment rules.

import { withoutComments } from './wgsl';

type Scalar = 'u32' | 'i32' | 'f32';

/** A struct of scalars as WGSL lays it out in a buffer. */
export class Struct {
  readonly bytes: number;

  constructor(
    readonly name: string,
    readonly fields: readonly { name: string; type: Scalar }[],
  ) {
    this.bytes = 4 * fields.length;
  }

  /** A buffer's contents: one value for each field. @throws if a field is missing or unknown. */
  write(values: Readonly<Record<string, number>>): ArrayBuffer {
    const data = new ArrayBuffer(this.bytes);
    this.writeInto(new DataView(data), 0, values);
    return data;
  }

  /** As `write`, at a byte offset of a view. */
  writeInto(view: DataView, offset: number, values: Readonly<Record<string, number>>): void {
    requireSame(
      `struct ${this.name}: fields`,
      this.fields.map(({ name }) => name),
      Object.keys(values),
    );
    this.fields.forEach(({ name, type }, i) => {
      const at = offset + 4 * i;
      if (type === 'f32') view.setFloat32(at, values[name], true);
      else if (type === 'i32') view.setInt32(at, values[name], true);
      else view.setUint32(at, values[name], true);
    });
  }

  /** Every field's value, from a byte offset of what was read back. */
  read(data: ArrayBuffer, offset = 0): Record<string, number> {
    const view = new DataView(data, offset, this.bytes);
    return Object.fromEntries(
      this.fields.map(({ name, type }, i) => {
        if (type === 'f32') return [name, view.getFloat32(4 * i, true)];
        if (type === 'i32') return [name, view.getInt32(4 * i, true)];
        return [name, view.getUint32(4 * i, true)];
      }),
    );
  }
}

/** The struct that a WGSL text declares. @throws if it declares none, or a field is no scalar. */
export function structOf(wgsl: string, name: string): Struct {
  const body = new RegExp(`struct ${name}\\s*\\{([^}]*)\\}`).exec(withoutComments(wgsl))?.[1];
  if (body === undefined) throw new Error(`The text declares no struct ${name}.`);
  const fields = body
    .split(',')
    .filter((field) => field.trim())
    .map((field) => {
      const [, fieldName, type] = /^\s*(\w+)\s*:\s*(u32|i32|f32)\s*$/.exec(field) ?? [];
      if (!type) {
        throw new Error(`struct ${name}: "${field.trim()}" is no field of type u32, i32 or f32.`);
      }
      return { name: fieldName, type: type as Scalar };
    });
  return new Struct(name, fields);
}

/** @throws with the difference unless `actual` has exactly the names in `expected`. */
export function requireSame(
  what: string,
  expected: readonly string[],
  actual: readonly string[],
): void {
  const missing = expected.filter((name) => !actual.includes(name));
  const unknown = actual.filter((name) => !expected.includes(name));
  if (missing.length || unknown.length) {
    throw new Error(
      `${what}: missing [${missing}], unknown [${unknown}]; the kernel declares [${expected}].`,
    );
  }
}
